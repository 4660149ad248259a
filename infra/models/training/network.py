"""Fits a linear model with one small hidden layer to the chance that something is right. Next: fit_confidence.py.

Several networks from different starts are trained and their mean is kept, as one model with all their hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.services.knowledge.reader.ranking import Fitted, HiddenUnit

Rows = NDArray[np.float64]
Parameters = list[Rows]
DIGITS = 5
LEAST_SPREAD = 1e-4
"""Below it a column counts as constant."""


class Schedule(msgspec.Struct, frozen=True):
    """How a network is trained: Adam (Kingma & Ba, ICLR 2015) over all rows at once, `decay` pulls weights to zero."""

    hidden: int = 6
    decay: float = 1e-2
    direct_decay: float = 3e-3
    steps: int = 300
    rate: float = 0.02
    starts: int = 4


USUAL = Schedule()


def fit_network(
    table: Mapping[str, Rows], right: Rows, counts: Rows, features: Sequence[str], schedule: Schedule = USUAL
) -> Fitted:
    """The log odds of `right` by columns of `table`, each row counting as `counts` says."""
    rows = np.stack([table[name] for name in features], axis=1)
    mean = np.average(rows, axis=0, weights=counts)
    spread = np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=counts))
    spread = np.where(spread < LEAST_SPREAD, 1.0, spread)
    standard, share = (rows - mean) / spread, counts / counts.sum()
    found = [_train(standard, right, share, schedule, start) for start in range(schedule.starts)]
    hidden = [
        HiddenUnit(_rounded(weights), round(float(offset), DIGITS), round(float(slope) / schedule.starts, DIGITS))
        for inner, offsets, slopes, _, _ in found
        for weights, offset, slope in zip(inner.T, offsets, slopes, strict=True)
    ]
    direct = np.mean([each[3] for each in found], axis=0)
    bias = float(np.mean([each[4] for each in found]))
    return Fitted(
        tuple(features), _rounded(mean), _rounded(spread), _rounded(direct), round(bias, DIGITS), tuple(hidden)
    )


def _train(rows: Rows, right: Rows, share: Rows, schedule: Schedule, start: int) -> Parameters:
    """Weights into the hidden layer, its biases, its slopes, the direct weights and the bias."""
    random = np.random.default_rng(start)
    width = rows.shape[1]
    shapes: tuple[tuple[Any, float], ...] = (
        ((width, schedule.hidden), 0.3),
        (schedule.hidden, 0.5),
        (schedule.hidden, 0.3),
    )
    found: Parameters = [random.normal(size=shape) * scale for shape, scale in shapes]
    found += [np.zeros(width), np.zeros(1)]
    decays = (schedule.decay, 0.0, schedule.decay, schedule.direct_decay, 0.0)
    first, second = ([np.zeros_like(each) for each in found] for _ in range(2))
    for step in range(1, schedule.steps + 1):
        for at, downhill in enumerate(_slopes(rows, right, share, found)):
            slope = downhill + decays[at] * found[at]
            first[at] = 0.9 * first[at] + 0.1 * slope
            second[at] = 0.99 * second[at] + 0.01 * slope**2
            moved = first[at] / (1 - 0.9**step) / (np.sqrt(second[at] / (1 - 0.99**step)) + 1e-8)
            found[at] = found[at] - schedule.rate * moved
    return found


def _slopes(rows: Rows, right: Rows, share: Rows, found: Parameters) -> Parameters:
    """The derivatives of the mean negative log likelihood."""
    inner, offsets, slopes, direct, bias = found
    values = np.tanh(rows @ inner + offsets)
    odds = values @ slopes + rows @ direct + bias[0]
    error = share * (1.0 / (1.0 + np.exp(-np.clip(odds, -40, 40))) - right)
    back = np.outer(error, slopes) * (1 - values * values)
    return [rows.T @ back, back.sum(axis=0), values.T @ error, rows.T @ error, np.array([error.sum()])]


def _rounded(values: Rows) -> tuple[float, ...]:
    return tuple(round(float(each), DIGITS) for each in values)
