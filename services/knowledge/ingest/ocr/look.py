"""How large and how bold the lines of a picture are set. Next: recognition.py.

The height of a found line says little (it differs by a third within a paragraph); its width by what it says is right to
2 %. Strokes of bold type are 1.2 to 1.4 times as wide, by their size, as those of the same page's other type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

_NARROW, _SLIM, _WIDE = frozenset("iljI.,:;'!|"), frozenset('tfr()[]{}-" '), frozenset("mwMW@%—…")
_NARROW_EM, _SLIM_EM, _WIDE_EM, _CAPITAL_EM, _USUAL_EM = 0.3, 0.36, 0.85, 0.7, 0.53
"""Widths of characters, of the size of the type: between those of Helvetica and of Times."""
_STEP = 1.2
_SHORT = 6
"""Characters, with fewer of which a line's own width says little about its size."""
_BOLD = 1.22


class LineLook(msgspec.Struct, frozen=True):
    """The size of a line's type in pixels, and the width of its strokes as a share of that."""

    size: float
    stroke: float


def measure_look(picture: Any, text: str) -> LineLook:
    """How a line looks by its picture, an array of RGB, and what it says."""
    grey = picture.mean(axis=2)
    low, high = np.percentile(grey, (2, 90))
    dark = ((high - grey) / (high - low + 1e-6)).clip(0, 1)
    ink = dark > 0.5
    columns = np.flatnonzero(ink.any(axis=0))
    width = int(columns[-1] - columns[0] + 1) if len(columns) else picture.shape[1]
    size = width / max(0.1, sum(map(_em, text)))
    starts = np.abs(np.diff(ink.astype(np.int8), axis=1)).sum() / 2
    return LineLook(size, float(dark.sum() / max(1.0, starts) / size))


def settle_sizes(looks: Sequence[LineLook], texts: Sequence[str]) -> list[float]:
    """The sizes as multiples of what most of the page is set in: 1 for that, else a power of 1.2; short lines are taken
    to be set as the nearest of the others is."""
    body = find_body(looks, texts)
    steps = [round(math.log(look.size / body, _STEP)) for look in looks]
    known = sorted({step for step, text in zip(steps, texts, strict=True) if len(text) >= _SHORT}) or [0]
    return [float(_STEP ** min(known, key=lambda other: abs(other - step))) for step in steps]


def find_body(looks: Sequence[LineLook], texts: Sequence[str]) -> float:
    """The size in pixels that most characters of the page have."""
    return _median_by_length([look.size for look in looks], texts)


def find_bold(looks: Sequence[LineLook], texts: Sequence[str]) -> list[bool]:
    """Which lines are bold, beside what most of the page's characters are."""
    usual = _median_by_length([look.stroke for look in looks], texts)
    return [look.stroke > _BOLD * usual for look in looks]


def _median_by_length(values: Sequence[float], texts: Sequence[str]) -> float:
    return float(np.median(np.repeat(values, list(map(len, texts)))))


def _em(character: str) -> float:
    if character in _NARROW:
        return _NARROW_EM
    if character in _SLIM:
        return _SLIM_EM
    if character in _WIDE:
        return _WIDE_EM
    return _CAPITAL_EM if character.isupper() else _USUAL_EM
