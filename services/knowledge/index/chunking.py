"""Cuts documents into passages to find and, inside them, the units that can answer a question. Next: markdown.py."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

from tidegate.schemas.answer import CharacterSpan
from tidegate.services.knowledge.index.blocks import Block
from tidegate.services.knowledge.index.markdown import find_blocks, split_cells, strip_markup
from tidegate.services.knowledge.index.sentences import split_sentences

TARGET_WORDS = 100
MOST_WORDS = 120
LEAST_WORDS = 25

_WORD = re.compile(r"\S+")


class Unit(msgspec.Struct, frozen=True, gc=False):
    """The smallest thing that can answer: a sentence, a table row or a list item, as characters of the document.

    `context` holds the spans without which it would not be understood: a row's header, an item's intro. `group` is the
    number of the list or table in the document that it belongs to (-1: none), and `marker` its number or bullet there.
    """

    start: int
    end: int
    kind: Literal["sentence", "row", "item"]
    heading: str = ""
    context: tuple[CharacterSpan, ...] = ()
    group: int = -1
    marker: str = ""


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """What becomes a passage: characters `start` to `end`, under `heading`; `units` lie inside, in order, apart."""

    start: int
    end: int
    heading: str
    units: tuple[Unit, ...]


def cut_into_chunks(text: str) -> list[Chunk]:
    """Cut a Markdown document into passages of about 80 to 120 words, in order, without overlap.

    A passage never crosses a heading, never cuts a sentence, a row or an item (unless one alone is too long), and keeps
    a table's header with its first row and a list's intro with its first item.
    """
    found: list[Chunk] = []
    for section in _sections(text):
        found.extend(_pack(text, section))
    if not found and text.strip():
        start, end = len(text) - len(text.lstrip()), len(text.rstrip())
        found.append(Chunk(start, end, "", (Unit(start, end, "sentence"),)))
    return found


def render_unit(text: str, unit: Unit) -> str:
    """A unit with its context as plain words: a row as `first – header: cell; header: cell`.

    Every word comes from the unit or its context.
    """
    own = text[unit.start : unit.end]
    if unit.kind == "row" and unit.context:
        header = split_cells(text[slice(*unit.context[0])])
        row = split_cells(own)
        named = [f"{name}: {cell}" if name else cell for name, cell in zip(header[1:], row[1:], strict=False) if cell]
        named += [cell for cell in row[len(header) :] if cell]
        return f"{row[0]} – {'; '.join(named)}" if row and named else " ".join(row)
    if unit.kind == "row":
        return " ".join(split_cells(own))
    return strip_markup(own)


class _Piece(msgspec.Struct, frozen=True, gc=False):
    """What is never cut: one unit, or an intro with its first item, or a header with its first row."""

    start: int
    end: int
    words: int
    units: tuple[Unit, ...]


def _sections(text: str) -> Iterator[list[Block]]:
    section: list[Block] = []
    for block in find_blocks(text):
        if section and (block.heading, block.section) != (section[0].heading, section[0].section):
            yield section
            section = []
        section.append(block)
    if section:
        yield section


def _pack(text: str, section: list[Block]) -> list[Chunk]:
    packed: list[list[_Piece]] = []
    words = 0
    for piece in _pieces(text, section):
        if not packed or words + piece.words > MOST_WORDS or words >= TARGET_WORDS:
            packed.append([])
            words = 0
        packed[-1].append(piece)
        words += piece.words
    if len(packed) > 1 and words < LEAST_WORDS:
        last = packed.pop()
        packed[-1].extend(last)
    heading = section[0].heading
    return [
        Chunk(pieces[0].start, pieces[-1].end, heading, tuple(unit for piece in pieces for unit in piece.units))
        for pieces in packed
    ]


def _pieces(text: str, section: list[Block]) -> Iterator[_Piece]:
    intro: list[Unit] = []
    for position, block in enumerate(section):
        if block.kind == "header":
            lead = intro
            intro = []
            yield from _flush(text, lead[:-1])
            last = lead[-1:]
            first = next((other for other in section[position + 1 :]), None)
            if first is None or first.kind != "row":
                yield from _flush(text, [*last, Unit(block.start, block.end, "row", block.heading)])
            else:
                intro = last
            continue
        units = list(_units(text, block, section, position))
        followed = section[position + 1].kind if position + 1 < len(section) else ""
        if block.kind == "paragraph" and followed in ("item", "header") and units:
            yield from _flush(text, [*intro, *units[:-1]])
            intro = units[-1:]
            continue
        start = section[position - 1].start if position and section[position - 1].kind == "header" else block.start
        if intro:
            units = [*intro, *units]
            start = units[0].start
            intro = []
        if block.kind == "paragraph" or len(units) > 2:
            yield from _flush(text, units)
        else:
            yield _Piece(start, block.end, len(_WORD.findall(text, start, block.end)), tuple(units))
    yield from _flush(text, intro)


def _flush(text: str, units: list[Unit]) -> Iterator[_Piece]:
    for unit in units:
        yield _Piece(unit.start, unit.end, len(_WORD.findall(text, unit.start, unit.end)), (unit,))


def _units(text: str, block: Block, section: list[Block], position: int) -> Iterator[Unit]:
    earlier = (other for other in reversed(section[:position]) if other.kind != block.kind)
    before = next((other for other in earlier if other.kind == "header" or other.group != block.group), None)
    context: tuple[CharacterSpan, ...] = ()
    if block.kind == "row":
        if before is not None and before.kind == "header":
            context = ((before.start, before.end),)
        yield Unit(block.start, block.end, "row", block.heading, context, block.group)
        return
    if block.kind == "item":
        if before is not None and before.kind == "paragraph":
            context = tuple(_short(text, before.start, before.end))[-1:]
        start, marker = block.body, block.marker
        is_short = len(_WORD.findall(text, start, block.end)) <= MOST_WORDS
        for begin, end in [(start, block.end)] if is_short else _short(text, start, block.end):
            yield Unit(begin, end, "item", block.heading, context, block.group, marker)
            marker = ""
        return
    for begin, end in _short(text, block.start, block.end):
        yield Unit(begin, end, "sentence", block.heading, group=block.group)


def _short(text: str, start: int, end: int) -> Iterator[CharacterSpan]:
    """Sentences; one of more than `MOST_WORDS` words is cut between words."""
    for begin, stop in split_sentences(text, start, end):
        words = [(match.start(), match.end()) for match in _WORD.finditer(text, begin, stop)]
        for first in range(0, len(words), MOST_WORDS):
            part = words[first : first + MOST_WORDS]
            yield part[0][0], part[-1][1]
