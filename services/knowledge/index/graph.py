"""Finds passages by meaning where an index holds many: an HNSW graph and, behind it, what came since it was made.

Promises that no search waits for a change, and none returns what is gone. The only module that imports hnswlib.
Next: compaction.py, which makes graphs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import hnswlib
import numpy as np

from tidegate.services.knowledge.index.storage import publish_file
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix, Numbers, Vector, passage_vectors

_LINKS, _EF_BUILD, _EF_SEARCH = 16, 128, 128
_READ_BYTES = 1 << 24
NODES_PER_PASSAGE = 2
"""One for each half of its units. With one for all of them, 64 passages of the kiosk's 557 must be looked at to find
97 % of the ten nearest by their units; with two 40, with three 20, and each takes 1.7 kB."""
NODES_PER_WANTED = 12
"""Nodes that are looked for, to be ranked by their units, for each passage that is wanted."""
UnitVectors = Callable[[list[int]], tuple[list[int], Numbers, Matrix]]
"""From numbers of passages to those that are live, the first row of each, and their units' vectors row by row."""


class PassageGraph:
    """An HNSW graph (Malkov & Yashunin 2018) of passages, two nodes for each. It is not changed once it is in use.

    A node's label is twice the passage's number, or one more.
    """

    def __init__(self, name: str, index: hnswlib.Index) -> None:
        index.set_ef(_EF_SEARCH)
        self.name = name
        self._index = index

    @classmethod
    def load(cls, path: Path, name: str, sha256: str, room: int = 0) -> PassageGraph:
        """A saved graph, with room for so many more. Raises `ValueError` where its bytes are not those that were saved,
        `FileNotFoundError`."""
        if _digest_of(path) != sha256:
            raise ValueError("its bytes are not those that were saved")
        index = hnswlib.Index(space="ip", dim=DIMENSIONS)
        index.load_index(str(path))
        index.resize_index(index.get_current_count() + room + 1)
        return cls(name, index)

    @classmethod
    def empty(cls, room: int) -> PassageGraph:
        """A graph of nothing, with room for so many."""
        index = hnswlib.Index(space="ip", dim=DIMENSIONS)
        index.init_index(max_elements=room + 1, ef_construction=_EF_BUILD, M=_LINKS, random_seed=7)
        return cls("", index)

    def __len__(self) -> int:
        """The nodes, with those of passages that are gone."""
        return int(self._index.get_current_count())

    def remove(self, numbers: Iterable[int]) -> None:
        """Find these no more. Their nodes stay, as ways to others: to reuse one takes 5 times as long as a new one."""
        for label in (NODES_PER_PASSAGE * number + node for number in numbers for node in range(NODES_PER_PASSAGE)):
            with suppress(RuntimeError):  # it is none of the graph, or was removed before
                self._index.mark_deleted(label)

    def add(self, labels: Numbers, matrix: Matrix) -> None:
        if len(labels):
            self._index.add_items(matrix, labels, num_threads=1)

    def search(self, vector: Vector, k: int) -> list[tuple[float, int]]:
        """About the k nearest nodes, distance and label; fewer where the graph cannot reach as many."""
        k = min(k, len(self))
        while k > 0:
            try:
                labels, distances = self._index.knn_query(vector, k=k, num_threads=1)
            except RuntimeError:  # what hnswlib says instead of returning fewer than k
                k //= 2
            else:
                return list(zip(distances[0].tolist(), map(int, labels[0]), strict=True))
        return []

    def save(self, path: Path) -> str:
        """Write the graph, on disk when this returns; returns its sha256."""
        draft = path.with_suffix(".new")
        self._index.save_index(str(draft))
        digest = _digest_of(draft)
        publish_file(draft, path)
        return digest


class PassageTail:
    """The nodes that came since a graph was made, in the order of their labels. Holds those of passages that went, too.

    A tail that was made by `extended` shares its memory with the one before it, which goes on to see its own rows.
    """

    def __init__(self, labels: Numbers, matrix: Matrix, count: int) -> None:
        self._labels = labels
        self._matrix = matrix
        self._count = count

    def __len__(self) -> int:
        return self._count

    @classmethod
    def empty(cls, room: int = 64) -> PassageTail:
        return cls(np.empty(room, np.int64), np.empty((room, DIMENSIONS), np.float32), 0)

    def extended(self, passages: Iterable[tuple[int, Matrix]]) -> PassageTail:
        """This tail and the passages, by their units' vectors. Only the last tail of a row may be extended."""
        tail, count = self, self._count
        for number, units in passages:
            if count + NODES_PER_PASSAGE > len(tail._labels):
                tail = tail._copied(0, count, 2 * count)
            rows = slice(count, count + NODES_PER_PASSAGE)
            tail._labels[rows] = NODES_PER_PASSAGE * number + np.arange(NODES_PER_PASSAGE)
            tail._matrix[rows] = passage_vectors(units)
            count = rows.stop
        return PassageTail(tail._labels, tail._matrix, count)

    def since(self, number: int) -> PassageTail:
        """A tail of its own that begins at this passage."""
        start = int(np.searchsorted(self._labels[: self._count], NODES_PER_PASSAGE * number))
        return self._copied(start, self._count, max(64, self._count - start))

    def rows(self) -> tuple[Numbers, Matrix]:
        return self._labels[: self._count], self._matrix[: self._count]

    def search(self, vector: Vector, k: int) -> list[tuple[float, int]]:
        """The k nearest nodes, distance and label."""
        labels, matrix = self.rows()
        distances = 1.0 - matrix @ vector
        best = np.argpartition(distances, k - 1)[:k] if k < len(labels) else slice(None)
        return list(zip(distances[best].tolist(), labels[best].tolist(), strict=True))

    def _copied(self, start: int, end: int, room: int) -> PassageTail:
        tail = PassageTail.empty(room)
        tail._count = end - start
        tail._labels[: tail._count], tail._matrix[: tail._count] = self._labels[start:end], self._matrix[start:end]
        return tail


class GraphLeg:
    """A graph, the tail behind it, and `seen`: passages from this number on are in neither."""

    mode: Literal["graph"] = "graph"

    def __init__(self, graph: PassageGraph | None, tail: PassageTail, seen: int) -> None:
        self.graph = graph
        self.tail = tail
        self.seen = seen

    def search(self, vector: Vector, passages: int, unit_vectors: UnitVectors) -> dict[int, float]:
        """The nearest live passages with their cosine, best first; a passage is as near as the nearest of its units.

        Candidates are found by their mean, then ranked by their units. Where most are gone, more are looked for.
        """
        reach = wanted = passages * NODES_PER_WANTED
        held = len(self.tail) + (len(self.graph) if self.graph is not None else 0)
        while True:
            nodes = self.tail.search(vector, reach)
            if self.graph is not None:
                nodes += self.graph.search(vector, reach)
            candidates = dict.fromkeys(label // NODES_PER_PASSAGE for _, label in sorted(nodes)[:reach])
            near = _rank(*unit_vectors(list(candidates)), vector)
            if 2 * NODES_PER_PASSAGE * len(near) >= wanted or reach >= held:
                return near
            reach *= 4


def _rank(numbers: list[int], starts: Numbers, units: Matrix, vector: Vector) -> dict[int, float]:
    if not numbers:
        return {}
    cosines = np.einsum("ij,j->i", units, vector)  # row by row: with `@` a cosine differs with the rows beside it
    nearest = np.maximum.reduceat(cosines, starts).tolist()
    return dict(sorted(zip(numbers, nearest, strict=True), key=lambda pair: (-pair[1], pair[0])))


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
