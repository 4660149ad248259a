"""Minimises a smooth function by limited-memory BFGS (Nocedal & Wright 2006, algorithms 7.4 and 3.1)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

HISTORY = 10
_ENOUGH, _HALVINGS, _FLAT = 1e-4, 12, 1e-6


def minimise(function: Callable[[Vector], tuple[float, Vector]], start: Vector, steps: int) -> Vector:
    """Where `function`, which returns its value and gradient, is least, after at most so many steps.

    Stops earlier where a step gains less than a millionth of the value."""
    point, (value, slope) = start, function(start)
    pairs: deque[tuple[Vector, Vector]] = deque(maxlen=HISTORY)
    for _ in range(steps):
        direction = -_curved(slope, pairs)
        descent, length = float(slope @ direction), 1.0
        for _ in range(_HALVINGS):
            next_value, next_slope = function(point + length * direction)
            if next_value <= value + _ENOUGH * length * descent:
                break
            length /= 2
        else:
            break
        moved, turned = length * direction, next_slope - slope
        if moved @ turned > 1e-10:
            pairs.append((moved, turned))
        gained, point, value, slope = value - next_value, point + moved, next_value, next_slope
        if gained < _FLAT * max(1.0, abs(value)):
            break
    return point


def _curved(slope: Vector, pairs: deque[tuple[Vector, Vector]]) -> Vector:
    """The gradient times the inverse curvature that the last steps met."""
    turned_slope, shares = slope.copy(), []
    for moved, turned in reversed(pairs):
        share = float(moved @ turned_slope) / float(moved @ turned)
        turned_slope -= share * turned
        shares.append(share)
    if pairs:
        moved, turned = pairs[-1]
        turned_slope *= float(moved @ turned) / float(turned @ turned)
    else:
        turned_slope /= max(1.0, float(np.abs(slope).sum()))
    for (moved, turned), share in zip(pairs, reversed(shares), strict=True):
        turned_slope += moved * (share - float(turned @ turned_slope) / float(moved @ turned))
    return turned_slope
