"""What the field reader reads at once: the fields of a schema as questions, and a window of the text behind them.

Training reads the same. Promises that every token of a text is scored in one window. Next: field_reader.py."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.services.knowledge.extraction.schema import Field
from tidegate.services.knowledge.reader.pairs import States
from tidegate.services.knowledge.reader.windows import END, START, UNKNOWN, Encode

ROOM, BEFORE, AFTER = 224, 24, 16
"""Tokens of a text that are scored in a window, and those around them that are read only."""
FIELD, OPTION = 40, 8
"""Tokens of a field and of one of its options, at most."""
MOST_OPTIONS = 16

TokenRange = tuple[int, int]
"""A first and a last token."""
Characters = tuple[int, int]
"""Characters of a text, from and to."""


class AskedField(msgspec.Struct, frozen=True, gc=False):
    """A field as token ids; `options`: where the options that it leaves stand in them."""

    ids: tuple[int, ...]
    options: tuple[TokenRange, ...] = ()


class TextWindow(msgspec.Struct, frozen=True, gc=False):
    """Token ids of a part of a text; those from `first` on are scored, and `offsets` are their characters."""

    ids: tuple[int, ...]
    first: int
    offsets: tuple[Characters, ...]

    def find(self, span: Characters) -> TokenRange | None:
        """The tokens of a run of characters that begins here; None where it does not."""
        begin = bisect_right(self.offsets, span[0], key=lambda each: each[1])
        if begin == len(self.offsets) or self.offsets[begin][0] >= span[1]:
            return None
        end = begin
        while end + 1 < len(self.offsets) and self.offsets[end + 1][0] < span[1]:
            end += 1
        return self.first + begin, self.first + end


class FieldValue(NamedTuple):
    """A field (its place among those read together), one of the values it may take, and the tokens that say it."""

    field: int
    value: int
    tokens: TokenRange


class FieldReading(msgspec.Struct, frozen=True):
    """Fields, by number, and a window that are read at once; places are counted from the first token of the fields."""

    fields: tuple[int, ...]
    asked: tuple[AskedField, ...]
    window: TextWindow
    pairs: tuple[FieldValue, ...]


def options_of(field: Field) -> tuple[Any, ...]:
    """The values that a field leaves to choose from; none for one that is read from the text."""
    if field.options is not None:
        return field.options if len(field.options) <= MOST_OPTIONS else ()
    return (True, False) if field.kind == "boolean" else ()


def encode_field(field: Field, encode: Encode, *, is_bare: bool = False) -> AskedField:
    """A field by the names that lead to it, its title and its description, which `is_bare` leaves out."""
    names = " ".join(filter(None, map(_words, field.path.split(".")))) or "value"
    parts = (names,) if is_bare else (names, field.title, field.description)
    return encode_asked(". ".join(filter(None, parts)), options_of(field), encode)


def encode_asked(words: str, options: Sequence[Any], encode: Encode) -> AskedField:
    """What is asked in words, and the values that it leaves to choose from."""
    ids = [START, *encode(f"query: {words}").ids[:FIELD]]
    places = []
    for option in options:
        ids += encode(",").ids
        written = _words(option) or option if isinstance(option, str) else json.dumps(option)
        own = encode(written).ids[:OPTION] or [UNKNOWN]
        places.append((len(ids), len(ids) + len(own) - 1))
        ids += own
    return AskedField((*ids, END), tuple(places))


def _words(name: str) -> str:
    """`snake_case` and `camelCase` as words."""
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", spread).strip().lower()


def cut_text(text: str, encode: Encode) -> list[TextWindow]:
    """The windows of a text, in order."""
    tokens = encode(text)
    ids, offsets = list(tokens.ids), list(tokens.offsets)
    head = (START, *encode("passage:").ids)
    windows = []
    for at in range(0, max(1, len(ids)), ROOM):
        lead = (*head, *ids[max(0, at - BEFORE) : at])
        scored, behind = ids[at : at + ROOM], ids[at + ROOM : at + ROOM + AFTER]
        windows.append(TextWindow((*lead, *scored, *behind, END), len(lead), tuple(offsets[at : at + ROOM])))
    return windows


def plan_readings(
    asked: Sequence[AskedField], spans: Sequence[Sequence[Characters]], windows: Sequence[TextWindow]
) -> Iterator[FieldReading]:
    """What is to be read for each field to be scored with its options and with `spans`, which its values stand at: each
    field by itself, for one that is read beside its siblings is told apart from them less well."""
    known = {each: _find(each, windows) for each in dict.fromkeys(chain.from_iterable(spans))}
    placed = [[known[each] for each in own] for own in spans]
    for number, each in enumerate(asked):
        for at, window in enumerate(windows):
            pairs = tuple(_pairs(len(each.ids), each.options, placed[number], at))
            if pairs:
                yield FieldReading((number,), (each,), window, pairs)


def _pairs(
    length: int, options: Sequence[TokenRange], found: Sequence[tuple[int, TokenRange] | None], window: int
) -> Iterator[FieldValue]:
    """The options of a field of `length` tokens, or those of its values that stand in one window."""
    for value, tokens in enumerate(options):
        yield FieldValue(0, value, tokens)
    for value, each in enumerate(found):
        if each is not None and each[0] == window:
            yield FieldValue(0, value, (length + each[1][0], length + each[1][1]))


def _find(span: Characters, windows: Sequence[TextWindow]) -> tuple[int, TokenRange] | None:
    """The first window in which a run of characters begins, and its tokens there."""
    return next(((n, tokens) for n, each in enumerate(windows) if (tokens := each.find(span)) is not None), None)


def pack(reading: FieldReading, asked: Sequence[States], window: States) -> dict[str, NDArray[Any]]:
    """The inputs of the graph: the states of the fields followed by those of the window, and what is to be scored."""
    states = np.concatenate([*asked, window]).astype(np.float32)
    parts = np.zeros(len(states), np.int64)
    parts[len(states) - len(window) :] = 1
    asking = np.zeros((len(asked), len(states)), np.float32)
    begin = 0
    for row, each in enumerate(asked):
        asking[row, begin : begin + len(each)] = 1.0 / len(each)
        begin += len(each)
    places: dict[TokenRange, int] = {}
    rows = [places.setdefault(pair.tokens, len(places)) for pair in reading.pairs]
    pooling = np.zeros((len(places), len(states)), np.float32)
    for row, (first, last) in enumerate(places):
        pooling[row, first : last + 1] = 1.0 / (last + 1 - first)
    ends = np.array([*places], np.int64).reshape(-1, 2)
    return {
        "states": states[None],
        "parts": parts[None],
        "starts": ends[:, 0].copy(),
        "ends": ends[:, 1].copy(),
        "pooling": pooling,
        "asking": asking,
        "pair_spans": np.array(rows, np.int64),
        "pair_fields": np.array([pair.field for pair in reading.pairs], np.int64),
    }
