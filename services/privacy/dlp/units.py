"""The units in which a text that is still being written is read for disguises: sentences and lines, of bounded length.

Promises that a unit which has come to its end stays the same whatever follows, and that a text cut at the end of one
has the same units from there on. Next: detector.py, which reads them; settled.py, for all that is not disguised."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.privacy.dlp.settled import settled_length

LONGEST_UNIT = 400
"""Characters after which a unit ends without a mark, at a blank where it has one: so much may be held back at most."""
END = re.compile(r"[.!?\u2026][\"'\u201d\u2019\u00bb)\]]{0,2}\s|\n")
BLANK = re.compile(r"\s(?=\S*\Z)")


def split_units(text: str) -> Iterator[tuple[int, int]]:
    """First and last character of each unit, without gaps; the last one may go on."""
    start = 0
    while start < len(text):
        end = _end_of(text, start) or len(text)
        yield start, end
        start = end


def settled_units(text: str) -> int:
    """How much of a text no continuation changes, disguised or not: whole units, as far as `settled_length`."""
    settled, last, start = settled_length(text), 0, 0
    while (end := _end_of(text, start)) and end <= settled:
        last = start = end
    return last


def _end_of(text: str, start: int) -> int:
    """Where the unit from `start` on ends; 0 where that is not decided yet."""
    last = start + LONGEST_UNIT
    found = END.search(text, start, last)
    if found:
        return found.end()
    if len(text) < last:
        return 0
    blank = BLANK.search(text, start, last)
    return blank.end() if blank else last
