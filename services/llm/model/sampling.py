"""Chooses the next token, so that the choice depends on the model, the seed and the position, and on nothing else.

Sample and compare (Daliri, Musco & Suresh, arXiv 2408.07978): the target draws its own token with noise that is a
function of (seed, absolute position, token id), and a drafted token stands when it is the one drawn. The output is
exactly a sample of the target, and the same one whoever drafted, in whatever pieces, however often it was retried.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.schemas import TidegateError

Row = NDArray[np.float32]
Mask = NDArray[np.bool_]

_GOLDEN = 0x9E3779B97F4A7C15
_BITS = (1 << 64) - 1


class Sampling(msgspec.Struct, frozen=True):
    """How tokens are chosen: at temperature 0 the likeliest, above it a draw among the `top_k` likeliest."""

    seed: int = 0
    temperature: float = 0.0
    top_k: int = 50

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 100.0:
            raise ValueError(f"temperature must be in 0 … 100, not {self.temperature}")
        if self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k}")


class NoLegalTokenError(TidegateError, ValueError):
    """The mask allows no token."""

    hint = "nothing to be done by a caller: the rule that made the mask is at fault"


def choose(row: Row, sampling: Sampling, position: int, mask: Mask | None = None) -> int:
    """The token at the absolute `position`, given the logits `row` (vocabulary,); `mask` marks which are legal.

    Ties go to the lowest id; all that tie with the k-th likeliest are among the `top_k`. Raises `NoLegalTokenError`.
    """
    if mask is not None:
        if not mask.any():
            raise NoLegalTokenError("no token is legal here")
        row = np.where(mask, row, np.float32(-np.inf))
    if sampling.temperature == 0.0:
        return int(row.argmax())
    if sampling.top_k < row.size:
        least = np.partition(row, row.size - sampling.top_k)[row.size - sampling.top_k]
        inside = np.flatnonzero((row >= least) & (row > -np.inf))
    else:
        inside = np.flatnonzero(row > -np.inf)
    scores = row[inside].astype(np.float64) / sampling.temperature + gumbel(sampling.seed, position, inside)
    return int(inside[scores.argmax()])


def likelihood(row: Row, token: int) -> float:
    """The probability of `token` under the logits `row`."""
    weights = np.exp(row - row.max(), dtype=np.float64)
    return float(weights[token] / weights.sum())


def gumbel(seed: int, position: int, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard Gumbel noise for each id, a pure function of (seed, position, id).

    The 64-bit counter (seed, position, id) goes through the finaliser of SplitMix64 (Steele, Lea & Flood, "Fast
    Splittable Pseudorandom Number Generators", OOPSLA 2014) once for each of its three parts; the top 53 bits are a
    uniform number in (0, 1), and -log(-log u) of that is the noise (Maddison, Tarlow & Minka, "A* Sampling", 2014).
    """
    key = _mixed(_mixed(seed & _BITS) ^ ((position + 1) * _GOLDEN & _BITS))
    z = ids.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    uniform = ((z >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    noise: NDArray[np.float64] = -np.log(-np.log(uniform))
    return noise


def _mixed(number: int) -> int:
    """SplitMix64's finaliser of the next state after `number`."""
    z = (number + _GOLDEN) & _BITS
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _BITS
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _BITS
    return z ^ (z >> 31)
