"""Finds passages by meaning where an index holds many: an HNSW graph and, behind it, what came since it was made.

Promises that no search waits for a change, and none returns what is gone. The only module that imports hnswlib.
Next: compaction.py, which makes graphs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import hnswlib
import numpy as np

from tidegate.services.knowledge.index.storage import publish_file
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix, Numbers, Vector, passage_vector

_LINKS, _EF_BUILD, _EF_SEARCH = 16, 128, 128
_READ_BYTES = 1 << 24
CANDIDATES_PER_PASSAGE = 8
"""Passages that are looked for by their mean, to be ranked by their units, for each that is wanted."""
UnitVectors = Callable[[list[int]], Iterable[tuple[int, Matrix]]]
"""From numbers of passages to their units' vectors, of those that are live."""


class PassageGraph:
    """An HNSW graph (Malkov & Yashunin 2018) of passages, known by number. It is not changed once it is in use."""

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
        for number in numbers:
            with suppress(RuntimeError):  # it is none of the graph, or was removed before
                self._index.mark_deleted(number)

    def add(self, numbers: Numbers, matrix: Matrix) -> None:
        if len(numbers):
            self._index.add_items(matrix, numbers, num_threads=1)

    def search(self, vector: Vector, k: int) -> list[tuple[float, int]]:
        """About the k nearest numbers with their distance; fewer where the graph cannot reach as many."""
        k = min(k, len(self))
        while k > 0:
            try:
                numbers, distances = self._index.knn_query(vector, k=k, num_threads=1)
            except RuntimeError:  # what hnswlib says instead of returning fewer than k
                k //= 2
            else:
                return list(zip(distances[0].tolist(), map(int, numbers[0]), strict=True))
        return []

    def save(self, path: Path) -> str:
        """Write the graph, on disk when this returns; returns its sha256."""
        draft = path.with_suffix(".new")
        self._index.save_index(str(draft))
        digest = _digest_of(draft)
        publish_file(draft, path)
        return digest


class PassageTail:
    """The passages that came since a graph was made, in the order of their numbers. Holds those that went, too.

    A tail that was made by `extended` shares its memory with the one before it, which goes on to see its own rows.
    """

    def __init__(self, numbers: Numbers, matrix: Matrix, count: int) -> None:
        self._numbers = numbers
        self._matrix = matrix
        self.count = count

    @classmethod
    def empty(cls) -> PassageTail:
        return cls(np.empty(64, np.int64), np.empty((64, DIMENSIONS), np.float32), 0)

    def extended(self, passages: Iterable[tuple[int, Matrix]]) -> PassageTail:
        """This tail and the passages, by their units' vectors. Only the last tail of a row may be extended."""
        numbers, matrix, count = self._numbers, self._matrix, self.count
        for number, units in passages:
            if count == len(numbers):
                numbers, matrix = np.resize(numbers, 2 * count), _doubled(matrix)
            numbers[count], matrix[count] = number, passage_vector(units)
            count += 1
        return PassageTail(numbers, matrix, count)

    def since(self, number: int) -> PassageTail:
        """A tail of its own that begins at this number."""
        start = int(np.searchsorted(self._numbers[: self.count], number))
        count = self.count - start
        numbers, matrix = np.empty(max(64, count), np.int64), np.empty((max(64, count), DIMENSIONS), np.float32)
        numbers[:count], matrix[:count] = self.rows()[0][start:], self.rows()[1][start:]
        return PassageTail(numbers, matrix, count)

    def rows(self) -> tuple[Numbers, Matrix]:
        return self._numbers[: self.count], self._matrix[: self.count]

    def search(self, vector: Vector, k: int) -> list[tuple[float, int]]:
        """The k nearest numbers with their distance."""
        numbers, matrix = self.rows()
        distances = 1.0 - matrix @ vector
        best = np.argpartition(distances, k - 1)[:k] if k < len(numbers) else slice(None)
        return list(zip(distances[best].tolist(), numbers[best].tolist(), strict=True))


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
        wanted = passages * CANDIDATES_PER_PASSAGE
        reach = wanted
        held = self.tail.count + (len(self.graph) if self.graph is not None else 0)
        while True:
            candidates = self.tail.search(vector, reach)
            if self.graph is not None:
                candidates += self.graph.search(vector, reach)
            near = _rank(unit_vectors([number for _, number in sorted(candidates)[:reach]]), vector)
            if len(near) >= wanted // 2 or reach >= held:
                return near
            reach *= 4


def _rank(passages: Iterable[tuple[int, Matrix]], vector: Vector) -> dict[int, float]:
    found = [(number, float((units @ vector).max())) for number, units in passages]
    return dict(sorted(found, key=lambda pair: (-pair[1], pair[0])))


def _doubled(matrix: Matrix) -> Matrix:
    grown = np.empty((2 * len(matrix), DIMENSIONS), np.float32)
    grown[: len(matrix)] = matrix
    return grown


def _digest_of(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def stack_passages(passages: Sequence[tuple[int, Matrix]]) -> tuple[Numbers, Matrix]:
    """Numbers and mean vectors, as a graph takes them."""
    vectors = [passage_vector(units) for _, units in passages]
    return np.array([number for number, _ in passages], np.int64), np.stack(vectors)
