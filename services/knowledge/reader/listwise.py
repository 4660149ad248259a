"""Linear weights by which, of several units, the right ones are chosen. Next: train.py.

The loss of a question is minus the log of the share that its right units have in the softmax of all (Cao et al.,
"Learning to Rank: From Pairwise Approach to Listwise Approach", ICML 2007), as in the reader's own training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidegate.services.knowledge.reader.logistic import Rows

_STEPS = 30
_HALVINGS = 8


class Choice(NamedTuple):
    """Units (rows) with their columns, the scores that they have already, and which are right: one at least."""

    columns: Rows
    offset: Rows
    right: NDArray[np.bool_]

    def or_none(self) -> Choice:
        """The same with one more, "none of them", whose score is 0 and which is right where no unit is."""
        columns = np.vstack([self.columns, np.zeros((1, self.columns.shape[1]))])
        return Choice(columns, np.append(self.offset, 0.0), np.append(self.right, not self.right.any()))


class _Joined(NamedTuple):
    columns: Rows
    offset: Rows
    right: NDArray[np.bool_]
    starts: NDArray[np.int64]
    owner: NDArray[np.int64]


def loss_of_choices(choices: Sequence[Choice], weights: Rows) -> float:
    """The sum of the losses; 0 of nothing."""
    return _judge(_join(choices), weights)[0] if choices else 0.0


def fit_choices(choices: Sequence[Choice], penalty: float) -> Rows:
    """The weights of least loss + penalty/2 · |w|², by Newton's method with the curvature of the concave part left out,
    so that every step goes down."""
    joined = _join(choices)
    weights = np.zeros(joined.columns.shape[1])
    loss, chance, wanted = _judge(joined, weights)
    for _ in range(_STEPS):
        slope = joined.columns.T @ (chance - wanted) + penalty * weights
        curve = (joined.columns * chance[:, None]).T @ joined.columns + penalty * np.eye(len(weights))
        step = np.linalg.solve(curve, slope)
        length = 1.0
        for _ in range(_HALVINGS):
            moved = weights - length * step
            found = _judge(joined, moved)
            if found[0] + penalty / 2 * (moved @ moved) <= loss + penalty / 2 * (weights @ weights):
                break
            length /= 2
        else:
            break
        weights, (loss, chance, wanted) = moved, found
        if float(np.abs(length * step).max()) < 1e-6:
            break
    return weights


def _join(choices: Sequence[Choice]) -> _Joined:
    sizes = np.array([len(choice.offset) for choice in choices])
    return _Joined(
        np.concatenate([choice.columns for choice in choices]),
        np.concatenate([choice.offset for choice in choices]),
        np.concatenate([choice.right for choice in choices]),
        np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64),
        np.repeat(np.arange(len(choices)), sizes),
    )


def _judge(joined: _Joined, weights: Rows) -> tuple[float, Rows, Rows]:
    """The loss, each unit's share among all of its question, and among the right ones."""
    scores = joined.columns @ weights + joined.offset
    scores = scores - np.maximum.reduceat(scores, joined.starts)[joined.owner]
    raised = np.exp(scores)
    whole = np.add.reduceat(raised, joined.starts)
    best = np.where(joined.right, scores, -np.inf)
    top = np.maximum.reduceat(best, joined.starts)
    kept = np.where(joined.right, np.exp(best - top[joined.owner]), 0.0)
    good = np.add.reduceat(kept, joined.starts)
    loss = float(np.sum(np.log(whole) - np.log(good) - top))
    return loss, raised / whole[joined.owner], kept / good[joined.owner]
