"""Finds passages by meaning where an index holds many: an HNSW graph and, behind it, what came since it was made.

Promises that no search waits for a change, and none returns what is gone. The only module that imports hnswlib.
Next: compaction.py, which makes graphs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

import hnswlib
import numpy as np

from tidegate.services.knowledge.index.graph_files import GraphFiles, write_graph
from tidegate.services.knowledge.index.vectors import (
    DIMENSIONS,
    POSITION_BITS,
    UNITS_PER_PASSAGE,
    Matrix,
    Numbers,
    label_units,
)
from tidegate.services.knowledge.text_embedder import Vector

AXES = 96
"""Of 384 dimensions so many are kept in the graph, those in which the units differ most. With the shipped model the 96
nearest units of the kiosk by these hold 99.9 % of the ten nearest passages; a node then takes 0.5 kB instead of 1.7."""
_LINKS, _EF_BUILD, _EF_SEARCH = 16, 200, 768
"""With 768 for `ef` a search of 1.9 million made units finds 96 % of the ten best passages of both legs, together with
what the words find; with 512 94 %, with 1 024 97 %. More nodes for a passage find less in the same time."""
_Rows = TypeVar("_Rows", Numbers, Matrix)
UnitVectors = Callable[[list[int]], tuple[list[int], Numbers, Matrix]]
"""From numbers of passages to those that are live, the first row of each, and their units' vectors row by row."""


class Projection:
    """The axes that the nodes of a graph are kept in, and how many units they were chosen from."""

    def __init__(self, axes: Matrix, units: int) -> None:
        self.axes = axes
        self.units = units

    @classmethod
    def fit(cls, sample: Matrix, units: int) -> Projection:
        """The principal axes of a sample of so many units. Dot products lose what lies in the other axes."""
        moments = sample.T @ sample
        _, vectors = np.linalg.eigh(moments.astype(np.float64))
        return cls(np.ascontiguousarray(vectors[:, -AXES:], np.float32), units)


