"""Tombstones are forgotten, and nothing that was deleted comes back, whoever was away and whatever was edited there."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.document_authors import Author, content
from tidegate.schemas import VectorClock, replace
from tidegate.sync.rules.clock import NOTHING, clock_from, compare, merge
from tidegate.sync.rules.forgetting import SeenClock, is_forgetting_due, needs_tombstone, stable_clock
from tidegate.sync.rules.merge import (
    NO_VERSIONS,
    Siblings,
    Version,
    context_of_edit,
    join,
    may_forget,
    rejoin,
)
from tidegate.sync.rules.resolve import resolve

DAY_MS = 86_400_000
HELD = clock_from({"hub@1": 9, "site1@1": 5})


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param([], {"hub@1": 9, "site1@1": 5}, id="no replica at all"),
        pytest.param([({"hub@1": 9, "site1@1": 5}, 0)], {"hub@1": 9, "site1@1": 5}, id="all have all"),
        pytest.param([({"hub@1": 4, "site1@1": 5}, 0)], {"hub@1": 4, "site1@1": 5}, id="one is behind"),
        pytest.param([({"hub@1": 4}, 1), ({"hub@1": 9, "site1@1": 3}, 0)], {"hub@1": 4}, id="each in another"),
        pytest.param([({"hub@1": 4}, 30)], {"hub@1": 9, "site1@1": 5}, id="one was away for too long"),
        pytest.param([({}, 29)], {}, id="one is not, yet"),
        pytest.param([({"hub@1": 99, "site9@1": 7}, 0)], {"hub@1": 9}, id="one knows more than the hub"),
    ],
)
def test_what_every_replica_has(seen: list[tuple[dict[str, int], int]], expected: dict[str, int]) -> None:
    now_ms = 100 * DAY_MS
    replicas = [SeenClock(clock_from(counters), now_ms - days * DAY_MS) for counters, days in seen]
    assert stable_clock(HELD, replicas, now_ms, 30 * DAY_MS) == clock_from(expected)


@pytest.mark.parametrize(
    ("forgettable", "documents", "is_due"),
    [(0, 0, False), (99, 100, False), (100, 400, True), (100, 401, False), (1000, 1000, True)],
)
def test_few_tombstones_are_worth_no_snapshot(forgettable: int, documents: int, is_due: bool) -> None:
    assert is_forgetting_due(forgettable, documents, least=100) == is_due


def test_only_an_edit_by_who_has_not_heard_of_the_deletion_needs_a_tombstone() -> None:
    floor = clock_from({"hub@1": 3})
    author = Author("site1@1")
    edit = author.write("d", clock_from({"hub@1": 2}), content("edited")).operation
    assert needs_tombstone(edit, floor)
    assert not needs_tombstone(edit, NOTHING), "nothing was forgotten"
    assert not needs_tombstone(replace(edit, is_new=True), floor), "another document of this name"
    assert not needs_tombstone(replace(edit, content=None), floor)
    assert not needs_tombstone(replace(edit, context=clock_from({"hub@1": 3, "site2@1": 1})), floor)


class Replica:
    """What one domain holds of a collection, and what its author wrote and has not sent."""

    def __init__(self, name: str) -> None:
        self.author = Author(f"{name}@1")
        self.documents: dict[str, Siblings] = {}
        self.floor = NOTHING
        self.epoch, self.position = 1, 0
        self.outbox: list[Version] = []

    def held(self, document_id: str) -> Siblings:
        return self.documents.get(document_id, NO_VERSIONS)

    def apply(self, version: Version) -> None:
        document_id = version.operation.document_id
        siblings = join(self.held(document_id), version)
        if siblings != NO_VERSIONS:
            self.documents[document_id] = siblings

    def write(self, document_id: str, text: str | None) -> Version:
        siblings = self.held(document_id)
        written = content(text) if text is not None else None
        is_new = text is not None and siblings.is_deleted
        version = self.author.write(document_id, context_of_edit(siblings, self.floor), written, is_new=is_new)
        self.apply(version)
        return version

    def texts(self) -> dict[str, str]:
        found = {each: resolve(siblings, "ask").content for each, siblings in self.documents.items()}
        return {each: written.text for each, written in found.items() if written is not None}


NAMES = st.sampled_from(["a", "b", "c"])
SITES = st.sampled_from([0, 1, 2])


class ForgettingHub(RuleBasedStateMachine):
    """A hub that forgets whatever it may, at any moment, and sites that come back whenever they like."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Replica("hub")
        self.sites = [Replica(f"site{number}") for number in range(3)]
        self.log: list[Version] = []
        self.gone: set[str] = set()
        """Documents that are deleted at the hub, and that nobody has written anew."""
        self.texts = 0

    @rule(site=SITES, name=NAMES, deletes=st.booleans())
    def edit(self, site: int, name: str, deletes: bool) -> None:
        replica = self.sites[site]
        if deletes and replica.held(name).is_deleted:
            return
        self.texts += 1
        replica.outbox.append(replica.write(name, None if deletes else f"text {self.texts}"))

    @rule(site=SITES, most=st.integers(1, 3))
    def send(self, site: int, most: int) -> None:
        replica = self.sites[site]
        sent, replica.outbox = replica.outbox[:most], replica.outbox[most:]
        made: set[str] = set()
        for version in sent:
            operation = version.operation
            made |= {operation.document_id} if operation.is_new else set()
            is_held = operation.document_id in self.hub.documents
            if operation.document_id not in made and not is_held and needs_tombstone(operation, self.hub.floor):
                again = self.hub.author.write(operation.document_id, self.hub.floor, None)
                self.hub.apply(again)
                self.log.append(again)
        for version in sent:
            self.hub.apply(version)
            self.log.append(version)
            name = version.operation.document_id
            if version.operation.is_new:
                self.gone.discard(name)
            elif self.hub.held(name).is_deleted:
                self.gone.add(name)

    @rule(site=SITES)
    def follow(self, site: int) -> None:
        """Come to the end of the log: by a snapshot where it began a new epoch."""
        replica = self.sites[site]
        if replica.epoch == self.hub.epoch:
            for version in self.log[replica.position :]:
                replica.apply(version)
        else:
            for name in {*replica.documents, *self.hub.documents}:
                siblings = rejoin(replica.held(name), self.hub.held(name), replica.floor, self.hub.floor)
                is_gone = not siblings.versions and covers_all(self.hub.floor, siblings.clock)
                replica.documents.pop(name, None)
                if not is_gone:
                    replica.documents[name] = siblings
            replica.floor, replica.epoch = merge((replica.floor, self.hub.floor)), self.hub.epoch
        replica.position = len(self.log)

    @rule()
    def forget(self) -> None:
        """Whatever is relayed, as where all sites are away for longer than the horizon: the hardest case."""
        held = clock_from({each.operation.dot.actor: each.operation.dot.counter for each in self.log})
        stable = stable_clock(merge((held, self.hub.floor)), [], 0, 1)
        forgotten = {name: each.clock for name, each in self.hub.documents.items() if may_forget(each, stable)}
        if forgotten:
            self.hub.floor = merge((self.hub.floor, *forgotten.values()))
            for name in forgotten:
                del self.hub.documents[name]
            self.hub.epoch, self.log = self.hub.epoch + 1, []

    @invariant()
    def nothing_comes_back(self) -> None:
        assert not self.gone & set(self.hub.texts())

    def teardown(self) -> None:
        """All come back in the end, and hold the same."""
        for number, replica in enumerate(self.sites):
            self.send(number, len(replica.outbox))
        self.nothing_comes_back()
        for number, replica in enumerate(self.sites):
            self.follow(number)
            assert replica.texts() == self.hub.texts()
            assert replica.documents == self.hub.documents


def covers_all(floor: VectorClock, clock: VectorClock) -> bool:
    return compare(clock, floor) in ("before", "equal")


TestForgetting = ForgettingHub.TestCase
TestForgetting.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
