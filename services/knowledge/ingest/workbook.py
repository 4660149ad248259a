"""Excel workbooks as tables: values as they are shown, dates as ISO 8601, formulas by their stored results.

Hidden sheets are not read. Next: number_formats.py, delimited.py.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

import openpyxl

from tidegate.services.knowledge.ingest.delimited import split_grid
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.number_formats import show_value
from tidegate.services.knowledge.ingest.office import check_office
from tidegate.services.knowledge.ingest.parts import FileNote, HeadingPart, IngestedText, Part, write_markdown

MOST_CELLS = 2_000_000
_UNNAMED = re.compile(r"(?:sheet|table|tabelle|feuil|hoja|foglio|planilha|folha|blad|arkusz)\s*\d*", re.IGNORECASE)


def read_workbook(data: bytes) -> IngestedText:
    """A `.xlsx` file as Markdown, each visible sheet under its name. Raises `FileUnreadError`."""
    about = check_office(data, "xl/workbook.xml", "xlsx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # openpyxl warns of what it leaves out: styles, pictures, validations
        book = openpyxl.load_workbook(io.BytesIO(data), data_only=True, keep_links=False)
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    markdown, _ = write_markdown(part for sheet in sheets for part in _read_sheet(sheet))
    hidden = [sheet.title for sheet in book.worksheets if sheet not in sheets]
    notes = (FileNote(f"hidden sheets are not read: {', '.join(hidden)}"),) if hidden else ()
    return IngestedText(text=markdown, title=about.title, date=about.date, notes=notes)


def _read_sheet(sheet: Any) -> Iterator[Part]:
    if sheet.max_row * sheet.max_column > MOST_CELLS:
        raise FileUnreadError(
            f"the sheet {sheet.title} is {sheet.max_row} by {sheet.max_column} cells, more than is read", "split it"
        )
    if not _UNNAMED.fullmatch(sheet.title):
        yield HeadingPart(1, sheet.title)
    grid = [[show_value(cell.value, cell.number_format or "") for cell in row] for row in sheet.iter_rows()]
    for merged in sheet.merged_cells.ranges:
        text = grid[merged.min_row - 1][merged.min_col - 1]
        for row in grid[merged.min_row : merged.max_row]:
            row[merged.min_col - 1] = text  # a cell that spans rows is in each of them
    yield from split_grid(grid)
