"""Excel workbooks as tables: values as they are shown, dates as ISO 8601, formulas by their stored results.

Hidden sheets, rows and columns are not read, nor what is white on nothing or has a format that shows nothing.
Next: number_formats.py, delimited.py.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import openpyxl

from tidegate.services.knowledge.ingest.delimited import split_grid
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.heading_rows import CellSpan, join_heading_rows
from tidegate.services.knowledge.ingest.number_formats import Separators, guess_separators, show_value
from tidegate.services.knowledge.ingest.office import check_office
from tidegate.services.knowledge.ingest.parts import FileNote, HeadingPart, IngestedText, Part, write_markdown

MOST_CELLS = 2_000_000
_MOST_SAMPLED_ROWS = 200
_WHITE = re.compile(r"[0-9a-fA-F]{2}(?:[fF][0-9a-fA-F]){3}")
_UNNAMED = re.compile(r"(?:sheet|table|tabelle|feuil|hoja|foglio|planilha|folha|blad|arkusz)\s*\d*", re.IGNORECASE)


def read_workbook(data: bytes) -> IngestedText:
    """A `.xlsx` file as Markdown, each visible sheet under its name. Raises `FileUnreadError`."""
    about = check_office(data, "xl/workbook.xml", "xlsx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of what it leaves out: styles, pictures, validations
        book = openpyxl.load_workbook(io.BytesIO(data), data_only=True, keep_links=False)
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    separators = _separators_of(sheets)
    markdown, _ = write_markdown(part for sheet in sheets for part in _read_sheet(sheet, separators))
    hidden = [sheet.title for sheet in book.worksheets if sheet not in sheets]
    notes = [FileNote(f"hidden sheets are not read: {', '.join(hidden)}")] if hidden else []
    partly = [sheet.title for sheet in sheets if any(_hidden_of(sheet))]
    if partly:
        notes.append(FileNote(f"hidden rows and columns are not read, in the sheets {', '.join(partly)}"))
    return IngestedText(text=markdown, title=about.title, date=about.date, notes=tuple(notes))


def _hidden_of(sheet: Any) -> tuple[set[int], set[int]]:
    """The rows and the columns that are hidden, by filters too, counted from 0."""
    rows = {number - 1 for number, each in sheet.row_dimensions.items() if each.hidden}
    spans = [(each.min, min(each.max, sheet.max_column)) for each in sheet.column_dimensions.values() if each.hidden]
    return rows, {column - 1 for first, last in spans for column in range(first, last + 1)}


class _UnseenCells:
    """Which cells of a sheet show nothing of what they hold. Where a table or a condition gives cells a ground, the
    colour of their text says nothing."""

    def __init__(self, sheet: Any) -> None:
        self._may_have_ground = bool(sheet.tables) or bool(list(sheet.conditional_formatting))
        self._known: dict[int, bool] = {}
        """By the number of a style."""

    def has(self, cell: Any) -> bool:
        """Whether the cell is one of them."""
        if cell.value is None or not cell.has_style:
            return False
        if cell.style_id not in self._known:
            is_plain = cell.fill.fill_type is None and not self._may_have_ground
            self._known[cell.style_id] = cell.number_format.strip() == ";;;" or (
                is_plain and _is_white(cell.font.color)
            )
        return self._known[cell.style_id]


def _is_white(colour: Any) -> bool:
    if colour is None:
        return False
    if colour.type == "theme":
        return bool(colour.theme == 0 and not colour.tint)  # the first colour of a theme is the ground
    if colour.type == "indexed":
        return bool(colour.indexed in (1, 9))
    return bool(_WHITE.fullmatch(colour.rgb or ""))


def _separators_of(sheets: Sequence[Any]) -> Separators:
    """Those of the sheets' words; see `guess_separators`."""
    words: list[str] = []
    for sheet in sheets:
        _check_size(sheet)
        for row in sheet.iter_rows(max_row=_MOST_SAMPLED_ROWS, values_only=True):
            words += (value for value in row if isinstance(value, str))
    return guess_separators(words)


def _check_size(sheet: Any) -> None:
    if sheet.max_row * sheet.max_column > MOST_CELLS:
        raise FileUnreadError(
            f"the sheet {sheet.title} is {sheet.max_row} by {sheet.max_column} cells, more than is read", "split it"
        )


def _read_sheet(sheet: Any, separators: Separators) -> Iterator[Part]:
    if not _UNNAMED.fullmatch(sheet.title):
        yield HeadingPart(1, sheet.title)
    unseen = _UnseenCells(sheet)
    grid = [
        ["" if unseen.has(cell) else show_value(cell.value, cell.number_format or "", separators) for cell in row]
        for row in sheet.iter_rows()
    ]
    for merged in sheet.merged_cells.ranges:
        text = grid[merged.min_row - 1][merged.min_col - 1]
        for row in grid[merged.min_row : merged.max_row]:
            row[merged.min_col - 1] = text  # a cell that spans rows is in each of them
    hidden_rows, hidden_columns = _hidden_of(sheet)
    hidden_rows |= _join_headings(grid, sheet)
    shown = [row for number, row in enumerate(grid) if number not in hidden_rows]
    yield from split_grid([[cell for n, cell in enumerate(row) if n not in hidden_columns] for row in shown])


def _join_headings(grid: list[list[str]], sheet: Any) -> set[int]:
    """Give the columns of tables with two rows of names their whole names, in the lower row; the upper rows, which are
    not needed any more. Such a row is the first of its table that has more than one cell."""
    spans = [
        CellSpan(merged.min_row - 1, merged.min_col - 1, merged.max_col - 1)
        for merged in sheet.merged_cells.ranges
        if merged.max_col > merged.min_col and merged.max_row == merged.min_row
    ]
    joined: set[int] = set()
    for row in sorted({span.row for span in spans}):
        before = next((above for above in reversed(grid[:row]) if sum(map(bool, above)) != 1), [])
        end = next((below for below in range(row, len(grid)) if not any(grid[below])), len(grid))
        names = None if any(before) else join_heading_rows(grid[:end], spans, row)
        if names is not None:
            grid[row + 1] = list(names)
            joined.add(row)
    return joined
