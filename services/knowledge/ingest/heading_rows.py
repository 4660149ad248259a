"""Two rows that name the columns of a table, the upper one by groups, as one row of names. Next: parts.py.

Pure; `html_tables.py` and `workbook.py` know which cells span columns.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from tidegate.services.knowledge.ingest.parts import is_value

_YEAR = re.compile(r"(?:19|20)\d\d")
_DIGIT = re.compile(r"\d")


class CellSpan(NamedTuple):
    """A cell that lies over several columns, the last one included; all count from 0."""

    row: int
    first: int
    last: int


def join_heading_rows(
    rows: Sequence[Sequence[str]], spans: Collection[CellSpan], at: int = 0
) -> tuple[str, ...] | None:
    """The names of the columns that row `at` and the row below it give together: "Rent" over "day" and "week" is "Rent
    day" and "Rent week". The rows are equally long. None where these are not two rows of names:

    a cell that spans columns must stand over words that differ; beside it one name must span both rows, or each column
    have a name in one of them; and the columns of groups hold numbers where nothing else tells names from values.
    """
    if len(rows) < at + 3:
        return None
    top, below, body = rows[at], rows[at + 1], rows[at + 2 :]
    groups = [span for span in spans if span.row == at and top[span.first]]
    named = {column: top[span.first] for span in groups for column in range(span.first, span.last + 1)}
    if not groups or any(span.last - span.first + 1 == len(top) for span in groups):
        return None
    for span in groups:
        names = below[span.first : span.last + 1]
        if not all(map(_is_name, names)) or len(set(names)) < len(names):
            return None
    beside = [(top[column], below[column]) for column in range(len(top)) if column not in named]
    has_tall_name = any(upper and upper == lower for upper, lower in beside)
    if not has_tall_name and any(upper and lower for upper, lower in beside):
        return None
    if has_tall_name and not all(_is_name(lower) for _, lower in beside if lower):
        return None
    has_numbers = any(_DIGIT.search(row[column]) for row in body for column in named)
    if not has_numbers and not any(upper for upper, _ in beside):
        return None
    pairs = ((named.get(column, top[column]), below[column]) for column in range(len(top)))
    return tuple(" ".join(dict.fromkeys(filter(None, pair))) for pair in pairs)


def _is_name(cell: str) -> bool:
    """Whether a cell may name a column: words, or a year."""
    return bool(cell) and (not is_value(cell) or _YEAR.fullmatch(cell) is not None)
