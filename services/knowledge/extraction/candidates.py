"""What a value may be read from: a value as JSON wants it, and the characters of the text that say it.

Next: numbers.py, dates.py and phrases.py, which find them."""

from __future__ import annotations

from typing import Any

import msgspec


class ValueCandidate(msgspec.Struct, frozen=True):
    """A value that stands in the text at `start` to `end`. `shape` says how it is written, `unit` what it counts."""

    value: Any
    start: int
    end: int
    shape: str
    unit: str = ""

    def overlaps(self, start: int, end: int) -> bool:
        """Whether it shares a character with `start` to `end`."""
        return self.start < end and start < self.end


def is_inside(start: int, end: int, others: list[ValueCandidate]) -> bool:
    """Whether `start` to `end` touches one of the others."""
    return any(each.overlaps(start, end) for each in others)


def listed(words: str) -> tuple[str, ...]:
    """The words of a line, for tables of names."""
    return tuple(words.split())
