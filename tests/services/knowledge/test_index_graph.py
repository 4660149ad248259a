"""The vector leg of a large index: what the graph and the tail find, what is made anew, and what is never returned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.branch_index import LETTERS, found
from tests.support.corpus import BRANCH, document
from tests.support.index_files import assert_the_leg_holds_what_the_database_says
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.database import IndexHead, read_head_of
from tidegate.services.knowledge.index.graph import AXES, GraphLeg, PassageGraph, PassageTail, Projection
from tidegate.services.knowledge.index.hybrid import HybridIndex
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


def test_the_graph_and_its_tail_find_what_an_exact_scan_finds_also_when_half_is_gone() -> None:
    passages = Passages(600)
    leg = GraphLeg(passages.graph(range(400)), passages.tail(range(400, 600)), 600)
    passages.gone = set(range(0, 600, 2))
    hits = 0
    for number in range(1, 101, 2):
        vector = passages.units[number, 1]
        near = list(leg.search(vector, 10, passages.vectors))
        assert not passages.gone & set(near)
        hits += len(set(near[:10]) & set(passages.exact(vector, 10)))
    assert hits >= 0.95 * 500


def test_a_leg_returns_all_it_has_where_more_is_wanted() -> None:
    passages = Passages(9)
    graph = passages.graph(range(5))
    graph.remove([2, 4])
    passages.gone = {1, 2, 4, 6}
    leg = GraphLeg(graph, passages.tail(range(5, 9)), 9)
    assert sorted(leg.search(passages.units[0, 0], 50, passages.vectors)) == [0, 3, 5, 7, 8]
    assert GraphLeg(None, PassageTail.empty(None), 0).search(passages.units[0, 0], 5, passages.vectors) == {}


def test_an_older_tail_does_not_see_what_a_newer_one_got() -> None:
    passages = Passages(500)
    older = passages.tail(range(10))
    newer = older.extended(passages.rows(range(10, 500)))
    assert (len(older), len(newer)) == (30, 1_500)
    assert {label >> 16 for _, label in older.search(passages.project(400), 50)} == set(range(10))
    assert newer.search(passages.project(400), 1)[0][1] == 400 << 16
    np.testing.assert_array_equal(newer.rows()[1][:30], older.rows()[1])
    assert older.rows()[1].shape == (30, AXES)


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


def large(path: Path, fold_at: int = 8) -> HybridIndex:
    return HybridIndex.open(path, LETTERS, exact_below=3, fold_at=fold_at)


def drawn(number: int, edition: int = 0) -> Document:
    return document(
        f"d{number}", f"# Matter {number}\n\nEdition {edition} of matter {number} is about {number * 7919}."
    )


def head_of(index: HybridIndex, path: Path) -> IndexHead:
    index.wait_for_compaction()
    return read_head_of(path)


def test_an_index_above_the_limit_answers_from_its_graph_and_keeps_it(tmp_path: Path) -> None:
    index = large(tmp_path / "i", fold_at=1)
    index.upsert(BRANCH)
    assert index.status().vectors == "graph"
    assert head_of(index, tmp_path / "i").graph
    assert found(index, "foreign coins", 1) == ["coins"]
    again = large(tmp_path / "i")
    again.delete(["coins"])
    assert "coins" not in found(again, "foreign coins", 50)
    assert "coins" not in found(index, "foreign coins", 50)


def test_the_graph_lags_behind_by_a_bounded_number_of_passages_and_holds_few_that_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "i"
    index = large(path)
    for round_ in range(12):
        index.upsert([drawn(number, round_) for number in range(10)])
        head = head_of(index, path)
        assert head.next_number - head.graph_numbers < 8
        graph = PassageGraph.load(next(path.glob(f"graph-{head.graph}.bin")), head.graph, head.graph_sha256)
        assert len(graph) <= 1.3 * head.units
        assert sorted(set(found(index, "matter", 50))) == sorted(f"d{number}" for number in range(10))


def test_what_a_compaction_replaced_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "i"
    index = large(path)
    for round_ in range(4):
        index.upsert([drawn(number, round_) for number in range(10)])
        index.wait_for_compaction()
    index.close()
    (path / "graph-9-left.new").write_bytes(b"half a graph")
    (path / "keyword-7-9").mkdir()
    head = read_head_of(path)
    large(path).close()
    assert {file.name for file in path.glob("graph-*")} == {f"graph-{head.graph}.bin", f"graph-{head.graph}.axes"}
    assert len(list(path.glob("keyword-*"))) == 1


def test_a_graph_that_is_damaged_or_lost_is_made_anew_and_meanwhile_all_is_found(tmp_path: Path) -> None:
    path = tmp_path / "i"
    for damage in ("torn", "lost"):
        index = large(path, fold_at=1)
        index.upsert([drawn(number) for number in range(20)])
        before = head_of(index, path).graph
        index.close()
        file = next(path.glob("graph-*.bin"))
        if damage == "torn":
            file.write_bytes(b"torn")
        else:
            file.unlink()
        again = large(path, fold_at=100)
        assert len(set(found(again, "matter", 50))) == len(again.document_ids())
        again.upsert([drawn(30 + len(damage), ord(damage[0]))])
        assert head_of(again, path).graph not in ("", before)
        again.close()


def test_a_keyword_leg_with_many_removed_rows_is_made_anew_and_questions_see_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "i"
    index = large(path, fold_at=100_000)
    other = large(path)
    index.upsert([drawn(number) for number in range(1_300)])
    index.delete([f"d{number}" for number in range(1_100)])
    assert head_of(index, path).keyword == 1
    index.delete(["d1200"])
    index.upsert([document("lantern", "# Lantern\n\nA lantern at the harbour.")])
    for each in (index, other):
        assert "lantern" in found(each, "lantern", 3)
        assert set(found(each, "matter", 400)) == set(index.document_ids())
    assert_the_leg_holds_what_the_database_says(path)


def test_a_large_index_knows_no_word_of_what_was_deleted_and_weighs_words_as_a_fresh_one(tmp_path: Path) -> None:
    index, fresh = large(tmp_path / "i", fold_at=1_000), large(tmp_path / "f", fold_at=1_000)
    reader = large(tmp_path / "i")
    gone = [document(f"z{number}", f"# Zorblax\n\nA Zorblax of coins, {number}.") for number in range(40)]
    index.upsert([*BRANCH, *gone])  # together, as a segment of removed rows only is dropped at once
    assert reader.has_term("zorblax", "en")
    index.delete([f"z{number}" for number in range(40)])
    fresh.upsert(BRANCH)
    for each in (reader, index):
        assert not each.has_term("zorblax", "en")
        assert each.has_term("coin", "en")
        for term in ("zorblax", "coin", "machin"):
            assert each.rarity(term, "en") == fresh.rarity(term, "en")
        for text in ("a machine for coins", "coins in the lobby", "fees of a banker's draft"):
            mine, its = (one.search(text, LETTERS.embed(text), 8, "en") for one in (each, fresh))
            assert [passage.text for passage in mine] == [passage.text for passage in its]


def test_a_large_index_finds_by_words_what_a_small_one_finds(tmp_path: Path) -> None:
    small, big = HybridIndex.open(tmp_path / "s", LETTERS), large(tmp_path / "b")
    for index in (small, big):
        index.upsert(BRANCH)
        index.upsert([document("coins", "# Coin machine\n\nIt is broken.")])
        index.wait_for_compaction()
    assert small.version == big.version
    for text in ("coin machine", "banker's draft", "lobby with cash machines"):
        assert set(found(small, text)) == set(found(big, text))
        assert found(small, text)[0] == found(big, text)[0]


def test_an_index_that_shrinks_is_exact_again_and_without_a_trace_of_what_went(tmp_path: Path) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS, exact_below=25)
    index.upsert([*BRANCH, *(drawn(number) for number in range(10))])
    assert index.status().vectors == "graph"
    index.delete([f"d{number}" for number in range(10)])
    assert index.status().vectors == "exact"
    assert not index.has_term("edition", "en")
    fresh = HybridIndex.open(tmp_path / "f", LETTERS)
    fresh.upsert(BRANCH)
    for text in ("coin machine", "banker's draft"):
        vector = LETTERS.embed(text)
        assert index.search(text, vector, 8, "en") == fresh.search(text, vector, 8, "en")
