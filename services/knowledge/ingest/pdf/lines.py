"""The lines of a page, in the order in which its maker wrote them, and those that run along on every page.

That order is the reading order in nearly every PDF, columns included. Next: aligned_tables.py, layout.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from tidegate.services.knowledge.ingest.pdf.pages import PdfPage, PdfWord

BULLET = re.compile(r"[•‣◦▪▫●○■□–—*·∙⁃➢✓\uf0b7\uf0a7\uf0d8\uf0fc-]")
NUMBER = re.compile(r"(\d{1,3}|[a-z])[.)]|\((\d{1,3}|[a-z])\)")
_SEGMENT_GAP = 1.0
"""Of the size: what is wider parts two cells or columns, and no words."""
_LINES_BACK = 8
_EDGE = 0.12
"""Share of the page, above and below, in which headers and footers run."""
_DIGITS = re.compile(r"\d+")
_PAGE_NUMBER = re.compile(
    r"\W*(?:page|seite|p[aá]gin[ae]|strona|pagina)?\W*(?:\d{1,4}|[ivxl]{1,6})\W*(?:(?:of|von|de|di|van|z|sur|/)\W*\d{1,4})?\W*",
    re.IGNORECASE,
)
_PAGE_WORD = re.compile(r"\b(?:page|seite|p[aá]gin[ae]|strona|pagina)\b|\d{4}", re.IGNORECASE)
"""What makes a numbered line no heading: a word for page, or a year."""
_LEADER = re.compile(r"(?:[.…·_]\s?){4,}\s*(\d{1,4}|[ivxl]{1,6})$")


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Words of a line with no wide gap between them."""

    text: str
    x0: float
    x1: float


class PdfLine(msgspec.Struct, frozen=True, gc=False):
    """A line; of more than one segment where gaps part it."""

    segments: tuple[Segment, ...]
    y0: float
    y1: float
    size: float
    is_bold: bool

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)

    @property
    def x0(self) -> float:
        return self.segments[0].x0

    @property
    def x1(self) -> float:
        return self.segments[-1].x1


def build_lines(words: Sequence[PdfWord]) -> list[PdfLine]:
    """The lines that the words make. What stands right of a line that came shortly before belongs to that line: it is
    the next cell of a row whose first cell has several lines."""
    rows: list[list[PdfWord]] = []
    current: list[PdfWord] = []
    for word in words:
        if current and _continues(current, word):
            current.append(word)
            continue
        current = next((row for row in rows[: -_LINES_BACK - 1 : -1] if _stands_right(rows[-1], row, word)), [])
        current.append(word)
        if len(current) == 1:
            rows.append(current)
    return [_line(row) for row in rows]


def find_running_lines(pages: Sequence[tuple[PdfPage, Sequence[PdfLine]]]) -> tuple[set[int], list[PdfLine]]:
    """The `id`s of the lines that are the same at the edge of three pages or of all, but for the pages' numbers; and
    those lines among them that state a number of their own, as an edition or a date, once each."""
    found: set[int] = set()
    stated: list[PdfLine] = []
    seen: dict[tuple[str, int], list[tuple[int, PdfLine]]] = {}
    for number, (page, lines) in enumerate(pages):
        for line in lines:
            height = page.top - page.bottom
            if page.bottom + _EDGE * height < line.y0 and line.y1 < page.top - _EDGE * height:
                continue
            if _PAGE_NUMBER.fullmatch(line.text) and (len(pages) > 1 or _PAGE_WORD.search(line.text)):
                found.add(id(line))
            if line.y0 > page.bottom + 0.5 * height and len(line.segments) == 1 and _may_head(line.text):
                continue
            key = _DIGITS.sub("#", line.text.casefold())
            seen.setdefault((key, round(line.y0 / 8)), []).append((number, line))
    for alike in seen.values():
        if len(alike) >= _least_often(alike[0][1], len(pages)) and _counts_pages(alike):
            found.update(id(line) for _, line in alike)
            if len({line.text for _, line in alike}) == 1 and _DIGITS.search(alike[0][1].text):
                stated.append(alike[0][1])
    return found, stated


def _may_head(text: str) -> bool:
    """Whether a line at the top, which has a number, may be a heading that is counted: Step 3, on the third page."""
    return _DIGITS.search(text) is not None and not _PAGE_WORD.search(text)


def _least_often(line: PdfLine, pages: int) -> float:
    """On how many pages a line must be; a row of a table on most of them."""
    most = 0.6 * pages if len(line.segments) > 2 else 3
    return max(2, min(3, pages), most if pages > 3 else 0)


def _counts_pages(alike: Sequence[tuple[int, PdfLine]]) -> bool:
    """Whether every number in the lines is the same on all pages, or grows from page to page as the pages do."""
    numbers = [[int(digits[:9]) for digits in _DIGITS.findall(line.text)] for _, line in alike]
    return all(
        len(set(column)) == 1 or len({number - page for number, (page, _) in zip(column, alike, strict=True)}) == 1
        for column in zip(*numbers, strict=True)
    )


def is_contents_entry(line: PdfLine, pages: int) -> bool:
    """Whether the line is of a table of contents: dots lead to the number of a page."""
    found = _LEADER.search(line.text)
    return found is not None and (not found[1].isdecimal() or int(found[1]) <= pages)


def _continues(row: Sequence[PdfWord], word: PdfWord) -> bool:
    last = row[-1]
    overlap = min(last.y1, word.y1) - max(last.y0, word.y0)
    return overlap > 0.5 * min(last.y1 - last.y0, word.y1 - word.y0) and word.x0 >= last.x1 - 0.5 * word.size


def _stands_right(last: Sequence[PdfWord], row: Sequence[PdfWord], word: PdfWord) -> bool:
    """Whether the word, which went up again after the `last` row, goes on with `row`."""
    went_up = word.y0 > last[-1].y0 - 0.3 * word.size
    return went_up and _continues(row, word) and word.x0 - row[-1].x1 > 0.5 * word.size


def _line(row: Sequence[PdfWord]) -> PdfLine:
    sizes: dict[float, int] = {}
    for word in row:
        sizes[word.size] = sizes.get(word.size, 0) + len(word.text)
    return PdfLine(
        segments=tuple(_segments(row)),
        y0=min(word.y0 for word in row),
        y1=max(word.y1 for word in row),
        size=max(sizes, key=sizes.__getitem__),
        is_bold=all(word.is_bold for word in row if any(map(str.isalnum, word.text))),
    )


def _segments(row: Sequence[PdfWord]) -> Iterator[Segment]:
    """A mark of a list is one segment with what follows it, however wide the gap."""
    cuts = [
        position
        for position, (before, after) in enumerate(pairwise(row), start=1)
        if after.x0 - before.x1 > _SEGMENT_GAP * max(before.size, 6.0)
    ]
    if cuts[:1] == [1] and (BULLET.fullmatch(row[0].text) or NUMBER.fullmatch(row[0].text)):
        cuts = cuts[1:]
    for start, end in pairwise([0, *cuts, len(row)]):
        part = row[start:end]
        yield Segment(" ".join(word.text for word in part), part[0].x0, part[-1].x1)
