"""Logistic models over standardised columns, held by a ridge to one of them. Next: calibration.py."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
FOLDS = 5
_STEPS = 50


class Logistic(msgspec.Struct, frozen=True, kw_only=True):
    """Weights over standardised columns."""

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float

    def chance(self, row: Sequence[float]) -> float:
        """0 … 1."""
        standard = (np.array(row) - self.mean) / self.spread
        return float(1.0 / (1.0 + np.exp(-(standard @ np.array(self.weights) + self.bias))))

    def chances(self, data: Rows) -> Rows:
        """One for each row."""
        return _sigmoid((data - self.mean) / self.spread @ np.array(self.weights) + self.bias)


def cross_fit(data: Rows, truth: Rows, extra: Rows, penalty: float, shipped: int) -> Rows:
    """The chance of each row, by a model that has not seen it."""
    unseen = np.zeros(len(truth))
    order = np.random.default_rng(7).permutation(len(truth))
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        kept = np.setdiff1d(order, out)
        unseen[out] = fit_logistic(data[kept], truth[kept], extra, penalty, shipped).chances(data[out])
    return unseen


def log_loss(chance: Rows, truth: Rows) -> float:
    """The mean negative log likelihood."""
    sure = np.clip(chance, 1e-9, 1 - 1e-9)
    return float(-np.mean(truth * np.log(sure) + (1 - truth) * np.log(1 - sure)))


def fit_logistic(data: Rows, truth: Rows, extra: Rows, penalty: float, shipped: int) -> Logistic:
    """A model of `data` and of the rows of `extra`, which are false and weigh together as much as its false ones.

    The ridge holds the model to column `shipped`, which are log odds already: few rows leave those as they are.
    """
    each = max(1.0, float((truth == 0).sum())) / max(1, len(extra))
    counts = np.concatenate([np.ones(len(data)), np.full(len(extra), each)])
    data = np.vstack([data, extra])
    truth = np.concatenate([truth, np.zeros(len(extra))])
    return fit_weighted(data, truth, counts, penalty, held_to=shipped)


def fit_weighted(data: Rows, truth: Rows, counts: Rows, penalty: float, held_to: int | None = None) -> Logistic:
    """A ridge model of rows that count so often (Hastie, Tibshirani & Friedman 2009, section 4.4, by Newton's method).

    The ridge holds it to the column `held_to` as it is; without one, to nothing.
    """
    mean = np.average(data, axis=0, weights=counts)
    spread = np.sqrt(np.average((data - mean) ** 2, axis=0, weights=counts))
    spread = np.where(spread < 1e-6, 1.0, spread)
    table = np.hstack([(data - mean) / spread, np.ones((len(data), 1))])
    prior = np.zeros(table.shape[1])
    if held_to is not None:
        prior[held_to], prior[-1] = spread[held_to], mean[held_to]
    weights = prior.copy()
    for _ in range(_STEPS):
        chance = _sigmoid(table @ weights)
        slope = table.T @ (counts * (chance - truth)) + penalty * (weights - prior)
        curve = (table * (counts * chance * (1 - chance))[:, None]).T @ table + penalty * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if float(np.abs(step).max()) < 1e-9:
            break
    return Logistic(
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        weights=tuple(weights[:-1].tolist()),
        bias=float(weights[-1]),
    )


def _sigmoid(x: Rows) -> Rows:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40, 40))))
