"""Passages with vectors that need no texts, and the parts of a vector leg that hold them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tidegate.services.knowledge.index.graph import PassageGraph, PassageTail, Projection
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix, Numbers
from tidegate.services.knowledge.text_embedder import Vector


class Passages:
    """Passages of three units each, drawn, most of which differ in a few directions; some of them may go."""

    def __init__(self, count: int) -> None:
        drawn = np.random.default_rng(1).normal(size=(count, 3, DIMENSIONS)).astype(np.float32)
        drawn *= 0.98 ** np.arange(DIMENSIONS, dtype=np.float32)
        self.units: NDArray[np.float32] = drawn / np.linalg.norm(drawn, axis=2, keepdims=True)
        self.projection = Projection.fit(self.units.reshape(-1, DIMENSIONS), 3 * count)
        self.gone: set[int] = set()

    def rows(self, numbers: range) -> list[tuple[int, Matrix]]:
        return [(number, self.units[number]) for number in numbers]

    def vectors(self, numbers: list[int]) -> tuple[list[int], Numbers, Matrix]:
        live = sorted(set(numbers) - self.gone)
        return live, 3 * np.arange(len(live)), self.units[live].reshape(-1, DIMENSIONS)

    def exact(self, vector: Vector, k: int) -> list[int]:
        near = (self.units @ vector).max(axis=1)
        return [int(number) for number in np.argsort(-near) if int(number) not in self.gone][:k]

    def graph(self, numbers: range) -> PassageGraph:
        graph = PassageGraph.empty(self.projection)
        graph.add(self.rows(numbers))
        return graph

    def tail(self, numbers: range) -> PassageTail:
        return PassageTail.empty(self.projection).extended(self.rows(numbers))

    def project(self, number: int) -> Vector:
        """The first unit of a passage, in the axes of a graph."""
        projected: Vector = self.units[number, 0] @ self.projection.axes
        return projected
