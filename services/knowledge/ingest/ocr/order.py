"""The order in which the lines of a page are read: column after column, else row after row. Next: recognition.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

_GUTTER = 1.0
"""Of the height of a line: a gap between two columns is at least as wide."""
_LEAST_LINES = 4
"""A column has as many lines, or the page is read row by row."""
_LEAST_WIDTH = 9.0
"""Of its height, in the middle: lines of text are as long; cells of a table are shorter."""
_ROW_OVERLAP = 0.5

Interval = tuple[float, float]


class LineBox(msgspec.Struct, frozen=True, gc=False):
    """Where a line is on a page that stands level, in pixels from its top left; `line` is its number."""

    line: int
    x0: float
    x1: float
    y0: float
    y1: float

    @property
    def height(self) -> float:
        return self.y1 - self.y0


def sort_lines(boxes: Sequence[LineBox]) -> list[LineBox]:
    """The lines in reading order."""
    if not boxes:
        return []
    height = median(box.height for box in boxes)
    found: list[LineBox] = []
    for is_in_columns, gutters, zone in _zones(_bands(boxes), _GUTTER * height):
        columns = _part(zone, gutters) if is_in_columns else []
        if len(columns) > 1 and all(_is_text(column) for column in columns):
            found += [line for column in columns for line in sort_lines(column)]
        else:
            found += [box for row in _rows(zone) for box in row]
    return found


def _bands(boxes: Sequence[LineBox]) -> Iterator[list[LineBox]]:
    """The lines from above, those together between which no level cut passes."""
    band: list[LineBox] = []
    bottom = 0.0
    for box in sorted(boxes, key=lambda box: box.y0 + box.y1):
        if band and box.y0 + 0.2 * box.height > bottom:
            yield band
            band = []
        bottom = max(bottom, box.y1 - 0.2 * box.height) if band else box.y1 - 0.2 * box.height
        band.append(box)
    if band:
        yield band


def _zones(bands: Iterator[list[LineBox]], narrowest: float) -> Iterator[tuple[bool, list[Interval], list[LineBox]]]:
    """Bands that follow one another and have a gap in common, together; and the others, one by one."""
    zone: list[LineBox] = []
    gutters: list[Interval] = []
    for band in bands:
        kept = _uncovered(gutters, band, narrowest)
        if zone and kept:
            zone += band
            gutters = kept
            continue
        if zone:
            yield bool(gutters), gutters, zone
        zone, gutters = band, _uncovered([(min(b.x0 for b in band), max(b.x1 for b in band))], band, narrowest)
    if zone:
        yield bool(gutters), gutters, zone


def _uncovered(spaces: Sequence[Interval], boxes: Sequence[LineBox], narrowest: float) -> list[Interval]:
    """What the boxes leave of the spaces, where that is wide enough."""
    for box in boxes:
        spaces = [
            piece
            for left, right in spaces
            for piece in ((left, min(right, box.x0)), (max(left, box.x1), right))
            if piece[1] - piece[0] >= narrowest
        ]
    return list(spaces)


def _part(zone: Sequence[LineBox], gutters: Sequence[Interval]) -> list[list[LineBox]]:
    cuts = [(left + right) / 2 for left, right in gutters]
    columns: dict[int, list[LineBox]] = {}
    for box in zone:
        columns.setdefault(sum((box.x0 + box.x1) / 2 > cut for cut in cuts), []).append(box)
    return [columns[number] for number in sorted(columns)]


def _is_text(column: Sequence[LineBox]) -> bool:
    widths = sorted((box.x1 - box.x0) / box.height for box in column)
    return len(column) >= _LEAST_LINES and widths[len(widths) // 2] >= _LEAST_WIDTH


def _rows(zone: Sequence[LineBox]) -> Iterator[list[LineBox]]:
    """The lines side by side, from the left."""
    row: list[LineBox] = []
    for box in sorted(zone, key=lambda box: box.y0 + box.y1):
        overlap = min(row[-1].y1, box.y1) - max(row[-1].y0, box.y0) if row else 0.0
        if row and overlap <= _ROW_OVERLAP * min(row[-1].height, box.height):
            yield sorted(row, key=lambda box: box.x0)
            row = []
        row.append(box)
    if row:
        yield sorted(row, key=lambda box: box.x0)
