"""Finds by meaning: exact cosine scan while small, an HNSW graph above. The only module that imports hnswlib. Next:
hybrid.py."""

from __future__ import annotations

import hashlib
import threading
from contextlib import suppress
from pathlib import Path
from typing import Literal

import hnswlib
import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

DIMENSIONS = 384
_LINKS, _EF_BUILD, _EF_SEARCH = 16, 128, 64
_MOST_DELETED = 0.3


class VectorLeg:
    """Vectors of unit length, known by number. `search` is safe beside `replace` from another thread."""

    def __init__(self, *, exact_below: int) -> None:
        self._exact_below = exact_below
        self._rows: tuple[Numbers, Matrix] = (np.empty(0, np.int64), np.empty((0, DIMENSIONS), np.float32))
        self._graph: _Graph | None = None
        self._changing = threading.Lock()

    @property
    def mode(self) -> Literal["exact", "graph"]:
        return "exact" if self._graph is None else "graph"

    def replace(self, numbers: Numbers, matrix: Matrix, graph_file: Path | None = None, digest: str = "") -> None:
        """Hold exactly these rows. A saved graph is used where `digest` (sha256) proves it whole; else it is built."""
        with self._changing:
            if len(numbers) < self._exact_below:
                self._graph = None
            else:
                graph = self._graph or _Graph.load(graph_file, digest)
                self._graph = graph.match(numbers, matrix)
            self._rows = (numbers, matrix)

    def save_graph(self, path: Path) -> str:
        """Write the graph and return its sha256; empty when there is none."""
        with self._changing:
            return self._graph.save(path) if self._graph is not None else ""

    def search(self, vector: npt.NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """The k nearest numbers with their cosine, best first."""
        numbers, matrix = self._rows
        k = min(k, len(numbers))
        if k <= 0:
            return []
        graph = self._graph
        if graph is not None and self._changing.acquire(blocking=False):
            try:
                found = graph.search(vector, k)
            finally:
                self._changing.release()
            if found is not None:
                return found
        scores = matrix @ vector
        best = np.argpartition(-scores, k - 1)[:k]
        best = best[np.argsort(-scores[best], kind="stable")]
        return [(int(numbers[row]), float(scores[row])) for row in best]


class _Graph:
    """An HNSW graph (Malkov & Yashunin 2018) that follows a set of numbers; deleted ones stay as marked nodes."""

    def __init__(self, index: hnswlib.Index) -> None:
        index.set_ef(_EF_SEARCH)
        self._index = index
        self._live = {int(number) for number in index.get_ids_list()}
        self._deleted = 0

    @classmethod
    def load(cls, path: Path | None, digest: str) -> _Graph:
        """The saved graph, or an empty one when there is none or its bytes are not those that were saved."""
        if path is not None and digest and path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            index = hnswlib.Index(space="ip", dim=DIMENSIONS)
            index.load_index(str(path))
            return cls(index)
        return cls._empty(1024)

    @classmethod
    def _empty(cls, size: int) -> _Graph:
        index = hnswlib.Index(space="ip", dim=DIMENSIONS)
        index.init_index(max_elements=size, ef_construction=_EF_BUILD, M=_LINKS, random_seed=7)
        return cls(index)

    def match(self, numbers: Numbers, matrix: Matrix) -> _Graph:
        """This graph, or a new one, with exactly these numbers alive."""
        wanted = {int(number) for number in numbers}
        gone = self._live - wanted
        if self._deleted + len(gone) > _MOST_DELETED * max(1, len(wanted)):
            return _Graph._empty(len(wanted)).match(numbers, matrix)
        for number in gone:
            with suppress(RuntimeError):  # a loaded graph lists what was marked before it was saved
                self._index.mark_deleted(number)
        self._deleted += len(gone)
        self._live -= gone
        new = np.array([number not in self._live for number in numbers.tolist()], bool)
        room = self._index.get_current_count() + int(new.sum())
        if room > self._index.get_max_elements():
            self._index.resize_index(room + room // 4)
        if new.any():
            self._index.add_items(matrix[new], numbers[new], num_threads=1)
            self._live |= {int(number) for number in numbers[new]}
        return self

    def search(self, vector: npt.NDArray[np.float32], k: int) -> list[tuple[int, float]] | None:
        """None when the graph cannot say: it cannot return k at all."""
        try:
            found, distances = self._index.knn_query(vector, k=min(k, len(self._live)), num_threads=1)
        except RuntimeError:
            return None
        hits = [(int(n), 1.0 - float(d)) for n, d in zip(found[0], distances[0], strict=True)]
        return hits if len(hits) == k else None

    def save(self, path: Path) -> str:
        draft = path.with_suffix(".new")
        self._index.save_index(str(draft))
        digest = hashlib.sha256(draft.read_bytes()).hexdigest()
        draft.replace(path)
        return digest
