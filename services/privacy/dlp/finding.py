"""What was found, and how findings that overlap become one."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

KINDS = (
    "SECRET",
    "EMAIL",
    "IBAN",
    "CARD",
    "NATIONALID",
    "SSN",
    "IP",
    "PASSPORT",
    "ACCOUNT",
    "CUSTOMER",
    "DOB",
    "PHONE",
    "NAME",
)
"""All kinds, the most certain first."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Characters `start` to `end` of the text are `value`, a piece of personal data of this kind."""

    kind: str
    start: int
    end: int
    value: str


class Span(msgspec.Struct, frozen=True):
    """A finding before it has its words: where, and of what kind."""

    kind: str
    start: int
    end: int


def merged(spans: Iterable[Span]) -> list[Span]:
    """Sorted and apart: spans that overlap become one, from the first start to the last end, of the surest kind.

    The union, not the best of them: what the surest one leaves over was found to be personal too.
    """
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if found and span.start < found[-1].end:
            last = found[-1]
            found[-1] = Span(min(last.kind, span.kind, key=KINDS.index), last.start, max(last.end, span.end))
        else:
            found.append(span)
    return found
