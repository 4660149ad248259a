"""What a detector finds, and how findings that overlap become one; next: detector.py."""

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
    "HEALTH",
    "TENANT",
    "DOB",
    "PHONE",
    "NAME",
    "ADDRESS",
)
"""All kinds, the most certain first."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Characters `start` to `end` of the text are `value`, a piece of personal data of this kind."""

    kind: str
    start: int
    end: int
    value: str


class PersonalSpan(msgspec.Struct, frozen=True):
    """A finding before its value is cut out: where, and of what kind."""

    kind: str
    start: int
    end: int


def merge_spans(spans: Iterable[PersonalSpan]) -> list[PersonalSpan]:
    """Sorted and apart: spans that overlap become one, from the first start to the last end, of the most certain kind.

    The union, not the best of them: what the most certain one leaves over was found to be personal too.
    """
    found: list[PersonalSpan] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if found and span.start < found[-1].end:
            last = found[-1]
            found[-1] = PersonalSpan(min(last.kind, span.kind, key=KINDS.index), last.start, max(last.end, span.end))
        else:
            found.append(span)
    return found
