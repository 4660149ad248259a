"""Siblings converge whatever is lost, repeated, reordered or partitioned, and nothing that was deleted comes back."""

from __future__ import annotations

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.support.document_authors import Author, content
from tidegate.schemas import Dot, SignedOperation, UnreadableError
from tidegate.sync.rules.clock import NOTHING, clock_of, compare_versions, covers, merge
from tidegate.sync.rules.merge import (
    NO_VERSIONS,
    ForkedDotError,
    Siblings,
    Version,
    context_of_edit,
    join,
    may_forget,
    reconcile,
    version_of,
)
from tidegate.sync.rules.resolve import resolve


def joined(*versions: Version) -> Siblings:
    state = NO_VERSIONS
    for version in versions:
        state = join(state, version)
    return state


def texts(siblings: Siblings) -> set[str | None]:
    contents = [version.operation.content for version in siblings.versions]
    return {None if each is None else each.text for each in contents}


def test_an_edit_replaces_what_its_author_had_seen_and_nothing_else() -> None:
    one, two = Author("site1@1"), Author("site2@1")
    first = one.write("d", NOTHING, content("a"))
    apart = two.write("d", NOTHING, content("b"))
    second = one.write("d", joined(first).clock, content("c"))
    assert texts(joined(first, second)) == {"c"}
    assert texts(joined(first, second, apart)) == texts(joined(apart, second, first)) == {"b", "c"}
    after = two.write("d", joined(first, second, apart).clock, content("d"))
    assert joined(first, apart, second, after).versions == joined(after).versions == (after,)


def test_a_duplicate_and_what_was_replaced_already_change_nothing() -> None:
    one = Author("site1@1")
    first = one.write("d", NOTHING, content("a"))
    second = one.write("d", joined(first).clock, content("b"))
    state = joined(first, second)
    assert join(state, first) is state
    assert join(state, second) == state


def test_two_edits_of_one_site_from_one_stale_page_are_siblings() -> None:
    one = Author("site1@1")
    page = joined(one.write("d", NOTHING, content("a")))
    first, second = (one.write("d", page.clock, content(text)) for text in ("b", "c"))
    assert texts(joined(*page.versions, first, second)) == {"b", "c"}


def test_delete_then_recreate_is_no_conflict() -> None:
    """couchbase-lite-core#2489: a tombstone and the document created anew under its id looked like siblings."""
    one, two = Author("site1@1"), Author("site2@1")
    created = one.write("d", NOTHING, content("a"))
    deleted = one.write("d", joined(created).clock, None)
    recreated = two.write("d", context_of_edit(joined(created, deleted), NOTHING), content("b"))
    for order in ((created, deleted, recreated), (recreated, deleted, created), (deleted, recreated, created)):
        assert resolve(joined(*order), "ask").conflict is None
        assert texts(joined(*order)) == {"b"}


def test_delete_then_recreate_is_no_conflict_where_the_tombstone_is_forgotten_already() -> None:
    one, two = Author("site1@1"), Author("site2@1")
    tombstone = one.write("d", NOTHING, None)
    state = joined(tombstone)
    assert not may_forget(state, NOTHING)
    assert may_forget(state, clock_of([tombstone.operation.dot]))
    floor = state.clock
    recreated = two.write("d", context_of_edit(NO_VERSIONS, floor), content("b"))
    slow_replica = joined(tombstone, recreated)
    assert slow_replica.versions == (recreated,)
    assert not may_forget(joined(recreated), slow_replica.clock), "it is not deleted any more"


def test_what_is_forgotten_on_one_side_is_not_resurrected_by_the_other() -> None:
    one, two = Author("site1@1"), Author("site2@1")
    created = one.write("d", NOTHING, content("a"))
    deleted = two.write("d", joined(created).clock, None)
    floor = joined(created, deleted).clock
    stale = joined(created)
    assert reconcile(stale, NO_VERSIONS, NOTHING, floor).versions == ()
    assert reconcile(NO_VERSIONS, stale, floor, NOTHING).versions == ()
    newer = two.write("d", NOTHING, content("b"))
    assert texts(reconcile(joined(newer), NO_VERSIONS, NOTHING, floor)) == {"b"}, "written after it was forgotten"
    assert texts(reconcile(stale, stale, floor, floor)) == {"a"}, "both still have it"


