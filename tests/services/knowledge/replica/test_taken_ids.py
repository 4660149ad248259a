"""Several collections feed one index: whose a document is that two of them have does not rest on which came first."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import msgspec
import pytest

from tests.support.branch_index import LETTERS
from tests.support.corpus import document
from tests.support.sync_parts import NOW, Keys
from tidegate.schemas import Collection
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.knowledge.replica.planned_change import TAKEN
from tidegate.sync.author import Author
from tidegate.sync.rules.replica import Replica
from tidegate.sync.store import ReplicaStore

NAMES = ("alerts", "documents", "local")
"""Two that all share, and the site's own."""


class SiteLab:
    """A site whose collections feed one index; it may write all of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = ReplicaStore(path / "site.db", "site1", "a" * 16)
        for name in NAMES:
            owner = "site" if name == "local" else "shared"
            self.store.put_collection(Collection(tenant="kiosk", name=name, owner=owner, sites_write=True))  # type: ignore[arg-type]
            with self.store.writing() as writer:  # it is whole, as after a snapshot
                writer.put_record(msgspec.structs.replace(writer.record(name), replica=Replica(generation=1)))
        self.author = Author(self.store, Keys("site1"))
        self.index = HybridIndex.open(path / "index", LETTERS)
        self.follower = IndexFollower(self.store, self.index)

    def write(self, collection: str) -> None:
        """A document that says whose it is."""
        written = document("hours", f"# Hours\n\nThose of {collection}.")
        self.author.write_all(collection, dict(contents_of([written], LETTERS)), NOW)
        self.follower.follow(collection)

    def delete(self, collection: str) -> None:
        self.author.delete(collection, "hours", NOW)
        self.follower.follow(collection)

    def found(self) -> list[tuple[str, str]]:
        """Whose the document is, by its text and by its source."""
        passages = self.index.search("hours", LETTERS.embed("hours"), 9, "en")
        return [(each.text.rpartition(" ")[2].rstrip("."), each.collection) for each in passages]

    def faults(self) -> dict[str, str]:
        """Of each collection that has to give way, to whom."""
        faults = {name: self.follower.faults(name).get("hours", "") for name in NAMES}
        return {name: fault.removeprefix(TAKEN).split()[0] for name, fault in faults.items() if fault}


@pytest.fixture
def lab(tmp_path: Path) -> SiteLab:
    return SiteLab(tmp_path)


@pytest.mark.parametrize("order", list(permutations(NAMES)))
def test_what_is_shared_has_the_id_whatever_came_first(lab: SiteLab, order: tuple[str, ...]) -> None:
    for collection in order:
        lab.write(collection)
    assert lab.found() == [("alerts", "alerts")]
    assert lab.faults() == {"documents": "alerts", "local": "alerts"}
    for collection in order:
        assert lab.follower.start(collection).put == 0


STEPS: dict[str, Callable[[SiteLab], object]] = {
    "it is deleted": lambda lab: lab.delete("alerts"),
    "its collection is forgotten": lambda lab: lab.follower.forget("alerts"),
}


@pytest.mark.parametrize("step", STEPS)
def test_who_gave_way_comes_in_when_the_other_goes(lab: SiteLab, step: str) -> None:
    for collection in NAMES:
        lab.write(collection)
    lab.write("documents")
    STEPS[step](lab)
    assert lab.found() == [("documents", "documents")]
    assert lab.faults() == {"local": "documents"}
    lab.delete("local")
    assert lab.found() == [("documents", "documents")]
    lab.delete("documents")
    assert lab.found() == []
    assert lab.faults() == {}


def test_who_gave_way_comes_in_as_it_is_now(lab: SiteLab) -> None:
    lab.write("local")
    lab.write("alerts")
    newer = document("hours", "# Hours\n\nThose of tomorrow.")
    lab.author.write_all("local", dict(contents_of([newer], LETTERS)), NOW)
    lab.delete("alerts")
    assert lab.found() == [("tomorrow", "local")]
    with lab.store.reading() as reader:
        assert lab.index.sources("local")["hours"].digest == reader.digest_of("local", "hours")
    assert lab.follower.follow("local").put == 0
    assert lab.found() == [("tomorrow", "local")]


def test_who_gave_way_and_is_damaged_comes_in_when_it_is_repaired(lab: SiteLab) -> None:
    lab.write("local")
    lab.write("alerts")
    with lab.store.reading() as reader:
        held = reader.held("local", "hours")
    with sqlite3.connect(lab.path / "site.db") as disk:
        disk.execute("UPDATE documents SET content = x'00' WHERE collection = 'local'")
    disk.close()
    lab.delete("alerts")
    assert lab.found() == []
    with lab.store.writing() as writer:
        writer.put_held("local", "hours", held)
    lab.follower.follow("local")
    assert lab.found() == [("local", "local")]


def test_a_collection_that_is_owned_otherwise_now_is_settled_anew(lab: SiteLab) -> None:
    lab.write("documents")
    lab.write("local")
    lab.store.put_collection(Collection(tenant="kiosk", name="documents", owner="site"))
    lab.store.put_collection(Collection(tenant="kiosk", name="local", owner="shared", sites_write=True))
    lab.write("local")
    assert lab.found() == [("local", "local")]
    assert lab.faults() == {"documents": "local"}
