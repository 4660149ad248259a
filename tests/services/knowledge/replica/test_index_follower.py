"""An index is at what the store holds: what comes, changes and goes there does so in both legs, and says who signed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from tests.support.branch_index import LETTERS, branch_index
from tests.support.corpus import BRANCH, COINS, HOURS, document
from tests.support.index_files import assert_the_leg_holds_what_the_database_says, overwrite
from tests.support.replica_parts import EXACT, GRAPH, SHARED, NothingEmbedded, ReplicaLab
from tests.support.sync_parts import NOW, Keys
from tidegate.schemas import DocumentContent
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.replica import index_follower
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.index_follower import FollowedState, IndexFollower
from tidegate.services.knowledge.replica.planned_change import ChangePlanner, PlannedChange
from tidegate.sync.records import NOT_HELD
from tidegate.sync.store import ReplicaStore

EVERY = {each.id: each.text for each in BRANCH}
PIANO = document("piano", "# Piano\n\nThere is a piano in the lobby.")
both_modes = pytest.mark.parametrize("exact_below", [EXACT, GRAPH])


@pytest.fixture
def lab(tmp_path: Path) -> ReplicaLab:
    lab = ReplicaLab(tmp_path)
    lab.write()
    lab.follower.start("documents")
    return lab


def damage(lab: ReplicaLab, document_id: str) -> None:
    """What the disk does to a document of the store."""
    with sqlite3.connect(lab.hub.path / "sync.db") as disk:
        disk.execute("UPDATE documents SET content = x'00' WHERE document_id = ?", (document_id,))
    disk.close()


@both_modes
def test_what_is_written_is_found_with_its_vectors_and_its_signer(tmp_path: Path, exact_below: int) -> None:
    lab = ReplicaLab(tmp_path, exact_below=exact_below)
    lab.write()
    follower = lab.open(NothingEmbedded())
    outcome = follower.start("documents")
    assert (outcome.put, outcome.removed, outcome.damaged) == (len(BRANCH), 0, ())
    assert lab.held() == EVERY
    fresh = branch_index(tmp_path / "fresh")
    assert lab.index.version == fresh.version
    signer = f"hub/{Keys('hub').key_id[:16]}"
    for text in ("banker's draft", "foreign coins", "Wann ist die Filiale offen?"):
        vector = LETTERS.embed(text)
        found = lab.index.search(text, vector, 3, "en")
        assert {(each.collection, each.signer) for each in found} == {("documents", signer)}
        if exact_below == EXACT:
            bare = [msgspec.structs.replace(each, collection="", signer="") for each in found]
            assert bare == fresh.search(text, vector, 3, "en")
    assert follower.follow("documents").put == 0


@both_modes
def test_what_is_replaced_or_deleted_is_found_in_neither_leg(tmp_path: Path, exact_below: int) -> None:
    lab = ReplicaLab(tmp_path, exact_below=exact_below)
    lab.write()
    lab.follower.start("documents")
    lab.write([document("hours", f"{HOURS}\nIt is new.")])
    lab.delete("coins")
    outcome = lab.follower.follow("documents")
    assert (outcome.put, outcome.removed, outcome.generation) == (1, 1, 3)
    assert lab.held() == {name: text for name, text in EVERY.items() if name != "coins"} | {
        "hours": f"{HOURS}\nIt is new."
    }
    [term] = find_terms("exchanged", "en")
    assert not lab.index.stated_terms([term], "en")
    assert_the_leg_holds_what_the_database_says(tmp_path / "index")
    lab.write([document("coins", COINS)])
    lab.follower.follow("documents")
    assert lab.held()["coins"] == COINS
    assert lab.index.stated_terms([term], "en")
    assert lab.index.tombstones() == {}


def test_following_costs_what_changed(lab: ReplicaLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the other documents is read, neither in the store nor in the index."""
    lab.write([PIANO])
    monkeypatch.setattr(HybridIndex, "sources", None)
    seen: list[str] = []

    class Noting(ChangePlanner):
        def plan(self, document_ids: Iterable[str]) -> PlannedChange:
            seen.extend(document_ids)
            return super().plan(document_ids)

    monkeypatch.setattr(index_follower, "ChangePlanner", Noting)
    assert lab.follower.follow("documents").put == 1
    assert seen == ["piano"]


def test_a_field_that_the_version_does_not_cover_is_followed_too(lab: ReplicaLab) -> None:
    dated = msgspec.structs.replace(BRANCH[0], date="2026-05-01", page_starts=(0, 40))
    lab.write([dated])
    assert lab.follower.follow("documents").put == 1
    units = lab.index.units("fees", dated.version)
    assert units is not None
    assert units.document == dated


def test_a_document_that_is_written_again_as_it_was_changes_nothing(lab: ReplicaLab) -> None:
    lab.write()
    outcome = lab.follower.follow("documents")
    assert (outcome.put, outcome.generation) == (0, 2)
    assert lab.follower.follow("documents") == outcome


def test_a_tombstone_that_was_forgotten_is_in_the_index_no_more(lab: ReplicaLab) -> None:
    lab.delete("coins")
    lab.follower.follow("documents")
    lab.forget_tombstones()
    lab.follower.follow("documents")
    assert set(lab.index.sources("documents")) == {"fees", "hours", "stunden"}
    with lab.store.writing() as writer:
        writer.put_held("documents", "fees", NOT_HELD)  # it went while the index was away, and nothing tells of it
    lab.follower.follow("documents")
    assert set(lab.held()) == {"hours", "stunden"}


