"""Tables of HTML as rows of cells, each as wide as the table says. Next: html.py, parts.py."""

from __future__ import annotations

from collections.abc import Iterator

from selectolax.lexbor import LexborNode

from tidegate.services.knowledge.ingest.heading_rows import CellSpan, join_heading_rows
from tidegate.services.knowledge.ingest.parts import TablePart, looks_like_header, tidy

BLOCKS = frozenset(
    "address article blockquote body center dd details div dl dt fieldset figcaption figure footer form header hr html "  # noqa: SIM905
    "legend li main ol p pre section summary table tr td th ul h1 h2 h3 h4 h5 h6".split()
)
"""The elements that begin and end a line of their own."""
STRUCK_OUT = ("del", "s", "strike")
DEEPEST = 200
"""Elements inside one another; what lies deeper is read as one text."""
_MOST_COLUMNS = 64
_MOST_SPAN = 1000


def read_table(node: LexborNode) -> TablePart | None:
    """The table; None for one that only lays out a page: of one row or column, or with a table inside."""
    if node.css_first("table") not in (None, node) or len(node.css("table")) > 1:
        return None
    lines = node.css("tr")
    rows, spans = _spread(lines)
    names = join_heading_rows(rows, spans)
    if names is not None:
        rows = [list(names), *rows[2:]]
    used = [column for column in range(max(map(len, rows), default=0)) if any(row[column] for row in rows)]
    kept = tuple(tuple(row[column] for column in used) for row in rows if any(row))
    if len(used) < 2 or len(kept) < 2:
        return None
    is_marked = bool(lines) and not lines[0].css("td") and bool(lines[0].css("th"))
    return TablePart(kept, is_marked or names is not None or looks_like_header(kept))


def read_words(node: LexborNode) -> str:
    """The words in an element, in one line, without what is struck out."""
    return tidy("".join(_words(node, 0)))


def _words(node: LexborNode, depth: int) -> Iterator[str]:
    if depth == DEEPEST:
        yield node.text(separator=" ")
        return
    for child in node.iter(include_text=True):
        if child.tag == "-text":
            yield child.text()
        elif child.tag == "br":
            yield " "
        elif child.tag not in STRUCK_OUT:
            edge = " " * (child.tag in BLOCKS)
            yield edge
            yield from _words(child, depth + 1)
            yield edge


def _spread(lines: list[LexborNode]) -> tuple[list[list[str]], list[CellSpan]]:
    """Rows of equal length, and their cells that span columns: a cell that spans rows is in each of them, one that
    spans columns in the first.

    A heading that spans columns is in each of them: it is the name of them all.
    """
    rows: list[list[str]] = []
    spans: list[CellSpan] = []
    open_cells: dict[int, tuple[int, str]] = {}
    for line in lines:
        row: dict[int, str] = {}
        for column, (left, text) in list(open_cells.items()):
            row[column] = text
            open_cells[column] = (left - 1, text)
            if left == 1:
                del open_cells[column]
        column = 0
        for cell in line.iter():
            if cell.tag not in ("td", "th"):
                continue
            while column in row:
                column += 1
            text, wide, high = read_words(cell), _span(cell, "colspan"), _span(cell, "rowspan")
            for offset in range(min(wide, _MOST_COLUMNS - column)):
                row[column + offset] = text if offset == 0 or cell.tag == "th" else ""
                if high > 1:
                    open_cells[column + offset] = (high - 1, row[column + offset])
            if wide > 1 and column < _MOST_COLUMNS:
                spans.append(CellSpan(len(rows), column, min(column + wide, _MOST_COLUMNS) - 1))
            column += wide
        rows.append([row.get(column, "") for column in range(max(row, default=-1) + 1)])
    width = max(map(len, rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows], spans


def _span(cell: LexborNode, name: str) -> int:
    given = (cell.attributes.get(name) or "1").strip()
    return max(1, min(int(given), _MOST_SPAN)) if given.isdecimal() else 1
