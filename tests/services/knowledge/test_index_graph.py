"""The vector leg of a large index: what the graph and the tail find, what is made anew, and what is never returned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.branch_index import LETTERS, found
from tests.support.corpus import BRANCH, document
from tests.support.graph_passages import Passages
from tests.support.index_files import assert_the_leg_holds_what_the_database_says
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.database import IndexHead, read_head_of
from tidegate.services.knowledge.index.graph import AXES, GraphLeg, PassageGraph, PassageTail
from tidegate.services.knowledge.index.hybrid import HybridIndex


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


def test_what_words_have_found_is_ranked_among_what_is_near_by_all_of_its_units() -> None:
    passages = Passages(900)
    leg = GraphLeg(passages.graph(range(600)), passages.tail(range(600, 900)), 900)
    passages.gone = {5, 800}
    vector = passages.units[7, 1]
    far = [number for number in passages.exact(vector, 900) if number % 3 == 0][-40:]
    near = leg.search(vector, 4, passages.vectors, [*far, 5, 800])
    assert not passages.gone & set(near)
    assert near.keys() >= set(far) - set(leg.search(vector, 4, passages.vectors))
    for number, cosine in near.items():
        assert cosine == pytest.approx(float((passages.units[number] @ vector).max()), abs=1e-6)
    assert list(near) == sorted(near, key=lambda number: -near[number])


def test_what_words_have_found_does_not_stand_for_what_is_near_where_that_is_gone() -> None:
    passages = Passages(300)
    leg = GraphLeg(passages.graph(range(200)), passages.tail(range(200, 300)), 300)
    vector = passages.units[7, 1]
    ranked = passages.exact(vector, 300)
    passages.gone = set(ranked[:30])
    near = leg.search(vector, 2, passages.vectors, ranked[-30:])
    assert list(near)[:2] == ranked[30:32]


def test_an_older_tail_does_not_see_what_a_newer_one_got() -> None:
    passages = Passages(500)
    older = passages.tail(range(10))
    newer = older.extended(passages.rows(range(10, 500)))
    assert (len(older), len(newer)) == (30, 1_500)
    assert {label >> 16 for _, label in older.search(passages.project(400), 50)} == set(range(10))
    assert newer.search(passages.project(400), 1)[0][1] == 400 << 16
    np.testing.assert_array_equal(newer.rows()[1][:30], older.rows()[1])
    assert older.rows()[1].shape == (30, AXES)


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
    assert reader.stated_terms(["zorblax"], "en")
    index.delete([f"z{number}" for number in range(40)])
    fresh.upsert(BRANCH)
    for each in (reader, index):
        assert not each.stated_terms(["zorblax"], "en")
        assert each.stated_terms(["coin"], "en")
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
    assert not index.stated_terms(["edition"], "en")
    fresh = HybridIndex.open(tmp_path / "f", LETTERS)
    fresh.upsert(BRANCH)
    for text in ("coin machine", "banker's draft"):
        vector = LETTERS.embed(text)
        assert index.search(text, vector, 8, "en") == fresh.search(text, vector, 8, "en")


def test_of_a_large_index_a_passage_that_words_have_found_tells_how_near_it_is(tmp_path: Path) -> None:
    index = large(tmp_path / "i", fold_at=1_000)
    index.upsert([*(drawn(number) for number in range(100)), document("lantern", "# Lantern\n\nA lantern glows.")])
    vector = LETTERS.embed("edition 0 of matter 7 is about 7919")
    [first, *_] = index.search("lantern", vector, 8, "en")
    units = index.units("lantern", first.document_version)
    assert first.document_id == "lantern"
    assert units is not None
    assert first.similarity == pytest.approx(float((units.vectors @ vector).max()), abs=1e-6)
    assert first.similarity > 0.0