@pytest.mark.parametrize("generations", [1, 5])
def test_a_store_on_a_new_disk_is_compared_and_not_believed_by_its_generation(
    lab: ReplicaLab, tmp_path: Path, generations: int
) -> None:
    lab.write([PIANO])
    lab.follower.follow("documents")
    other = ReplicaLab(tmp_path / "new-disk")
    for _ in range(generations):
        other.write([document("fees", "# Fees\n\nAll is free.")])
    other.follower = IndexFollower(other.store, lab.index)
    other.follower.start("documents")
    assert lab.held() == {"fees": "# Fees\n\nAll is free."}


def test_a_damaged_document_waits_for_the_repair_and_the_others_do_not(lab: ReplicaLab) -> None:
    lab.write([PIANO, document("hours", "# Hours\n\nAlways open.")])
    with lab.store.reading() as reader:
        held = reader.held("documents", "hours")
    damage(lab, "hours")
    outcome = lab.follower.follow("documents")
    assert (outcome.damaged, outcome.put, outcome.generation) == (("hours",), 1, 1)
    assert lab.held() == EVERY | {"piano": PIANO.text}
    assert lab.follower.follow("documents").damaged == ("hours",)
    with lab.store.writing() as writer:
        writer.put_held("documents", "hours", held)
    outcome = lab.follower.follow("documents")
    assert (outcome.damaged, outcome.put) == ((), 1)
    assert lab.held()["hours"] == "# Hours\n\nAlways open."


def test_what_cannot_be_indexed_is_left_out_and_named(lab: ReplicaLab) -> None:
    lab.hub.author.write("documents", "hours", DocumentContent(title="x", language="english", text="x"), NOW)
    lab.follower.follow("documents")
    assert "hours" not in lab.held()
    assert "english" not in (fault := lab.follower.faults("documents")["hours"])
    assert "language" in fault
    lab.write([document("hours", HOURS)])
    lab.follower.follow("documents")
    assert lab.held() == EVERY
    assert lab.follower.faults("documents") == {}


def test_a_collection_that_may_not_be_served_here_any_more_is_forgotten(lab: ReplicaLab) -> None:
    assert lab.follower.forget("documents").removed == len(BRANCH)
    assert lab.held() == {}
    assert lab.follower.state("documents") == FollowedState()
    lab.follower.start("documents")
    assert lab.held() == EVERY


def test_a_replica_that_was_never_whole_feeds_nothing(tmp_path: Path, lab: ReplicaLab) -> None:
    site = ReplicaStore(tmp_path / "site.db", "site1", "a" * 16)
    site.put_collection(SHARED)
    follower = IndexFollower(site, lab.index)
    assert follower.start("documents").removed == follower.follow("documents").removed == 0
    assert lab.held() == EVERY, "what was whole is served until there is another"


def test_documents_of_a_pack_become_those_of_the_replica(tmp_path: Path) -> None:
    lab = ReplicaLab(tmp_path)
    lab.index.upsert([*BRANCH, PIANO], origin="pack")
    assert {each.signer for each in lab.index.search("fees", LETTERS.embed("fees"), 9, "en")} == {""}
    lab.write()
    assert lab.follower.start("documents").put == len(BRANCH)
    assert lab.index.origins() == {**dict.fromkeys(EVERY, "replica"), "piano": "pack"}


def test_an_index_that_cannot_be_read_is_begun_anew(lab: ReplicaLab, tmp_path: Path) -> None:
    lab.index.upsert([PIANO])
    lab.index.close()
    file = tmp_path / "index" / "index.sqlite"
    whole = bytearray(file.read_bytes())
    whole[4096:8192] = bytes(4096)
    overwrite(file, bytes(whole))
    lab.delete("coins")
    lab.follower.follow("documents")
    assert set(lab.held()) >= {"fees", "hours", "stunden"}
    assert "coins" not in lab.held()


def test_the_state_comes_with_the_last_of_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_follower, "BATCH", 2)
    lab = ReplicaLab(tmp_path)
    lab.write([*BRANCH, PIANO])
    generations: list[int] = []
    apply = HybridIndex.apply

    def noting(self: HybridIndex, change: object) -> tuple[int, int]:
        generations.append(lab.follower.state("documents").generation)
        return apply(self, change)  # type: ignore[arg-type]

    monkeypatch.setattr(HybridIndex, "apply", noting)
    lab.follower.start("documents")
    assert generations == [0, 0, 0]
    assert lab.follower.state("documents").generation == 1


@pytest.mark.parametrize("has_vectors", [True, False])
def test_fewer_documents_come_at_once_where_their_vectors_have_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_vectors: bool
) -> None:
    monkeypatch.setattr(index_follower, "BATCH", 5)
    monkeypatch.setattr(index_follower, "BATCH_TO_EMBED", 2)
    lab = ReplicaLab(tmp_path)
    for each in (document(f"d{number}", f"Fees of {number}.") for number in range(7)):
        [(document_id, content)] = contents_of([each], LETTERS)
        written = content if has_vectors else msgspec.structs.replace(content, vectors=None)
        lab.hub.author.write("documents", document_id, written, NOW)
    held: list[int] = []
    follower = IndexFollower(lab.store, lab.index, stand_back=lambda: held.append(len(lab.held())))
    assert follower.start("documents").put == 7
    assert held == ([0, 5] if has_vectors else [0, 2, 4, 6])
