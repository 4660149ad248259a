"""Tables that only the alignment of their cells shows, and text in columns that looks like one. Next: lines.py."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.services.knowledge.ingest.parts import TablePart, looks_like_header
from tidegate.services.knowledge.ingest.pdf.lines import PdfLine, Segment
from tidegate.services.knowledge.ingest.pdf.ruled_tables import join_lines

_LONGEST_GAP = 3.2
"""Of the size, between two rows."""
_WRAPPED_GAP = 1.6
_MOST_WORDS = 7.0
_MOST_LOWER_CASE = 0.4


def split_runs(lines: Sequence[PdfLine]) -> list[list[PdfLine]]:
    """The lines, those together that may be rows of one table: of several segments, or below a cell of the last."""
    runs: list[list[PdfLine]] = []
    for position, line in enumerate(lines):
        after = lines[position + 1] if position + 1 < len(lines) else None
        if runs and _goes_on(runs[-1], line, after):
            runs[-1].append(line)
        else:
            runs.append([line])
    return runs


def read_run(run: Sequence[PdfLine]) -> TablePart | list[PdfLine]:
    """A run as a table, or as lines: those of text in columns, column by column."""
    columns = _find_columns(run)
    rows: list[list[str]] = []
    previous: PdfLine | None = None
    for line in run:
        cells = [""] * len(columns)
        for segment in line.segments:
            column = _column_of(segment, columns)
            cells[column] = join_lines(cells[column], segment.text)
        if previous is not None and len(line.segments) == 1 and len(columns) > 1:
            rows[-1] = [join_lines(above, own) if own else above for above, own in zip(rows[-1], cells, strict=True)]
        else:
            rows.append(cells)
        previous = line
    if _is_table(rows):
        kept = tuple(tuple(cell.rstrip("\u00ad") for cell in row) for row in rows)
        is_marked = run[0].is_bold and not all(line.is_bold for line in run) and all(kept[0][1:])
        return TablePart(kept, is_marked or looks_like_header(kept))
    return _in_columns(run, columns)


def _goes_on(run: Sequence[PdfLine], line: PdfLine, after: PdfLine | None) -> bool:
    last = run[-1]
    gap = last.y0 - line.y1
    if len(run[0].segments) < 2 or not -line.size < gap < _LONGEST_GAP * line.size:
        return False
    if len(line.segments) > 1:
        return True
    is_wrapped = gap < (_WRAPPED_GAP - 1) * line.size and not line.is_bold
    begins = {round(segment.x0 / 4) for row in run for segment in row.segments}
    is_below_cell = round(line.x0 / 4) in begins and line.x1 <= max(row.x1 for row in run) + 1
    follows = after is not None and len(after.segments) > 1
    return is_wrapped and is_below_cell and (follows or line.x0 > run[0].segments[0].x1)


def _find_columns(run: Sequence[PdfLine]) -> list[tuple[float, float]]:
    """The ranges across the page that segments cover; what overlaps is one column."""
    segments = sorted((s for line in run if len(line.segments) > 1 for s in line.segments), key=lambda s: s.x0)
    columns: list[tuple[float, float]] = []
    for segment in segments:
        if columns and segment.x0 < columns[-1][1]:
            columns[-1] = (columns[-1][0], max(columns[-1][1], segment.x1))
        else:
            columns.append((segment.x0, segment.x1))
    return columns


def _column_of(segment: Segment, columns: Sequence[tuple[float, float]]) -> int:
    overlaps = [min(segment.x1, right) - max(segment.x0, left) for left, right in columns]
    return max(range(len(columns)), key=overlaps.__getitem__)


def _is_table(rows: Sequence[Sequence[str]]) -> bool:
    width = len(rows[0])
    if width < 2 or len(rows) < (2 if width > 2 else 3):
        return False
    cells = [cell for row in rows for cell in row if cell]
    full = sum(sum(map(bool, row)) > 1 for row in rows)
    lower = sum(cell[0].islower() for row in rows[1:] for cell in row[:1] if cell)
    words = sum(len(cell.split()) for cell in cells) / len(cells)
    return full * 2 > len(rows) and words <= _MOST_WORDS and lower <= _MOST_LOWER_CASE * len(rows)


def _in_columns(run: Sequence[PdfLine], columns: Sequence[tuple[float, float]]) -> list[PdfLine]:
    """Text of two columns whose lines came row by row, column by column; few lines stay as they are."""
    if len(columns) < 2 or len(run) < 3:
        return list(run)
    found: list[PdfLine] = []
    for column in range(len(columns)):
        for line in run:
            own = tuple(segment for segment in line.segments if _column_of(segment, columns) == column)
            if own:
                found.append(PdfLine(own, line.y0, line.y1, line.size, line.is_bold))
    return found
