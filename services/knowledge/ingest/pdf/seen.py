"""Which text of a PDF's page somebody sees who opens it: drawn, in another colour than its ground, and uncovered.

Promises to leave out only what the page's own objects say: one whose place among them is not known is seen. Text that a
program has put, undrawn, over the picture of a scan is what the picture shows. Next: pages.py."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import msgspec
from pypdfium2 import raw

Box = tuple[float, float, float, float]
"""Left, bottom, right, top, in points."""
UNDRAWN = (raw.FPDF_TEXTRENDERMODE_INVISIBLE, raw.FPDF_TEXTRENDERMODE_CLIP)
MOST_OBJECTS = 50_000
LEAST_WHITE, LEAST_ALPHA = 0xF0, 0x10
_MOST_SEGMENTS = 6
"""Of a rectangle's path."""


class _Drawn(msgspec.Struct, frozen=True, gc=False):
    """An object that fills what it covers; `is_opaque`: a plain rectangle that hides what was drawn before it."""

    order: int
    box: Box
    is_white: bool
    is_picture: bool
    is_opaque: bool


class SeenText:
    """The text of one page."""

    def __init__(self, page: Any, textpage: Any) -> None:
        self._textpage = textpage
        self._order: dict[int, int] = {}
        self._drawn: list[_Drawn] = []
        self._plain: dict[int, bool] = {}
        """By text object, whether it is drawn in a colour that shows on white."""
        for order in range(min(raw.FPDFPage_CountObjects(page), MOST_OBJECTS)):
            each = raw.FPDFPage_GetObject(page, order)
            if raw.FPDFPageObj_GetType(each) == raw.FPDF_PAGEOBJ_TEXT:
                self._order[_address(each)] = order
            elif (drawn := _look_at(each, order)) is not None:
                self._drawn.append(drawn)
        self._covers = [each for each in self._drawn if each.is_opaque]

    def is_seen(self, index: int, box_of: Callable[[int], Box]) -> bool:
        """Whether the character is; it may be covered all the same. `box_of`: where a character stands."""
        found = raw.FPDFText_GetTextObject(self._textpage, index)
        address = _address(found)
        if not address or self._is_plain(found, address, index):
            return True
        box = box_of(index)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        under = [each for each in self._drawn if _holds(each.box, x, y)]
        if raw.FPDFTextObj_GetTextRenderMode(found) in UNDRAWN:
            return any(each.is_picture for each in under)
        order = self._order.get(address)
        return order is None or any(each.order < order and not each.is_white for each in under)

    def is_covered(self, index: int, box: Box) -> bool:
        """Whether a rectangle was drawn over the word that begins with this character, and stands in `box`."""
        if not self._covers:
            return False
        order = self._order.get(_address(raw.FPDFText_GetTextObject(self._textpage, index)))
        if order is None:
            return False
        x, y = box[2] - box[0], box[3] - box[1]
        inner = (box[0] + x / 10, box[1] + y / 4, box[2] - x / 10, box[3] - y / 4)
        corners = ((inner[0], inner[1]), (inner[2], inner[3]))
        return any(each.order > order and all(_holds(each.box, *corner) for corner in corners) for each in self._covers)

    def _is_plain(self, found: Any, address: int, index: int) -> bool:
        if address not in self._plain:
            mode = raw.FPDFTextObj_GetTextRenderMode(found)
            red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
            is_known = raw.FPDFText_GetFillColor(self._textpage, index, red, green, blue, alpha)
            is_filled = mode in (raw.FPDF_TEXTRENDERMODE_FILL, raw.FPDF_TEXTRENDERMODE_FILL_CLIP)
            is_white = min(red.value, green.value, blue.value) >= LEAST_WHITE or alpha.value < LEAST_ALPHA
            self._plain[address] = mode not in UNDRAWN and not (is_known and is_filled and is_white)
        return self._plain[address]


def _look_at(found: Any, order: int) -> _Drawn | None:
    kind = raw.FPDFPageObj_GetType(found)
    edges = [ctypes.c_float() for _ in range(4)]
    if not raw.FPDFPageObj_GetBounds(found, *edges):
        return None
    left, bottom, right, top = (edge.value for edge in edges)
    box = (left, bottom, right, top)
    if kind != raw.FPDF_PAGEOBJ_PATH:
        return _Drawn(order, box, is_white=False, is_picture=kind == raw.FPDF_PAGEOBJ_IMAGE, is_opaque=False)
    fill, stroke = ctypes.c_int(), ctypes.c_int()
    if not raw.FPDFPath_GetDrawMode(found, fill, stroke) or not fill.value:
        return None
    colour = [ctypes.c_uint() for _ in range(4)]
    is_known = raw.FPDFPageObj_GetFillColor(found, *colour)
    is_white = bool(is_known) and min(each.value for each in colour[:3]) >= LEAST_WHITE
    is_plain = (
        is_known and not raw.FPDFPageObj_HasTransparency(found) and raw.FPDFPath_CountSegments(found) <= _MOST_SEGMENTS
    )
    return _Drawn(order, box, is_white, is_picture=False, is_opaque=bool(is_plain) and not _is_clipped(found))


def _is_clipped(found: Any) -> bool:
    """Whether less than its bounds may be drawn of an object."""
    clip = raw.FPDFPageObj_GetClipPath(found)
    return bool(clip) and raw.FPDFClipPath_CountPaths(clip) > 0


def _holds(box: Box, x: float, y: float) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


def _address(found: Any) -> int:
    return ctypes.cast(found, ctypes.c_void_p).value or 0 if found else 0