class PassageGraph:
    """An HNSW graph (Malkov & Yashunin 2018), one node for each unit. It is not changed once it is in use."""

    def __init__(self, name: str, index: hnswlib.Index, projection: Projection, gone: int = 0) -> None:
        index.set_ef(_EF_SEARCH)
        self._gone = gone
        self.name = name
        self.projection = projection
        self._index = index

    @classmethod
    def load(cls, path: Path, name: str, sha256: str) -> PassageGraph:
        """A saved graph. Raises `ValueError` where its bytes are not those that were saved, `FileNotFoundError`.

        The digest is made while hnswlib takes the nodes, and compared before it follows a link. hnswlib does not let go
        of the interpreter's lock: a digest that had not begun by then would begin when it is done.
        """
        files = GraphFiles(path, sha256)
        if not {"axes", "units", "gone"} <= files.arrays.keys():
            raise ValueError("it was saved by another version of this program")
        with ThreadPoolExecutor(1, "graph-digest") as pool:
            has_begun = threading.Event()
            is_whole = pool.submit(files.is_whole, has_begun.set)
            has_begun.wait()
            index = _open_index(path, files)
            if not is_whole.result():
                raise ValueError("its bytes are not those that were saved")
        held = files.arrays
        return cls(name, index, Projection(held["axes"], int(held["units"][0])), int(held["gone"][0]))

    @classmethod
    def empty(cls, projection: Projection) -> PassageGraph:
        index = hnswlib.Index(space="ip", dim=AXES)
        index.init_index(max_elements=1_024, ef_construction=_EF_BUILD, M=_LINKS, random_seed=7)
        return cls("", index, projection)

    def __len__(self) -> int:
        """The nodes, with those of passages that are gone."""
        return int(self._index.get_current_count())

    def remove(self, numbers: Iterable[int]) -> None:
        """Find these no more. Their nodes stay, as ways to others: to reuse one takes 5 times as long as a new one."""
        for number in numbers:
            with suppress(RuntimeError):  # what hnswlib says of a label that it has not got: the units are through
                for label in range(number << POSITION_BITS, (number + 1) << POSITION_BITS):
                    self._index.mark_deleted(label)
                    self._gone += 1

    def add(self, passages: Iterable[tuple[int, Matrix]]) -> None:
        """Add passages by their units' vectors."""
        labels, rows = PassageTail.empty(self.projection).extended(passages).rows()
        room = len(self) + len(labels)
        if room > self._index.get_max_elements():
            self._index.resize_index(room + room // 8)
        self._index.add_items(rows, labels, num_threads=1)

    def search(self, vector: Vector, k: int) -> list[tuple[float, int]]:
        """About the k nearest nodes to a projected vector, distance and label; fewer where it cannot reach as many."""
        k = min(k, len(self) - self._gone)
        while k > 0:
            try:
                labels, distances = self._index.knn_query(vector, k=k, num_threads=1)
            except RuntimeError:  # what hnswlib says instead of returning fewer than k
                k -= 1 + k // 8
            else:
                return list(zip(distances[0].tolist(), map(int, labels[0]), strict=True))
        return []

    def save(self, path: Path) -> str:
        """Write the graph, on disk when this returns; returns the sha256 that it is known by."""
        counts = {"units": np.array([self.projection.units]), "gone": np.array([self._gone])}
        return write_graph(path, self._index.__getstate__()[0], {"axes": self.projection.axes, **counts})


class PassageTail:
    """The units that came since a graph was made, in the order of their labels. Holds those of passages that went, too.

    A tail that was made by `extended` shares its memory with the one before it, which goes on to see its own rows.
    """

    def __init__(self, projection: Projection | None, labels: Numbers, matrix: Matrix, count: int) -> None:
        self._projection = projection
        self._labels = labels
        self._matrix = matrix
        self._count = count

    def __len__(self) -> int:
        return self._count

    @classmethod
    def empty(cls, projection: Projection | None) -> PassageTail:
        """A tail in the axes of a graph; in all of them where there is no graph yet."""
        axes = DIMENSIONS if projection is None else AXES
        return cls(projection, np.empty(64, np.int64), np.empty((64, axes), np.float32), 0)

    def extended(self, passages: Iterable[tuple[int, Matrix]]) -> PassageTail:
        """This tail and the passages, by their units' vectors. Only the last tail of a row may be extended."""
        labels, matrix, count = self._labels, self._matrix, self._count
        for number, units in passages:
            end = count + len(units)
            if end > len(labels):
                labels, matrix = _grown(labels, 2 * end), _grown(matrix, 2 * end)
            labels[count:end] = label_units(number, len(units))
            matrix[count:end] = units if self._projection is None else units @ self._projection.axes
            count = end
        return PassageTail(self._projection, labels, matrix, count)

    def rows(self) -> tuple[Numbers, Matrix]:
        return self._labels[: self._count], self._matrix[: self._count]

    def search(self, vector: Vector, k: int) -> list[tuple[float, int]]:
        """The k nearest units to a projected vector, distance and label."""
        labels, matrix = self.rows()
        distances = 1.0 - matrix @ vector
        best = np.argpartition(distances, k - 1)[:k] if k < len(labels) else slice(None)
        return list(zip(distances[best].tolist(), labels[best].tolist(), strict=True))


class GraphLeg:
    """A graph, the tail behind it, and `seen`: passages from this number on are in neither."""

    mode: Literal["graph"] = "graph"

    def __init__(self, graph: PassageGraph | None, tail: PassageTail, seen: int) -> None:
        self.graph = graph
        self.tail = tail
        self.seen = seen

    def search(
        self, vector: Vector, passages: int, unit_vectors: UnitVectors, beside: Sequence[int] = ()
    ) -> dict[int, float]:
        """The nearest live passages with their cosine, best first; a passage is as near as the nearest of its units.

        Candidates are found in the graph's axes, with those of `beside`, and then ranked in all. Where most are gone,
        more are looked for.
        """
        projected = vector if self.graph is None else vector @ self.graph.projection.axes
        reach = passages * UNITS_PER_PASSAGE
        held = len(self.tail) + (len(self.graph) if self.graph is not None else 0)
        while True:
            nodes = self.tail.search(projected, reach)
            if self.graph is not None:
                nodes += self.graph.search(projected, reach)
            found = dict.fromkeys(label >> POSITION_BITS for _, label in sorted(nodes)[:reach])
            near = _rank(*unit_vectors(list({**found, **dict.fromkeys(beside)})), vector)
            live = len(found.keys() & near.keys())  # those beside it do not stand for any that it lacks
            if (2 * live >= len(found) and live >= passages) or reach >= held:
                return near
            reach *= 4


def _rank(numbers: list[int], starts: Numbers, units: Matrix, vector: Vector) -> dict[int, float]:
    if not numbers:
        return {}
    cosines = np.einsum("ij,j->i", units, vector)  # row by row: with `@` a cosine differs with the rows beside it
    nearest = np.maximum.reduceat(cosines, starts).tolist()
    return dict(sorted(zip(numbers, nearest, strict=True), key=lambda pair: (-pair[1], pair[0])))


def _grown(rows: _Rows, room: int) -> _Rows:
    grown: _Rows = np.empty((room, *rows.shape[1:]), rows.dtype)
    grown[: len(rows)] = rows
    return grown


def _open_index(path: Path, files: GraphFiles) -> hnswlib.Index:
    """As arrays a graph is open in half the time that hnswlib takes to read a file of its own."""
    if files.is_by_hnswlib:
        index = hnswlib.Index(space="ip", dim=AXES)
        index.load_index(str(path))
        return index
    index = hnswlib.Index.__new__(hnswlib.Index)
    index.__setstate__((files.state(),))
    return index
