"""Tables whose cells are parted by drawn lines. Next: pages.py, layout.py."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

import msgspec

from tidegate.services.knowledge.ingest.parts import TablePart, looks_like_header
from tidegate.services.knowledge.ingest.pdf.lines import build_lines
from tidegate.services.knowledge.ingest.pdf.pages import PdfPage, PdfWord, Ruling

_NEAR = 3.0
_MOST_RULINGS = 3000
_LEAST_FILLED = 0.4


class RuledTable(msgspec.Struct, frozen=True):
    """A table, and the positions among the page's words of those that are in it."""

    part: TablePart
    words: frozenset[int]


def find_ruled_tables(page: PdfPage) -> list[RuledTable]:
    """The tables of two columns or more and two rows or more, most of whose cells hold something."""
    if not page.rulings or len(page.rulings) > _MOST_RULINGS:
        return []
    found = []
    free = dict(enumerate(page.words))
    for group in _group(page.rulings):
        grid = _Grid(group)
        if not grid.is_table:
            continue
        table = grid.fill(free)
        if table is not None:
            found.append(table)
            for position in table.words:
                del free[position]
    return found


class _Grid:
    """Crossing lines: `columns` and `rows` are where they lie, from the left and from the top."""

    def __init__(self, rulings: Sequence[Ruling]) -> None:
        self._horizontal = [ruling for ruling in rulings if ruling.is_horizontal]
        self._vertical = [ruling for ruling in rulings if not ruling.is_horizontal]
        across = [end for ruling in self._horizontal for end in (ruling.start, ruling.end)]
        along = [end for ruling in self._vertical for end in (ruling.start, ruling.end)]
        self.columns = _merge([*(ruling.at for ruling in self._vertical), *_ends(across)])
        self.rows = _merge([*(ruling.at for ruling in self._horizontal), *_ends(along)])[::-1]

    @property
    def is_table(self) -> bool:
        return len(self.columns) > 2 and len(self.rows) > 2

    def fill(self, words: dict[int, PdfWord]) -> RuledTable | None:
        """The table with the words that lie in its cells; None where most are empty."""
        held: dict[tuple[int, int], list[PdfWord]] = {}
        inside = set()
        for position, word in words.items():
            cell = self._find_cell((word.x0 + word.x1) / 2, (word.y0 + word.y1) / 2)
            if cell is not None:
                held.setdefault(self._root(*cell), []).append(word)
                inside.add(position)
        texts = {cell: _cell_text(found) for cell, found in held.items()}
        rows = [self._row(row, texts) for row in range(len(self.rows) - 1)]
        used = [column for column in range(len(self.columns) - 1) if any(row[column] for row in rows)]
        kept = tuple(tuple(row[column] for column in used) for row in rows if any(row))
        cells = len(kept) * len(used)
        if len(used) < 2 or len(kept) < 2 or sum(bool(cell) for row in kept for cell in row) < _LEAST_FILLED * cells:
            return None
        is_bold = all(word.is_bold for (row, _), found in held.items() if row == 0 for word in found)
        is_marked = is_bold and not all(word.is_bold for found in held.values() for word in found)
        has_names = is_marked and all(kept[0][1:])
        return RuledTable(TablePart(kept, has_names or looks_like_header(kept)), frozenset(inside))

    def _find_cell(self, x: float, y: float) -> tuple[int, int] | None:
        column = bisect_right(self.columns, x) - 1
        row = bisect_right([-at for at in self.rows], -y) - 1
        is_inside = 0 <= column < len(self.columns) - 1 and 0 <= row < len(self.rows) - 1
        return (row, column) if is_inside else None

    def _root(self, row: int, column: int) -> tuple[int, int]:
        """The first cell of those that no line parts from this one."""
        while column > 0 and not self._is_parted_left(row, column):
            column -= 1
        while row > 0 and not self._is_parted_above(row, column):
            row -= 1
        return row, column

    def _row(self, row: int, texts: dict[tuple[int, int], str]) -> list[str]:
        """A cell of several rows is in each of them; one of several columns is in the first, a header's in each."""
        cells = []
        for column in range(len(self.columns) - 1):
            root = self._root(row, column)
            is_first = root[1] == column or root[0] == 0
            cells.append(texts.get(root, "") if is_first else "")
        is_one = len({self._root(row, column) for column in range(len(cells))}) == 1
        return [cells[0], *[""] * (len(cells) - 1)] if is_one else cells

    def _is_parted_left(self, row: int, column: int) -> bool:
        x, y = self.columns[column], (self.rows[row] + self.rows[row + 1]) / 2
        return any(abs(each.at - x) <= _NEAR and each.start - 1 <= y <= each.end + 1 for each in self._vertical)

    def _is_parted_above(self, row: int, column: int) -> bool:
        x, y = (self.columns[column] + self.columns[column + 1]) / 2, self.rows[row]
        return any(abs(each.at - y) <= _NEAR and each.start - 1 <= x <= each.end + 1 for each in self._horizontal)


def _cell_text(words: Sequence[PdfWord]) -> str:
    text = ""
    for line in sorted(build_lines(words), key=lambda line: -line.y1):
        text = join_lines(text, line.text)
    return text.rstrip("\u00ad")


def join_lines(before: str, after: str) -> str:
    """Two lines as one text: a hyphen that the end of the line put into a word is taken out again."""
    if before.endswith("\u00ad"):
        return before[:-1] + ("" if after[:1].islower() else "-") + after
    return f"{before} {after}" if before else after


def _group(rulings: Sequence[Ruling]) -> list[list[Ruling]]:
    """The rulings that cross or touch one another, directly or over others."""
    horizontal = [ruling for ruling in rulings if ruling.is_horizontal]
    vertical = [ruling for ruling in rulings if not ruling.is_horizontal]
    parents = list(range(len(horizontal) + len(vertical)))

    def find(member: int) -> int:
        while parents[member] != member:
            parents[member] = parents[parents[member]]
            member = parents[member]
        return member

    for first, across in enumerate(horizontal):
        for second, along in enumerate(vertical, start=len(horizontal)):
            if _touch(across, along):
                parents[find(first)] = find(second)
    groups: dict[int, list[Ruling]] = {}
    for member, ruling in enumerate((*horizontal, *vertical)):
        groups.setdefault(find(member), []).append(ruling)
    return list(groups.values())


def _touch(across: Ruling, along: Ruling) -> bool:
    return (
        across.start - _NEAR <= along.at <= across.end + _NEAR and along.start - _NEAR <= across.at <= along.end + _NEAR
    )


def _merge(positions: Iterable[float]) -> list[float]:
    """The positions in order, those that are near one another as one."""
    merged: list[float] = []
    for position in sorted(positions):
        if not merged or position - merged[-1] > _NEAR:
            merged.append(position)
    return merged


def _ends(positions: Sequence[float]) -> tuple[float, ...]:
    return (min(positions), max(positions)) if positions else ()
