"""A graph on disk: it finds what it found before it was saved, and one that is not what was saved is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import hnswlib
import numpy as np
import pytest
import safetensors.numpy

from tests.support.graph_passages import Passages
from tidegate.services.knowledge.index.graph import AXES, PassageGraph
from tidegate.services.knowledge.index.graph_files import is_graph_whole


def test_a_saved_graph_finds_the_same_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    passages = Passages(50)
    graph = passages.graph(range(50))
    graph.remove([3, 77])
    digest = graph.save(tmp_path / "graph.bin")
    loaded = PassageGraph.load(tmp_path / "graph.bin", "g", digest)
    assert loaded.search(passages.project(3), 20) == graph.search(passages.project(3), 20)
    assert {label >> 16 for _, label in loaded.search(passages.project(3), 147)} == set(range(50)) - {3}
    for file in (tmp_path / "graph.axes", tmp_path / "graph.bin"):
        whole = file.read_bytes()
        for at in (*range(0, 96, 3), -1):  # of the first numbers hnswlib makes addresses
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at:][1:])
            with pytest.raises(ValueError, match="not those that were saved"):
                PassageGraph.load(tmp_path / "graph.bin", "g", digest)
        file.write_bytes(whole)


def test_a_graph_of_another_size_than_was_saved_is_refused_before_hnswlib_takes_it(tmp_path: Path) -> None:
    passages = Passages(20)
    digest = passages.graph(range(20)).save(tmp_path / "graph.bin")
    file = tmp_path / "graph.bin"
    whole = file.read_bytes()
    for torn in (whole[:-1], whole + whole, b""):
        file.write_bytes(torn)
        with pytest.raises(ValueError, match=r"size|empty"):
            PassageGraph.load(file, "g", digest)


def test_a_graph_that_hnswlib_saved_itself_is_read_and_saved_as_it_is_now(tmp_path: Path) -> None:
    passages = Passages(50)
    old, new = tmp_path / "old.bin", tmp_path / "new.bin"
    labels, rows = passages.tail(range(50)).rows()
    index = hnswlib.Index(space="ip", dim=AXES)
    index.init_index(max_elements=len(labels), ef_construction=200, M=16, random_seed=7)
    index.add_items(rows, labels)
    index.save_index(str(old))
    counts = {"units": np.array([150]), "gone": np.array([0])}
    axes = safetensors.numpy.save({"axes": passages.projection.axes, **counts})
    old.with_suffix(".axes").write_bytes(axes)
    digest = hashlib.sha256(axes + old.read_bytes()).hexdigest()
    assert is_graph_whole(old, digest)
    loaded = PassageGraph.load(old, "g", digest)
    again = PassageGraph.load(new, "g", loaded.save(new))
    assert len(again.search(passages.project(3), 20)) == 20
    assert again.search(passages.project(3), 20) == loaded.search(passages.project(3), 20)
    again.add([(50, passages.units[0])])
    assert {label >> 16 for _, label in again.search(passages.project(0), 2)} == {0, 50}
    old.write_bytes(old.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="not those that were saved"):
        PassageGraph.load(old, "g", digest)
