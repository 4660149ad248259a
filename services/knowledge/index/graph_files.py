"""How a graph lies on disk: what hnswlib holds of it, as arrays, so that no opening reads a file twice.

Promises that a file which is not what was written is refused before anything follows its links. Next: graph.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy

from tidegate.services.knowledge.index.storage import publish_file, replace_file

GraphState = dict[str, Any]
"""What hnswlib gives of a graph, and makes one of: numbers, texts and arrays by name."""
_NODES = "data_level0"
"""The array of all nodes, with their links and vectors: 24 of 25 bytes. It has a file of its own, which is mapped."""
_PLAIN, _NODES_DIGEST = "plain", "nodes_sha256"
_READ_BYTES = 1 << 24


def axes_file(path: Path) -> Path:
    """The file beside that of the nodes, which holds all else."""
    return path.with_suffix(".axes")


def write_graph(path: Path, state: GraphState, beside: Mapping[str, np.ndarray[Any, Any]]) -> str:
    """Write a graph and arrays of the caller's own, on disk when this returns; returns the sha256 that it is known by.

    That is of the smaller file, which holds the digest of the nodes: so it takes no reading of those to know them.
    """
    nodes = memoryview(state[_NODES]).cast("B")
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray) and name != _NODES}
    plain = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
    texts = {_PLAIN: msgspec.json.encode(plain), _NODES_DIGEST: hashlib.sha256(nodes).digest()}
    encoded = {name: np.frombuffer(text, np.uint8) for name, text in texts.items()}
    small = safetensors.numpy.save({**arrays, **encoded, **beside})
    replace_file(axes_file(path), small)
    draft = path.with_suffix(".new")
    with open(draft, "wb") as file:
        file.write(nodes)
    publish_file(draft, path)
    return hashlib.sha256(small).hexdigest()


class GraphFiles:
    """A graph that `write_graph` wrote, or one that hnswlib saved itself, as it was done before.

    Raises `ValueError` where the smaller file is not what was saved, `FileNotFoundError`.
    """

    def __init__(self, path: Path, sha256: str) -> None:
        small = axes_file(path).read_bytes()
        self.is_by_hnswlib = hashlib.sha256(small).hexdigest() != sha256
        if self.is_by_hnswlib and _digest_of(path, small) != sha256:
            raise ValueError("its bytes are not those that were saved")
        self.arrays: dict[str, np.ndarray[Any, Any]] = safetensors.numpy.load(small)
        """All but the nodes, with what the caller gave."""
        self._nodes = np.memmap(path, np.int8, "r")

    def is_whole(self, on_start: Callable[[], None] = lambda: None) -> bool:
        """Whether the nodes are those that were saved. Reads all of them, in one call that needs no interpreter:
        `on_start` is called just before, so that who holds the interpreter's lock meanwhile keeps nobody waiting."""
        on_start()
        return self.is_by_hnswlib or hashlib.sha256(self._nodes.data).digest() == self.arrays[_NODES_DIGEST].tobytes()

    def state(self) -> GraphState:
        """What hnswlib makes the graph of. Its nodes are mapped from the file: who takes them has to ask `is_whole`
        before a link is followed, as hnswlib goes where their numbers point. Raises `ValueError`."""
        plain = msgspec.json.decode(self.arrays[_PLAIN].tobytes())
        if self._nodes.nbytes != plain["cur_element_count"] * plain["size_data_per_element"]:
            raise ValueError("it has another size than was saved")  # hnswlib copies what it is given
        return {**plain, **self.arrays, _NODES: self._nodes}


def is_graph_whole(path: Path, sha256: str) -> bool:
    """Whether the files of a saved graph are what was saved; reads all of them. Raises `FileNotFoundError`."""
    try:
        return GraphFiles(path, sha256).is_whole()
    except ValueError:
        return False


def _digest_of(path: Path, before: bytes = b"") -> str:
    digest = hashlib.sha256(before)
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
