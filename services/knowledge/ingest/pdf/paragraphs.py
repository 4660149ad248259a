"""Puts lines together: which begin a paragraph, an item or a heading, and which go on over a column or a page.

Next: layout.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from tidegate.services.knowledge.ingest.parts import PAGE_BREAK, HeadingPart, ItemPart, Part, TablePart, TextPart
from tidegate.services.knowledge.ingest.pdf.lines import BULLET, NUMBER, PdfLine
from tidegate.services.knowledge.ingest.pdf.ruled_tables import join_lines

_MARKED = re.compile(rf"(?:(?P<bullet>{BULLET.pattern})|(?P<number>{NUMBER.pattern}))\s+(?P<body>\S.*)", re.DOTALL)
_DASHES = "-–—"
_ENDED = re.compile(r"[.!?:;…][\"'”’»)\]]*$")
_LARGER = 1.12
_MOST_HEADING_WORDS = 14
_INDENT = 6.0
_SAME_COLUMN = 40.0
_SHORT_LAST, _SHORT = 0.85, 0.6
"""Shares of the column: a line that ends a sentence, or any line, ends a paragraph if it is not longer."""
_NUMBERED = re.compile(r"\d+(?:\.\d+)*[.)]?\s")


class Typography(msgspec.Struct, frozen=True, kw_only=True):
    """How a document is set: sizes in points; `leading` is the usual gap between two lines of a paragraph."""

    body: float
    is_bold: bool
    leading: float
    heading_sizes: tuple[float, ...]

    def is_heading(self, line: PdfLine) -> bool:
        """Whether the line is set as a heading: larger, or bold where the body is not, short, and no sentence."""
        text = line.text
        if len(text.split()) > _MOST_HEADING_WORDS or not any(map(str.isalpha, text)):
            return False
        if line.size > _LARGER * self.body:
            return True
        return line.is_bold and not self.is_bold and line.size > 0.9 * self.body and not text.endswith((".", ",", ";"))

    def level(self, line: PdfLine) -> int:
        size = round(line.size * 2) / 2
        larger = sum(other > size for other in self.heading_sizes)
        return min(6, 1 + larger)


class PartBuilder:
    """Takes lines and tables in reading order, and makes parts of them."""

    def __init__(self, typography: Typography) -> None:
        self._typography = typography
        self._parts: list[Part] = []
        self._lines: list[PdfLine] = []
        self._page_lines: Sequence[PdfLine] = ()
        self._text = ""
        self._list_lefts: list[float] = []
        self._marks = ""
        """Page breaks that have no text after them yet."""

    def begin_page(self, lines: Sequence[PdfLine]) -> None:
        """The lines that the page has, from which it is seen how wide its columns are."""
        self._page_lines = lines

    def add_line(self, line: PdfLine) -> None:
        """The next line in reading order; one without words is none."""
        text = line.text
        if not text.strip():
            return
        if self._lines and not self._begins(line, text):
            self._append(text)
        else:
            self._flush()
            self._text = self._marks + text
            self._marks = ""
        self._lines.append(line)

    def add_table(self, table: TablePart) -> None:
        """A table that begins a page and goes on with the one that ended the page before is one with it."""
        self._flush()
        last = self._parts[-1] if self._parts else None
        first = (f"{self._marks}{table.rows[0][0]}", *table.rows[0][1:])
        rows = (first, *table.rows[1:])
        if self._marks and isinstance(last, TablePart) and len(last.rows[0]) == len(table.rows[0]):
            is_repeated = [_bare(cell) for cell in last.rows[0]] == list(table.rows[0])
            if is_repeated and len(rows) > 1:
                rows = ((f"{self._marks}{rows[1][0]}", *rows[1][1:]), *rows[2:])
            if is_repeated or not table.has_header:
                self._parts[-1] = TablePart((*last.rows, *rows), last.has_header)
                self._marks = ""
                return
        self._marks = ""
        self._list_lefts = []
        self._parts.append(TablePart(rows, table.has_header))

    def end_page(self) -> None:
        self._marks += PAGE_BREAK

    def finish(self) -> list[Part]:
        self._flush()
        return self._parts

    def _begins(self, line: PdfLine, text: str) -> bool:
        previous, style = self._lines[-1], self._typography
        is_heading = style.is_heading(previous)
        if style.is_heading(line) != is_heading or abs(line.size - previous.size) > 0.15 * previous.size:
            return True
        if is_heading:
            is_apart = not -line.size < previous.y0 - line.y1 < 0.35 * line.size
            return (
                bool(self._marks) or line.is_bold != previous.is_bold or is_apart or _NUMBERED.match(text) is not None
            )
        if self._is_item(text):
            return True
        if self._marks or line.y0 > previous.y1:
            is_open = not _ENDED.search(self._text) or self._text.endswith("\u00ad")
            return not (is_open and text[:1].islower())
        if previous.y0 - line.y1 > style.leading + 0.35 * line.size:
            return True
        return self._is_after_end(line, text)

    def _is_after_end(self, line: PdfLine, text: str) -> bool:
        """Whether the line before ended well before the column did, or this one is indented and begins a sentence."""
        if text[:1].islower():
            return False
        previous = self._lines[-1]
        alike = [each for each in self._page_lines if abs(each.x0 - line.x0) < _SAME_COLUMN]
        left = min((each.x0 for each in alike), default=line.x0)
        right = max((each.x1 for each in alike), default=line.x1)
        has_ended = _ENDED.search(previous.text) is not None
        is_short = previous.x1 < left + (_SHORT_LAST if has_ended else _SHORT) * (right - left)
        return is_short or (has_ended and line.x0 > previous.x0 + 0.8 * line.size)

    def _is_item(self, text: str) -> bool:
        found = _MARKED.match(text)
        if found is None:
            return False
        is_in_list = _MARKED.match(_bare(self._text)) is not None
        return found["bullet"] not in (*_DASHES, "*") or is_in_list or bool(_ENDED.search(self._text))

    def _append(self, text: str) -> None:
        if self._marks and self._text.endswith("\u00ad"):
            word, _, rest = text.partition(" ")
            self._text = f"{join_lines(self._text, word)} {self._marks}{rest}"
        else:
            self._text = (
                join_lines(self._text, self._marks + text)
                if not self._marks
                else self._text + " " + (self._marks + text)
            )
        self._marks = ""

    def _flush(self) -> None:
        if not self._lines:
            return
        first, text = self._lines[0], self._text.replace("\u00ad", "-")
        self._lines, self._text = [], ""
        body = _bare(text)
        marks = text[: len(text) - len(body)]
        found = _MARKED.match(body)
        if self._typography.is_heading(first):
            self._parts.append(HeadingPart(self._typography.level(first), text))
        elif found:
            depth = self._find_depth(first.x0)
            number = found["number"].strip("().") if found["number"] else ""
            words = found["body"] if not number or number.isdecimal() else body
            self._parts.append(ItemPart(marks + words, int(number) if number.isdecimal() else 0, depth))
            return
        else:
            self._parts.append(TextPart(text))
        self._list_lefts = []

    def _find_depth(self, left: float) -> int:
        while self._list_lefts and self._list_lefts[-1] > left + _INDENT:
            self._list_lefts.pop()
        if not self._list_lefts or left > self._list_lefts[-1] + _INDENT:
            self._list_lefts.append(left)
        return len(self._list_lefts) - 1


def _bare(text: str) -> str:
    return text.lstrip(PAGE_BREAK)
