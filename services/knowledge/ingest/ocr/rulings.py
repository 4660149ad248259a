"""The drawn lines of a picture, by which its tables are known. Next: recognition.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from PIL import Image

_DARK = 0.75
"""Of the paper's brightness."""
_FILLED = 0.85
"""Share of a line that is dark: noise and dust leave gaps."""
_LEVEL_LENGTH, _UPRIGHT_LENGTH = 4.0, 2.5
"""Of the size of the text: shorter lines may be letters."""
_THICKEST = 0.4
"""Of the size of the text: what is thicker is a bar or a shade."""


class PictureRuling(msgspec.Struct, frozen=True):
    """A drawn line in pixels: `at` is how far down it is where it `is_level`, else how far right."""

    is_level: bool
    at: float
    start: float
    end: float


def find_rulings(picture: Image.Image, angle: float, size: float) -> list[PictureRuling]:
    """The lines of a picture whose text leans by `angle`, in degrees, and has the `size`, in pixels."""
    grey = picture.convert("L")
    level = grey.rotate(angle, Image.Resampling.BILINEAR, fillcolor=255) if abs(angle) > 0.05 else grey
    pixels = np.asarray(level)
    dark = pixels < _DARK * np.percentile(pixels[::8, ::8], 90)
    thickest = _THICKEST * size
    return [
        *(PictureRuling(True, *line) for line in _lines(dark, max(8, round(_LEVEL_LENGTH * size)), thickest)),
        *(PictureRuling(False, *line) for line in _lines(dark.T, max(8, round(_UPRIGHT_LENGTH * size)), thickest)),
    ]


def _lines(dark: Any, length: int, thickest: float) -> Iterator[tuple[float, float, float]]:
    """Lines along the rows: where they are, and where they start and end; rows that go on with one another are one."""
    open_lines: list[list[int]] = []  # first row, last row, start, end
    for row, start, end in _runs(dark, length):
        line = next((each for each in open_lines if row - each[1] <= 1 and start < each[3] and each[2] < end), None)
        if line is None:
            for each in open_lines:
                if row - each[1] > 1:
                    yield from _close(each, thickest)
            open_lines = [each for each in open_lines if row - each[1] <= 1]
            open_lines.append([row, row, start, end])
        else:
            line[1:] = [row, min(line[2], start), max(line[3], end)]
    for line in open_lines:
        yield from _close(line, thickest)


def _close(line: list[int], thickest: float) -> Iterator[tuple[float, float, float]]:
    first, last, start, end = line
    if last - first + 1 <= thickest:
        yield (first + last) / 2, float(start), float(end)


def _runs(dark: Any, length: int) -> Iterator[tuple[int, int, int]]:
    """Row by row, the stretches of at least `length` that are dark."""
    if dark.shape[1] <= length:
        return
    counted = np.cumsum(dark, axis=1, dtype=np.int32)
    filled = counted[:, length:] - counted[:, :-length] >= _FILLED * length
    for row in np.flatnonzero(filled.any(axis=1)):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], filled[row].view(np.int8), [0]))))
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            yield int(row), int(start), int(end) + length
