"""CSV and other delimited text as tables. Next: parts.py, text.py."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence

from tidegate.services.knowledge.ingest.parts import (
    IngestedText,
    Part,
    TablePart,
    TextPart,
    looks_like_header,
    tidy,
    write_markdown,
)
from tidegate.services.knowledge.ingest.text import decode_text

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50


def read_delimited(data: bytes) -> IngestedText:
    """The rows of a CSV file, whatever separates its cells, as a table. Raises `csv.Error`."""
    text = decode_text(data)
    lines = csv.reader(io.StringIO(text), delimiter=find_delimiter(text))
    markdown, _ = write_markdown(split_grid(list(lines)))
    return IngestedText(text=markdown)


def find_delimiter(text: str) -> str:
    """The delimiter that cuts the most lines into the same number of cells, and into more than one."""
    sample = "\n".join(text.split("\n", _SAMPLE_LINES)[:_SAMPLE_LINES])
    return max(_DELIMITERS, key=lambda delimiter: _count_alike(sample, delimiter))


def _count_alike(sample: str, delimiter: str) -> tuple[int, int]:
    """How many lines have the same number of cells, and that number; nothing where it is one."""
    widths = Counter(len(row) for row in csv.reader(io.StringIO(sample), delimiter=delimiter) if len(row) > 1)
    return max(((lines, width) for width, lines in widths.items()), default=(0, 0))


def split_grid(grid: Sequence[Sequence[str]]) -> Iterator[Part]:
    """A sheet's cells as tables, which empty rows part, and as texts where a row has one cell only above a table."""
    block: list[tuple[str, ...]] = []
    for row in [*grid, ()]:
        cells = tuple(map(tidy, row))
        if any(cells):
            block.append(cells)
        elif block:
            yield from _read_block(block)
            block = []


def _read_block(block: list[tuple[str, ...]]) -> Iterator[Part]:
    while block and sum(map(bool, block[0])) == 1 and any(sum(map(bool, row)) > 1 for row in block):
        yield TextPart(next(filter(None, block.pop(0))))
    width = max(map(len, block))
    filled = [(*row, *[""] * (width - len(row))) for row in block]
    used = [column for column in range(width) if any(row[column] for row in filled)]
    rows = tuple(tuple(row[column] for column in used) for row in filled)
    if len(used) == 1:
        yield from (TextPart(row[0]) for row in rows)
    else:
        yield TablePart(rows, looks_like_header(rows))
