"""The little Markdown that a corpus needs: headings, paragraphs, list items and tables, as spans of the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import msgspec

Kind = Literal["paragraph", "item", "header", "row"]

_HEADING = re.compile(r"\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+(?=\S)")
_RULE = re.compile(r"\s*\|?\s*:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*\|?\s*$")
_BREAK = re.compile(r"[.!?…]+[\"'»”’)\]*]*(?=\s)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|approx|no|nr|mr|mrs|ms|dr|st|vs|incl|max|min|tel|p|pp|art|abs|bzw|ca|ggf|inkl|zzgl|usw|z\.\s?B|d\.\s?h"
    r"|u\.\s?a|p\.\s?ej|sr|sra|núm|env|cf|M|Mme)|\b[A-Za-z])\.$",
    re.IGNORECASE,
)
_ORDINAL = re.compile(r"(?:^|\s)\d{1,2}\.$")


class Block(msgspec.Struct, frozen=True, gc=False):
    """Characters `start` to `end`, without the white space around them; an item's words begin at `body`.

    `section` counts the headings before it, so that two sections of the same name stay two.
    """

    kind: Kind
    start: int
    end: int
    body: int
    heading: str
    section: int


class _Line(msgspec.Struct, frozen=True, gc=False):
    start: int
    end: int
    text: str


def blocks(text: str) -> Iterator[Block]:
    """The blocks of a text in order; headings and table rules are not blocks. Never raises: what is no table, list or
    heading is a paragraph."""
    lines = _lines(text)
    path: list[tuple[int, str]] = []
    section = 0
    at = 0
    while at < len(lines):
        line = lines[at]
        title = _HEADING.match(line.text)
        if title:
            level = len(title[1])
            path = [step for step in path if step[0] < level] + [(level, title[2])]
            section += 1
            at += 1
        elif not line.text.strip():
            at += 1
        else:
            heading = " › ".join(name for _, name in path)
            end, found = _block(lines, at, heading, section)
            yield from found
            at = end


def first_heading(text: str) -> str:
    """The words of the first heading; empty where there is none."""
    found = (_HEADING.match(line) for line in text.splitlines())
    return next((match[2] for match in found if match), "")


def cells(line: str) -> list[str]:
    """The cells of a table row, trimmed."""
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The sentences of `text[start:end]` as trimmed spans that cover every word, in order.

    Does not end one at a common abbreviation, an initial, or an ordinal (`1. Januar`).
    """
    begin = start
    for match in _BREAK.finditer(text, start, end):
        stop = match.end()
        after = text[stop:end].lstrip()
        if not after or not (after[0].isupper() or after[0].isdigit() or after[0] in "\"'«“‘¿¡(*[<€£$"):
            continue
        before = text[begin:stop]
        if match[0] == "." and (_ABBREVIATION.search(before) or _ORDINAL.search(before)):
            continue
        yield from _trimmed(text, begin, stop)
        begin = stop
    yield from _trimmed(text, begin, end)


def _block(lines: list[_Line], at: int, heading: str, section: int) -> tuple[int, list[Block]]:
    if _is_table(lines, at):
        return _table(lines, at, heading, section)
    first = lines[at]
    item = _ITEM.match(first.text)
    end = at + 1
    while end < len(lines) and lines[end].text.strip() and not _starts_block(lines, end):
        end += 1
    start = first.start + len(first.text) - len(first.text.lstrip())
    stop = lines[end - 1].start + len(lines[end - 1].text.rstrip())
    body = first.start + item.end() if item else start
    return end, [Block("item" if item else "paragraph", start, stop, body, heading, section)]


def _table(lines: list[_Line], at: int, heading: str, section: int) -> tuple[int, list[Block]]:
    def block(kind: Kind, line: _Line) -> Block:
        start = line.start + len(line.text) - len(line.text.lstrip())
        return Block(kind, start, line.start + len(line.text.rstrip()), start, heading, section)

    found = [block("header", lines[at])]
    end = at + 2
    while end < len(lines) and "|" in lines[end].text:
        found.append(block("row", lines[end]))
        end += 1
    return end, found


def _is_table(lines: list[_Line], at: int) -> bool:
    return "|" in lines[at].text and at + 1 < len(lines) and "|" in lines[at + 1].text and _is_rule(lines[at + 1].text)


def _is_rule(line: str) -> bool:
    return bool(_RULE.match(line))


def _starts_block(lines: list[_Line], at: int) -> bool:
    text = lines[at].text
    return bool(_HEADING.match(text) or _ITEM.match(text)) or _is_table(lines, at)


def _lines(text: str) -> list[_Line]:
    found: list[_Line] = []
    start = 0
    for line in text.splitlines(keepends=True):
        found.append(_Line(start, start + len(line), line))
        start += len(line)
    return found


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end
