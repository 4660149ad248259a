"""The index: what is added is found, what is deleted is gone, whatever happens in between."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from schemas.pack import Pack
from services.embedding import Embedder
from services.search import HybridIndex, IndexDamaged, IndexLocked, Shelf, prepare
from services.search.asking import sought
from services.search.fusion import fused
from services.search.storage import Storage
from services.search.vectors import DIMENSIONS, VectorLeg
from tests.services.corpus import BRANCH, COINS, FEES, Letters, document

LETTERS = Letters()


def found(index: HybridIndex, text: str, k: int = 8, language: str = "en") -> list[str]:
    return [passage.document_id for passage in index.search(text, LETTERS.embed(text), k, language)]


@pytest.fixture
def index(tmp_path: Path) -> HybridIndex:
    held = HybridIndex.open(tmp_path / "index", LETTERS)
    held.upsert(BRANCH)
    return held


def test_a_passage_names_its_document_its_version_and_its_exact_characters(index: HybridIndex) -> None:
    text = "what does a banker's draft cost"
    best = index.search(text, LETTERS.embed(text), 3, "en")[0]
    assert (best.document_id, best.document_version) == ("fees", BRANCH[0].version)
    assert FEES[best.start : best.end] == best.text
    assert best.bm25 > 0.0
    assert best.heading == "Fees"


def test_the_same_version_again_changes_nothing_and_a_new_one_replaces_every_passage(index: HybridIndex) -> None:
    before = index.version
    assert index.upsert(BRANCH) == 0
    assert index.version == before
    assert index.upsert([document("fees", "# Fees\n\nA draft now costs nothing.")]) == 1
    assert index.version != before
    texts = [p.text for p in index.search("fees draft card account", LETTERS.embed("fees"), 50, "en")]
    assert "A draft now costs nothing." in texts
    assert not any("Replacement card" in text or "passport" in text for text in texts)


def test_a_question_finds_its_own_language_by_its_own_stems(index: HybridIndex) -> None:
    assert found(index, "Ist die Filiale am Freitag offen?", 1, "de") == ["stunden"]
    assert found(index, "Wann öffnen Filialen?", 1, "de") == ["stunden"]


def test_languages_that_share_an_analyzer_are_kept_apart(tmp_path: Path) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS)
    index.upsert(
        [document("nl", "# Munten\n\nDe automaat telt.", "nl"), document("it", "# Monete\n\nDe automaat.", "it")]
    )
    for language in ("nl", "it"):
        first, second = index.search("automaat", LETTERS.embed("automaat"), 2, language)
        assert (first.language, first.bm25 > 0.0) == (language, True)
        assert second.language != language


def test_where_its_own_language_has_nothing_another_may_answer(index: HybridIndex) -> None:
    assert found(index, "600 coins", 3, "fr")[0] in {each.id for each in BRANCH}


def test_no_question_is_too_odd(index: HybridIndex) -> None:
    for text in ("", "   ", "AND OR NOT (", 'body_en:"x', "<IBAN_0a1b2c3d4e5f>", "\x00", "?" * 500):
        index.search(text, LETTERS.embed(text), 5, "xx")
    assert index.search("fees", LETTERS.embed("fees"), 0, "en") == []


@pytest.mark.parametrize(
    ("text", "focus"),
    [
        ("I am <NAME_0a1b2c3d4e5f>. What does a draft cost?", "I am . What does a draft cost?"),
        ("word " * 70 + "end. What does a draft cost?", "What does a draft cost?"),
        ("word " * 70, ("word " * 70).strip()),
        ("What does a draft cost", "What does a draft cost"),
        ("I lost my card. Why?", "I lost my card. Why?"),
        ("Is <IBAN_0a1b2c3d4e5f> an account with a fee?", "Is an account with a fee?"),
    ],
)
def test_what_is_looked_for_is_what_is_asked_and_no_token(text: str, focus: str) -> None:
    assert sought(text) == focus


def test_another_process_that_writes_is_seen_at_the_next_question(index: HybridIndex, tmp_path: Path) -> None:
    other = HybridIndex.open(tmp_path / "index", LETTERS)
    assert "coins" in found(other, "foreign coins")
    index.delete(["coins"])
    assert "coins" not in found(other, "foreign coins")
    index.upsert([document("coins", COINS + "\nIt is new.")])
    assert "coins" in found(other, "foreign coins")
    assert other.status() == index.status()


def test_one_process_writes_at_a_time(index: HybridIndex, tmp_path: Path) -> None:
    with Storage(tmp_path / "index").locked(), pytest.raises(IndexLocked, match="another process is writing"):
        index.upsert([document("more", "More.")])


def test_a_crash_before_the_manifest_adds_nothing_and_the_next_write_removes_what_it_left(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS)
    index.upsert(BRANCH[:2])
    manifest = (path / "manifest.json").read_bytes()
    index.upsert([document("coins", COINS)])
    del index
    (path / "manifest.json").write_bytes(manifest)  # as if the process had died just before it was replaced
    for written in ("other", "another"):
        again = HybridIndex.open(path, LETTERS)
        assert "coins" not in found(again, "foreign coins", 50)
        again.upsert([document(written, f"# {written}\n\nForeign matters.")])
    assert again.document_ids() == {"fees", "hours", "other", "another"}
    assert again.status().passages == len(again.search("e", LETTERS.embed("e"), 50, "en"))


def test_a_crash_after_the_manifest_deletes_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS)
    index.upsert(BRANCH)
    shutil.copytree(path, tmp_path / "before")
    index.delete(["coins"])
    manifest = (path / "manifest.json").read_bytes()
    del index
    shutil.rmtree(path)
    shutil.copytree(tmp_path / "before", path)  # the keyword leg and the files as they were before the delete
    (path / "manifest.json").write_bytes(manifest)
    for _ in range(2):
        again = HybridIndex.open(path, LETTERS)
        assert "coins" not in found(again, "foreign coins", 50)
        again.upsert([document("other", "# Other\n\nForeign matters.")])
    assert again.status().tombstones == 1


def test_a_keyword_leg_that_lost_passages_is_repaired_when_the_index_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "index"
    HybridIndex.open(path, LETTERS).upsert(BRANCH)
    (keyword,) = path.glob("keyword-*")
    shutil.rmtree(keyword)
    text = "banker's draft"
    best = HybridIndex.open(path, LETTERS).search(text, LETTERS.embed(text), 1, "en")[0]
    assert best.document_id == "fees"
    assert best.bm25 > 0.0


def test_another_embedding_model_rebuilds_the_index_from_the_documents_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "index"
    HybridIndex.open(path, LETTERS).upsert(BRANCH)
    rebuilt = HybridIndex.open(path, Letters("letters-2"))
    assert rebuilt.status().embedder == "letters-2"
    assert rebuilt.status().documents == len(BRANCH)
    assert not list((path / "documents").glob("*letters-1*"))
    assert found(rebuilt, "foreign coins", 1) == ["coins"]


@pytest.mark.parametrize("damage", ["manifest.json", "documents/*.npy", "documents/*.msgpack"])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "index"
    HybridIndex.open(path, LETTERS).upsert(BRANCH)
    file = next(path.glob(damage))
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(IndexDamaged, match=r"index the documents again"):
        HybridIndex.open(path, LETTERS)


class Life(RuleBasedStateMachine):
    """Random adds, replacements, deletions, re-openings and crashes; what is deleted is never returned."""

    @initialize()
    def begin(self) -> None:
        self.path = Path(mkdtemp())
        self.index = HybridIndex.open(self.path, LETTERS)
        self.live: dict[str, str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @rule(name=st.sampled_from("abcde"), word=st.sampled_from(["coin", "fee", "hour"]), lines=st.integers(1, 3))
    def add(self, name: str, word: str, lines: int) -> None:
        text = f"# {name}\n\n" + "\n\n".join(
            f"## {word} {n}\n\nThe {word} of {name}, number {n}." for n in range(lines)
        )
        self.index.upsert([document(name, text)])
        self.live[name] = text

    @rule(name=st.sampled_from("abcde"))
    def delete(self, name: str) -> None:
        self.index.delete([name])
        self.live.pop(name, None)

    @rule()
    def reopen(self) -> None:
        self.index = HybridIndex.open(self.path, LETTERS)

    @rule(name=st.sampled_from("abcde"))
    def crash_while_adding(self, name: str) -> None:
        manifest = self.path / "manifest.json"
        before = manifest.read_bytes() if manifest.exists() else None
        if before is None or name in self.live:  # a replaced document's files are removed only after the manifest
            return
        self.index.upsert([document(name, f"# {name}\n\nA coin, a fee and an hour that never were.")])
        manifest.write_bytes(before)
        self.index = HybridIndex.open(self.path, LETTERS)

    @invariant()
    def only_what_is_live_is_found_and_all_of_it(self) -> None:
        if not hasattr(self, "index"):
            return
        passages = self.index.search("coin fee hour", LETTERS.embed("coin fee hour"), 50, "en")
        assert {passage.document_id for passage in passages} == set(self.live)
        for passage in passages:
            assert self.live[passage.document_id][passage.start : passage.end] == passage.text


def test_a_deleted_document_never_comes_back_in_any_order_of_events() -> None:
    run_state_machine_as_test(
        Life, settings=settings(max_examples=8, stateful_step_count=12, derandomize=True, deadline=None)
    )


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.permutations(range(6)).flatmap(lambda p: st.integers(0, 6).map(lambda n: p[:n])), max_size=4))
def test_fusion_ranks_every_key_once_and_never_below_one_that_is_behind_it_everywhere(
    rankings: list[list[int]],
) -> None:
    ranked = fused(*rankings)
    keys = [key for key, _ in ranked]
    assert sorted(keys) == sorted({key for ranking in rankings for key in ranking})
    assert all(one >= two for (_, one), (_, two) in itertools.pairwise(ranked))
    for one in keys:
        for two in keys:
            places = [(r.index(one), r.index(two) if two in r else 99) for r in rankings if one in r]
            behind = all(a < b for a, b in places) and all(one in r for r in rankings if two in r)
            if one != two and places and behind:
                assert keys.index(one) < keys.index(two)


def test_fusion_is_reciprocal_rank_with_sixty() -> None:
    assert fused(["a", "b"], ["b"]) == [("b", 1 / 62 + 1 / 61), ("a", 1 / 61)]


def vectors(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    drawn = np.random.default_rng(1).normal(size=(count, DIMENSIONS)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_the_graph_finds_what_the_exact_scan_finds_also_after_deletions(tmp_path: Path) -> None:
    matrix, numbers = vectors(600), np.arange(600)
    exact, graph = VectorLeg(exact_below=10_000), VectorLeg(exact_below=10)
    graph.replace(numbers, matrix)
    live = numbers[numbers % 5 != 0]
    exact.replace(live, matrix[live])
    graph.replace(live, matrix[live])
    assert (exact.mode, graph.mode) == ("exact", "graph")
    wanted = [{n for n, _ in exact.search(matrix[row], 10)} for row in range(50)]
    reached = [{n for n, _ in graph.search(matrix[row], 10)} for row in range(50)]
    assert sum(len(a & b) for a, b in zip(wanted, reached, strict=True)) >= 0.95 * 500
    digest = graph.save_graph(tmp_path / "graph.bin")
    loaded = VectorLeg(exact_below=10)
    loaded.replace(live, matrix[live], tmp_path / "graph.bin", digest)
    assert [{n for n, _ in loaded.search(matrix[row], 10)} for row in range(50)] == reached
    (tmp_path / "graph.bin").write_bytes(b"torn")
    loaded = VectorLeg(exact_below=10)
    loaded.replace(live, matrix[live], tmp_path / "graph.bin", digest)
    assert len(loaded.search(matrix[0], 10)) == 10


def test_a_leg_returns_all_it_has_where_more_is_wanted_in_either_mode() -> None:
    for exact_below in (1, 100):
        leg = VectorLeg(exact_below=exact_below)
        leg.replace(np.arange(7), vectors(7))
        keep = np.arange(7) < 3
        assert len(leg.search(vectors(1)[0], 50)) == 7
        assert {number for number, _ in leg.search(vectors(1)[0], 50, keep)} == {0, 1, 2}


def test_an_index_above_the_limit_answers_from_its_graph_and_keeps_it(tmp_path: Path) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS, exact_below=3)
    index.upsert(BRANCH)
    assert index.status().vectors == "graph"
    assert found(index, "foreign coins", 1) == ["coins"]
    assert json.loads((tmp_path / "i" / "manifest.json").read_bytes())["graph_sha256"]
    again = HybridIndex.open(tmp_path / "i", LETTERS, exact_below=3)
    again.delete(["coins"])
    assert "coins" not in found(again, "foreign coins", 50)


def pack_of(*documents: object) -> Pack:
    return Pack(
        name="p", version="1", path="", documents=documents, intents=(), questions=(), calibration=(), policy_files=()
    )  # type: ignore[arg-type]


def test_preparing_brings_the_pack_and_leaves_alone_what_people_did(tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    prepare(pack_of(*BRANCH[:3]), "site", LETTERS, tmp_path / "i", lambda *step: steps.append(step))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    by_hand = HybridIndex.open(tmp_path / "i", LETTERS)
    by_hand.upsert([document("added", "# Added\n\nBy hand.")])
    by_hand.delete(["hours"])
    again = prepare(pack_of(*BRANCH[1:]), "site", LETTERS, tmp_path / "i")
    assert again.document_ids() == {"added", "stunden", "coins"}
    newer = document("hours", "# Opening hours\n\nAlways.")
    assert "hours" in prepare(pack_of(newer), "site", LETTERS, tmp_path / "i").document_ids()
    assert "fees" in prepare(pack_of(BRANCH[0]), "site", LETTERS, tmp_path / "i").document_ids()


def test_a_site_holds_its_own_documents_and_the_hub_all(tmp_path: Path) -> None:
    import msgspec

    pack = pack_of(BRANCH[0], msgspec.structs.replace(BRANCH[1], scope="hub"))
    assert prepare(pack, "site", LETTERS, tmp_path / "s").document_ids() == {"fees"}
    assert prepare(pack, "hub", LETTERS, tmp_path / "h").document_ids() == {"fees", "hours"}


def test_a_tenant_that_is_not_served_has_no_index(tmp_path: Path) -> None:
    shelf = Shelf(("one", "two"), lambda tenant: tmp_path / tenant, LETTERS, exact_below=100)
    one, two = shelf.index("one"), shelf.index("two")
    assert one is not None
    assert two is not None
    one.upsert(BRANCH)
    assert two.status().documents == 0
    assert shelf.index("three") is None
    assert not (tmp_path / "three").exists()
    assert Shelf(("one",), lambda tenant: tmp_path / tenant, LETTERS, exact_below=100).index("one") is one


def test_by_meaning_a_question_finds_what_shares_no_word_with_it(tmp_path: Path) -> None:
    embedder = Embedder.load(Path(".models"))
    index = HybridIndex.open(tmp_path / "i", embedder)
    index.upsert(BRANCH)
    text = "identification papers required for a new customer"
    best = index.search(text, embedder.embed(text), 1, "en")[0]
    assert best.heading == "Fees › What you need"
    assert best.similarity > 0.3
