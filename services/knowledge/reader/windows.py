"""What the reader reads at once: neighbouring units of a document as tokens, led by its title and their heading.

Promises that every token of every unit is in a window. Training reads the same windows. Next: reader.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

ROOM = 72
"""Tokens of units in a window, at most."""
LEAD = 24
BEFORE = 12
AFTER = 8
"""Tokens of the title and heading, of the unit before and of the unit after, which are read and not scored."""
QUESTION = 64
"""Tokens of a question, at most."""
START, END, UNKNOWN = 0, 2, 3
"""The ids of the tokenizer that frame a text, and the one that stands for a unit without tokens."""


class Encoding(Protocol):
    """What a tokenizer makes of a text: ids, and the characters of each."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[tuple[int, int]]: ...


Encode = Callable[[str], Encoding]
"""Tokenizes a text without the tokens that frame it."""


class ReadableUnit(msgspec.Struct, frozen=True, gc=False):
    """A unit as it is read: its heading and its text."""

    heading: str
    text: str


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Tokens `start` to `end` of a window are those of a unit, by number; `offsets` are their characters in its text.

    A unit longer than a window has a piece in each of several.
    """

    unit: int
    start: int
    end: int
    offsets: tuple[tuple[int, int], ...]


class Window(msgspec.Struct, frozen=True, gc=False):
    """Token ids, and where in them the units are that are scored here."""

    ids: tuple[int, ...]
    pieces: tuple[Piece, ...]


def encode_question(text: str, encode: Encode) -> tuple[int, ...]:
    """The ids of a question; its first `QUESTION` tokens where it is longer."""
    return (START, *encode(f"query: {text}").ids[:QUESTION], END)


def cut_windows(title: str, units: Sequence[ReadableUnit], encode: Encode) -> list[Window]:
    """The windows of a document in order; each unit is scored in one of them, or in several if it is long."""
    tokens = [_Tokens(number, unit.heading, *_encoded(unit.text, encode)) for number, unit in enumerate(units)]
    parts = [part for each in tokens for part in each.cut()]
    windows = []
    start = 0
    while start < len(parts):
        stop = start + 1
        room = ROOM - len(parts[start].ids)
        while stop < len(parts) and len(parts[stop].ids) <= room:
            room -= len(parts[stop].ids)
            stop += 1
        windows.append(_window(title, parts, start, stop, encode))
        start = stop
    return windows


class _Tokens(msgspec.Struct, frozen=True, gc=False):
    unit: int
    heading: str
    ids: list[int]
    offsets: list[tuple[int, int]]

    def cut(self) -> Iterator[_Tokens]:
        for at in range(0, len(self.ids), ROOM):
            yield _Tokens(self.unit, self.heading, self.ids[at : at + ROOM], self.offsets[at : at + ROOM])


def _encoded(text: str, encode: Encode) -> tuple[list[int], list[tuple[int, int]]]:
    found = encode(text)
    return (list(found.ids), list(found.offsets)) if found.ids else ([UNKNOWN], [(0, len(text))])


def _window(title: str, parts: Sequence[_Tokens], start: int, stop: int, encode: Encode) -> Window:
    heading = parts[start].heading
    lead = heading if title in heading else f"{title} › {heading}" if heading else title
    ids = [START, *encode(f"passage: {lead}:").ids[:LEAD]]
    if start:
        ids += parts[start - 1].ids[-BEFORE:]
    pieces = []
    for part in parts[start:stop]:
        if part.heading != heading:
            heading = part.heading
            ids += encode(f"{heading}:").ids[:LEAD]
        pieces.append(Piece(part.unit, len(ids), len(ids) + len(part.ids), tuple(part.offsets)))
        ids += part.ids
    if stop < len(parts):
        ids += parts[stop].ids[:AFTER]
    return Window((*ids, END), tuple(pieces))
