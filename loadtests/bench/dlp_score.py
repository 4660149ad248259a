"""Scores what was found in texts of which it is known what there is to find. Pure; next: dlp_vs_presidio.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

Spans = Sequence[tuple[int, int]]
STRUCTURED = ("EMAIL", "PHONE", "IBAN", "CARD", "IP", "DOB")
KINDS = ("NAME", "ADDRESS", "POSTCODE", "NATIONALID", *STRUCTURED)
ENOUGH = {"ADDRESS": 0.8}
"""The share of letters and digits that must be covered where a person may draw the ends of a value otherwise; all of
any other kind."""


class Marked(msgspec.Struct, frozen=True):
    """A text in which each (kind, start, end) of `truth` is personal, and nothing else."""

    locale: str
    language: str
    form: Literal["plain", "breaks", "blanks", "lower", "percent", "entities", "base64"]
    text: str
    truth: tuple[tuple[str, int, int], ...]


class Counts(msgspec.Struct, frozen=True):
    """How many of how many, and their share; 1 of nothing."""

    hits: int = 0
    all: int = 0

    @property
    def share(self) -> float:
        return self.hits / self.all if self.all else 1.0


def is_covered(text: str, kind: str, span: tuple[int, int], found: Spans) -> bool:
    """Whether the letters and digits of a value lie within findings, of whatever kind."""
    written = [offset for offset in range(*span) if text[offset].isalnum()]
    covered = sum(any(start <= offset < end for start, end in found) for offset in written)
    return covered >= ENOUGH.get(kind, 1.0) * len(written)


def judge(texts: Sequence[Marked], found: Sequence[Spans]) -> Iterator[tuple[str, str, bool]]:
    """Kind, locale and whether it was found, of every value of every text."""
    for each, spans in zip(texts, found, strict=True):
        for kind, start, end in each.truth:
            yield kind, each.locale, is_covered(each.text, kind, (start, end), spans)


def count(judged: Iterable[tuple[str, str, bool]], kinds: Sequence[str] = KINDS, locales: Sequence[str] = ()) -> Counts:
    """Those of these kinds, and of these locales or all."""
    chosen = [hit for kind, locale, hit in judged if kind in kinds and (not locales or locale in locales)]
    return Counts(sum(chosen), len(chosen))


def count_alarms(texts: Sequence[Marked], found: Sequence[Spans]) -> Counts:
    """Texts without anything personal in which something was found."""
    chosen = [bool(spans) for each, spans in zip(texts, found, strict=True) if not each.truth]
    return Counts(sum(chosen), len(chosen))
