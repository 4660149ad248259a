"""What is personal only where texts meet: a number of which one turn has the beginning and the next one the end.

Pure but for the detector that is passed in. Next: conversation.py, which joins turns; screened_text.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.stages.prefilter.screened_text import PersonalData

REACH = 120
"""Characters of the end of a text, and of the beginning of the next one, that are read together: a number and the words
before it."""
MOST_TEXTS = 4
"""Texts that are read together, the last ones."""
FindInJoined = Callable[[str], Awaitable[Sequence[PersonalData]]]


class PersonalPiece(NamedTuple):
    """A part of what was found: characters `start` to `end` of one text."""

    kind: str
    start: int
    end: int
    value: str


async def find_across(find: FindInJoined, texts: Sequence[str]) -> list[list[PersonalPiece]]:
    """For each of the texts of one person, in the order in which they were written, its part of what was found in
    several of them together: in each a part with a digit. Nothing is read where no two that meet have digits there."""
    found: list[list[PersonalPiece]] = [[] for _ in texts]
    first = max(0, len(texts) - MOST_TEXTS)
    read = texts[first:]
    if not any(_has_digit(before[-REACH:]) and _has_digit(after[:REACH]) for before, after in pairwise(read)):
        return found
    cuts = [_cut(text, number, len(read)) for number, text in enumerate(read)]
    parts = [text[start:end] for text, (start, end) in zip(read, cuts, strict=True)]
    offsets = [0, *accumulate(len(part) + 1 for part in parts)]
    for each in await find(" ".join(parts)):
        pieces = [
            (number, max(each.start, offset), min(each.end, offset + len(part)))
            for number, (offset, part) in enumerate(zip(offsets, parts, strict=False))
            if each.start < offset + len(part) and offset < each.end
        ]
        spans = [(number, start - offsets[number], end - offsets[number]) for number, start, end in pieces]
        if len(spans) > 1 and all(_has_digit(parts[number][start:end]) for number, start, end in spans):
            for number, start, end in spans:
                at = cuts[number][0]
                value = parts[number][start:end]
                found[first + number].append(PersonalPiece(each.kind, at + start, at + end, value))
    return found


def _cut(text: str, number: int, count: int) -> tuple[int, int]:
    """What is read of a text: the end of the first, the beginning of the last, and of one between them all of it, or
    its end where it is long."""
    if number == count - 1:
        return 0, min(len(text), REACH)
    return max(0, len(text) - REACH), len(text)


def _has_digit(text: str) -> bool:
    return any(map(str.isdecimal, text))


def joined(text: str, found: Sequence[PersonalData], more: Sequence[PersonalData]) -> list[PersonalData]:
    """What was found in a text by itself and with others, in order; what overlaps is one, of the kind that begins."""
    whole: list[PersonalData] = []
    for each in sorted([*found, *more], key=lambda each: (each.start, -each.end)):
        if whole and each.start < whole[-1].end:
            last = whole.pop()
            end = max(last.end, each.end)
            whole.append(PersonalPiece(last.kind, last.start, end, text[last.start : end]))
        else:
            whole.append(each)
    return whole


def outside_tokens(text: str, found: Sequence[PersonalData]) -> list[PersonalData]:
    """What was found in a text that holds vault tokens: the parts with a letter or a digit that is no token's."""
    tokens = [token.span() for token in VAULT_TOKEN.finditer(text)]
    if not tokens:
        return list(found)
    kept: list[PersonalData] = []
    for each in found:
        at = each.start
        for start, end in (*tokens, (each.end, each.end)):
            if at < min(start, each.end):
                kept += _piece(text, each.kind, at, min(start, each.end))
            if start < each.end:
                at = max(at, end)
    return kept


def _piece(text: str, kind: str, start: int, end: int) -> list[PersonalData]:
    value = text[start:end]
    begin = start + len(value) - len(value.lstrip())
    value = value.strip()
    if not any(map(str.isalnum, value)):
        return []
    return [PersonalPiece(kind, begin, begin + len(value), value)]