def test_two_operations_with_one_dot_are_a_cloned_author() -> None:
    disk, clone = Author("site1@1"), Author("site1@1")
    first, second = disk.write("d", NOTHING, content("a")), clone.write("d", NOTHING, content("b"))
    with pytest.raises(ForkedDotError, match="two operations on d have the dot site1@1:1") as forked:
        joined(first, second)
    assert "fence" in forked.value.hint
    with pytest.raises(ForkedDotError):
        reconcile(joined(first), joined(second), NOTHING, NOTHING)


def test_bytes_that_are_no_operation_are_unreadable() -> None:
    with pytest.raises(UnreadableError):
        version_of(SignedOperation(payload=b"\x80", signature=bytes(64)))


SITES = ("hub@1", "site1@1", "site2@1")
sites = st.sampled_from(SITES)


class Replicas(RuleBasedStateMachine):
    """Three sites that edit one document; whatever the network does, what arrived decides, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.authors = {site: Author(site) for site in SITES}
        self.states = dict.fromkeys(SITES, NO_VERSIONS)
        self.arrived: dict[str, dict[Dot, Version]] = {site: {} for site in SITES}
        self.written: list[Version] = []

    @rule(site=sites, text=st.sampled_from("abc"), deletes=st.booleans(), ms=st.integers(1, 3))
    def edit(self, site: str, text: str, deletes: bool, ms: int) -> None:
        context = context_of_edit(self.states[site], NOTHING)
        version = self.authors[site].write("d", context, None if deletes else content(text), ms)
        self.written.append(version)
        self._arrives(version, site)
        assert self.states[site].versions == (version,), "whoever writes sees what was written"

    @rule(site=sites, data=st.data())
    def deliver(self, site: str, data: st.DataObject) -> None:
        if self.written:
            self._arrives(data.draw(st.sampled_from(self.written)), site)

    @rule(site=sites, other=sites)
    def compare(self, site: str, other: str) -> None:
        both = reconcile(self.states[site], self.states[other], NOTHING, NOTHING)
        assert both == reconcile(self.states[other], self.states[site], NOTHING, NOTHING)
        assert both == reconcile(both, self.states[other], NOTHING, NOTHING) == reconcile(both, both, NOTHING, NOTHING)
        both_arrived = self.arrived[site] | self.arrived[other]
        self.arrived[site], self.arrived[other] = dict(both_arrived), both_arrived
        self.states[site] = self.states[other] = both

    @invariant()
    def state_is_a_function_of_what_arrived(self) -> None:
        for site, state in self.states.items():
            seen = self.arrived[site]
            replaced = merge(version.operation.context for version in seen.values())
            left = [seen[dot] for dot in sorted(seen) if not covers(replaced, dot)]
            assert list(state.versions) == left
            assert state.context == replaced
            pairs = [(each.operation.dot, each.operation.context) for each in state.versions]
            assert all(compare_versions(a, b) == "concurrent" for a in pairs for b in pairs if a != b)

    def _arrives(self, version: Version, site: str) -> None:
        self.arrived[site][version.operation.dot] = version
        self.states[site] = join(self.states[site], version)

    def teardown(self) -> None:
        for turn, site in enumerate(SITES):
            for version in self.written[::-1] if turn else self.written:
                self.states[site] = join(self.states[site], version)
        note(f"{len(self.written)} operations")
        first, *others = self.states.values()
        assert others == [first, first], "all have all operations, in different orders"
        assert len({state.digest for state in self.states.values()}) == 1


Replicas.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, print_blob=True)
TestReplicas = Replicas.TestCase
