"""Reads the picture of a page: turns it upright, finds its lines, and reads them in order.

Promises bounds for pixels and time, and that what is hardly legible is not taken for text. Next: engine.py, order.py.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cache, cached_property
from statistics import median
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from tidegate.services.knowledge.ingest.ocr.engine import PictureUnreadError, ReadLine, TextEngine
from tidegate.services.knowledge.ingest.ocr.look import LineLook, find_body, measure_look
from tidegate.services.knowledge.ingest.ocr.order import LineBox, sort_lines
from tidegate.services.knowledge.ingest.ocr.rulings import PictureRuling, find_rulings

MOST_SECONDS = 20.0
_SEARCHED_PIXELS = 960 * 680
"""Lines are found in a picture of this size: 0.7 s a page; with four times as many 2.6 s, and no line more."""
_SEARCHED_SIDE = 640
_MOST_SEARCHED_PIXELS = 2_000_000
_BLANK_SIZE, _LEAST_CONTRAST = (256, 256), 12.0
_TURNED = 1.5
"""A line that is so much higher than wide runs up or down the page."""
_VERTICAL = 2.5
_TRIED, _UPRIGHT = 3, 0.9
"""As many lines are read to see which way up the page is; with this confidence it is upright."""
_LEAST_LINE = _LEAST_PAGE = 0.8
"""Confidence of a line, and of all the characters of a page, below which they are not read: of lines with 0.7 to 0.8
a fifth of the characters are wrong, with 0.8 to 0.9 a ninth, above 0.9 one in a hundred (decision 0022)."""


class PictureLine(msgspec.Struct, frozen=True):
    """A line of text, with where it stands on the page that was set level, in pixels from its top left."""

    box: LineBox
    read: ReadLine
    look: LineLook


class PictureText(msgspec.Struct, frozen=True):
    """What the picture of a page says: its lines in reading order, its drawn lines, and its size in pixels."""

    width: int
    height: int
    lines: tuple[PictureLine, ...]
    rulings: tuple[PictureRuling, ...]


class PictureReader:
    """Reads pictures, one after the other."""

    @cached_property
    def _engine(self) -> TextEngine:
        return TextEngine()

    def read(self, picture: Image.Image, most_seconds: float = MOST_SECONDS) -> PictureText:
        """The text of a picture. `most_seconds` are of one core. Raises `PictureUnreadError`."""
        deadline = time.process_time() + most_seconds
        if _is_blank(picture):
            raise PictureUnreadError("holds no text")
        upright, corners, known = self._set_upright(picture.convert("RGB"))
        lines: list[PictureLine] = []
        angle = _find_angle(corners)
        for box in sort_lines(_without_vertical(_level(corners, angle, upright.size))):
            if time.process_time() > deadline:
                raise PictureUnreadError(f"takes longer than {most_seconds:g} seconds")
            lines.append(PictureLine(box, *(known.get(box.line) or self._read(upright, corners[box.line]))))
        kept = tuple(line for line in lines if line.read.confidence >= _LEAST_LINE)
        if not kept:
            raise PictureUnreadError("holds no legible text")
        if _confidence([line.read for line in lines]) < _LEAST_PAGE:
            raise PictureUnreadError("is hardly legible")
        size = find_body([line.look for line in kept], [line.read.text for line in kept])
        rulings = find_rulings(upright, math.degrees(angle), size)
        return PictureText(upright.width, upright.height, kept, tuple(rulings))

    def _set_upright(self, picture: Image.Image) -> tuple[Image.Image, Any, dict[int, tuple[ReadLine, LineLook]]]:
        """The picture with its text from left to right, the corners of its lines, and those that were read for it."""
        corners = self._find(picture)
        width, height = _measure(corners)
        if np.sum(height[height > _TURNED * width]) > np.sum(width[height <= _TURNED * width]):
            picture = picture.transpose(Image.Transpose.ROTATE_90)
            corners = self._find(picture)
            width, _ = _measure(corners)
        longest = [int(line) for line in np.argsort(-width)[:_TRIED]]
        read = {line: self._read(picture, corners[line]) for line in longest}
        if _confidence([line for line, _ in read.values()]) >= _UPRIGHT:
            return picture, corners, read
        turned = picture.transpose(Image.Transpose.ROTATE_180)
        turned_corners = (np.asarray(picture.size) - corners)[:, [2, 3, 0, 1]]
        turned_read = {line: self._read(turned, turned_corners[line]) for line in longest}
        if _confidence([line for line, _ in turned_read.values()]) > _confidence([line for line, _ in read.values()]):
            return turned, turned_corners, turned_read
        return picture, corners, read

    def _read(self, picture: Image.Image, corners: Any) -> tuple[ReadLine, LineLook]:
        line = np.asarray(_cut(picture, corners))
        read = self._engine.read_line(line)
        return read, measure_look(line, read.text)

    def _find(self, picture: Image.Image) -> Any:
        """The corners of the lines, clockwise from their top left. Raises `PictureUnreadError` where there are none."""
        shrink = min(1.0, _shrink(*picture.size))
        size = (max(1, round(picture.width * shrink)), max(1, round(picture.height * shrink)))
        searched = picture.resize(size, Image.Resampling.BOX) if shrink < 1 else picture
        found = self._engine.find_lines(np.asarray(searched))
        if found is None or not len(found):
            raise PictureUnreadError("holds no text")
        return np.asarray(found, dtype=np.float64) * (picture.width / size[0], picture.height / size[1])


@cache
def open_picture_reader() -> PictureReader:
    """The one reader of this process: 0.3 s and 150 MiB for the models, once it reads."""
    return PictureReader()


def _is_blank(picture: Image.Image) -> bool:
    """Whether nothing is on the page, as on the back of one that was scanned on both sides."""
    grey = np.asarray(picture.convert("L").resize(_BLANK_SIZE, Image.Resampling.BOX), dtype=np.float32)
    return bool(grey.max() - grey.min() < _LEAST_CONTRAST)


def _shrink(width: int, height: int) -> float:
    """By how much a picture is made smaller for the search; a long strip keeps its letters."""
    by_area = math.sqrt(_SEARCHED_PIXELS / (width * height))
    by_side = _SEARCHED_SIDE / min(width, height)
    return min(max(by_area, by_side), math.sqrt(_MOST_SEARCHED_PIXELS / (width * height)))


def _measure(corners: Any) -> tuple[Any, Any]:
    """The width and the height of each line."""
    width = np.linalg.norm(corners[:, 0] - corners[:, 1], axis=1)
    return width, np.linalg.norm(corners[:, 0] - corners[:, 3], axis=1)


def _find_angle(corners: Any) -> float:
    """How far the lines lean, in radians, clockwise."""
    width, height = _measure(corners)
    slope = corners[:, 1] - corners[:, 0]
    return _weighted_median(np.arctan2(slope[:, 1], slope[:, 0]), np.where(width > 3 * height, width, 0))


def _level(corners: Any, angle: float, size: tuple[int, int]) -> list[LineBox]:
    """Where the lines are when the page is turned so far that they run level."""
    half_width, half_height = (side / 2 for side in _measure(corners))
    middle = np.asarray(size) / 2
    across, down = (corners.mean(axis=1) - middle).T
    x = across * math.cos(angle) + down * math.sin(angle) + middle[0]
    y = down * math.cos(angle) - across * math.sin(angle) + middle[1]
    sides = np.stack((x - half_width, x + half_width, y - half_height, y + half_height), axis=1)
    return [LineBox(line, *map(float, box)) for line, box in enumerate(sides)]


def _weighted_median(values: Any, weights: Any) -> float:
    if not weights.sum():
        return 0.0
    order = np.argsort(values)
    return float(values[order][np.searchsorted(np.cumsum(weights[order]), weights.sum() / 2)])


def _without_vertical(boxes: Sequence[LineBox]) -> list[LineBox]:
    """Without what runs up the page beside its text."""
    usual = median(box.height for box in boxes)
    return [box for box in boxes if box.height < _VERTICAL * max(usual, box.x1 - box.x0)]


def _cut(picture: Image.Image, corners: Any) -> Image.Image:
    """The picture of one line."""
    top_left, top_right, bottom_right, bottom_left = corners
    width = max(np.linalg.norm(top_left - top_right), np.linalg.norm(bottom_left - bottom_right))
    height = max(np.linalg.norm(top_left - bottom_left), np.linalg.norm(top_right - bottom_right))
    around = (*top_left, *bottom_left, *bottom_right, *top_right)
    size = (max(1, round(width)), max(1, round(height)))
    return picture.transform(size, Image.Transform.QUAD, around, Image.Resampling.BICUBIC)


def _confidence(lines: Sequence[ReadLine]) -> float:
    characters = sum(len(line.text) for line in lines)
    return sum(line.confidence * len(line.text) for line in lines) / max(1, characters)
