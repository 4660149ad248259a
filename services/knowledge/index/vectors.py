"""Finds by meaning: an exact cosine scan of units while they are few, a graph of them above (graph.py).

Promises that what is held never changes under a search: a change makes a new leg. Next: graph.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from tidegate.services.knowledge.text_embedder import Vector

Matrix = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

DIMENSIONS = 384
UNITS_PER_PASSAGE = 6
"""How many units are looked for to find one passage: several of the best often stand in one."""
POSITION_BITS = 16
"""More units than a passage can hold."""
_SIGN_AND_HALF = np.int32(-0x70002000)
"""Of a half that was widened with its sign and moved up by 13 bits: the first bit, and the 15 after the next 3."""
DocumentKey = tuple[str, int]
"""A document's id, and the number of its first passage."""


class ExactLeg:
    """The vectors of all units, in the order of their documents' ids, which is that of units that are equally near."""

    mode: Literal["exact"] = "exact"

    def __init__(self, blocks: Mapping[DocumentKey, tuple[Numbers, Matrix]]) -> None:
        self.documents = sorted(blocks)
        nothing = (np.empty(0, np.int64), np.empty((0, DIMENSIONS), np.float32))
        parts = [blocks[key] for key in self.documents] or [nothing]
        self._labels = np.concatenate([labels for labels, _ in parts])
        self._matrix = np.concatenate([matrix for _, matrix in parts])
        self._ends = np.cumsum([len(labels) for labels, _ in parts]).tolist()

    def blocks(self) -> dict[DocumentKey, tuple[Numbers, Matrix]]:
        """Each document's labels and vectors, without a copy."""
        found = {}
        for number, key in enumerate(self.documents):
            rows = slice(self._ends[number - 1] if number else 0, self._ends[number])
            found[key] = (self._labels[rows], self._matrix[rows])
        return found

    def search(self, vector: Vector, passages: int) -> dict[int, float]:
        """The nearest passages with their cosine, best first: those of the nearest `6 * passages` units."""
        k = min(passages * UNITS_PER_PASSAGE, len(self._labels))
        near: dict[int, float] = {}
        if k <= 0:
            return near
        scores = self._matrix @ vector
        best = np.argpartition(-scores, k - 1)[:k]
        for row in best[np.argsort(-scores[best], kind="stable")]:
            near.setdefault(int(self._labels[row]) >> POSITION_BITS, float(scores[row]))
        return near


def label_units(number: int, count: int) -> Numbers:
    """The labels of a passage's units; a label holds the passage's number."""
    return number << POSITION_BITS | np.arange(count, dtype=np.int64)


def widen_halves(halves: bytes) -> Matrix:
    """Vectors as they are stored, in single precision: to the bit what numpy makes of finite ones, in a seventh of the
    time. A half's sign, exponent and fraction are moved to where a single has them; what its exponent then lacks is a
    factor of two to the power of 112."""
    wide = np.frombuffer(halves, np.int16).astype(np.int32)
    wide <<= 13
    wide &= _SIGN_AND_HALF
    singles: Matrix = wide.view(np.float32)
    singles *= np.float32(2.0**112)
    return singles.reshape(-1, DIMENSIONS)
