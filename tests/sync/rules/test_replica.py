"""A replica's table is total, and its numbered invariants hold over whatever happens in whatever order."""

from __future__ import annotations

from itertools import product
from typing import get_args

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.schemas import LogPosition
from tidegate.sync.rules.replica import (
    EVENTS,
    LIFTED_BY,
    NEEDS_LEASE,
    TABLE,
    Replica,
    ReplicaAction,
    ReplicaEvent,
    ReplicaEventKind,
    ReplicaState,
    Step,
    UnknownEventError,
    step,
)

WITH_POSITION = ("delta-next", "snapshot-verified")


def test_every_state_has_a_cell_for_every_event() -> None:
    assert set(TABLE) == set(product(get_args(ReplicaState), EVENTS))
    assert {cell.state for cell in TABLE.values()} == set(get_args(ReplicaState))
    assert {action for cell in TABLE.values() for action in cell.actions} == set(get_args(ReplicaAction))


def event(kind: ReplicaEventKind, epoch: int = 1, index: int = 1) -> ReplicaEvent:
    return ReplicaEvent(kind, LogPosition(epoch, index) if kind in WITH_POSITION else None)


positions = st.builds(LogPosition, st.integers(1, 3), st.integers(0, 6))
events = st.builds(ReplicaEvent, st.sampled_from(EVENTS), positions)


def check_invariants(before: Replica, seen: ReplicaEvent, after: Step) -> None:
    """The invariants that the module numbers, one step of a replica at a time."""
    now, actions = after.replica, set(after.actions)
    assert actions, "the shell always knows what to do"
    moved = now.position != before.position
    if before.state in ("fenced", "revoked"):  # 1
        assert not actions & {"install", "apply"}
        assert now.state == "revoked" or before.state == "fenced"
    if moved and "discard" not in actions:  # 2
        assert now.position
        assert before.position is None or now.position > before.position or seen.kind == "snapshot-verified"
    if "apply" in actions:  # 3
        expected = LogPosition(before.position.epoch, before.position.index + 1) if before.position else now.position
        assert now.position == expected == seen.position
        assert now.position
        assert before.position or now.position.index == 1
    if now.generation > before.generation:  # 4
        assert (
            actions & {"install", "apply"}
            or (before.state, now.state) == ("lagging", "following")
            or (
                before.state,
                now.state,
            )
            == ("empty", "following")
        )
        assert not ("apply" in actions and before.generation == 0)
    assert now.generation >= 1 or now.state != "following"
    check_guards(before, seen, after)


def check_guards(before: Replica, seen: ReplicaEvent, after: Step) -> None:
    """The invariants of what is kept, leases, fences and alarms."""
    now, actions = after.replica, set(after.actions)
    if now.generation < before.generation:  # 5
        assert seen.kind == "wiped"
        assert now.generation == 0
    if not now.may_read:  # 6
        assert not actions & NEEDS_LEASE
    if now.state != "revoked":  # 7
        assert (now.state == "fenced") == bool(now.fences)
    for fence in set(before.fences) - set(now.fences):
        lifters = {kind for kind, lifted in LIFTED_BY.items() if lifted == fence}
        later = bool(seen.position and before.position and seen.position.epoch > before.position.epoch)
        assert seen.kind in lifters or (seen.kind == "delta-next" and later)
    if seen.kind in ("origin-rolled-back", "counter-went-back", "snapshot-refused") and before.state != "revoked":  # 8
        assert "alarm" in actions
    if (now.state == "repairing") and before.state != "repairing":
        assert "alarm" in actions


@given(st.booleans(), st.lists(events, max_size=30))
@example(False, [event("snapshot-verified", 2, 4), event("origin-rolled-back"), event("epoch-begun")])
@example(False, [event("counter-went-back"), event("origin-rolled-back"), event("readmitted"), event("epoch-begun")])
def test_the_invariants_hold_over_whatever_happens(is_sensitive: bool, happens: list[ReplicaEvent]) -> None:
    replica = Replica(is_sensitive=is_sensitive)
    for each in happens:
        after = step(replica, each)
        check_invariants(replica, each, after)
        replica = after.replica


def after(*happens: ReplicaEvent, is_sensitive: bool = False) -> Step:
    latest = Step(Replica(is_sensitive=is_sensitive), ())
    for each in happens:
        latest = step(latest.replica, each)
    return latest


def test_a_replica_is_filled_by_a_snapshot_and_its_tail_and_then_follows() -> None:
    filled = after(event("snapshot-needed"), event("snapshot-verified", 2, 40), event("delta-next", 2, 41))
    assert filled.replica == Replica(state="lagging", position=LogPosition(2, 41), generation=2, is_sensitive=False)
    assert filled.actions == ("apply",)
    assert after(event("delta-next"), event("delta-next", index=2)).replica.generation == 0, "not whole yet"
    assert after(event("delta-next"), event("caught-up")).replica == Replica(
        state="following", position=LogPosition(1, 1), generation=1, is_sensitive=False
    )


@pytest.mark.parametrize(
    ("position", "actions", "state", "applied"),
    [
        ((2, 41), ("apply",), "lagging", True),
        ((2, 40), ("ignore",), "lagging", False),
        ((1, 99), ("ignore",), "lagging", False),
        ((2, 43), ("fetch-tail",), "lagging", False),
        ((3, 1), ("fetch-snapshot",), "restoring", False),
    ],
)
def test_a_delta_is_what_its_position_says_it_is(
    position: tuple[int, int], actions: tuple[str, ...], state: ReplicaState, applied: bool
) -> None:
    reached = after(event("snapshot-needed"), event("snapshot-verified", 2, 40), event("delta-next", *position))
    assert (reached.actions, reached.replica.state) == (actions, state)
    assert reached.replica.position == LogPosition(*(position if applied else (2, 40)))


def test_an_older_snapshot_is_refused_even_if_it_is_signed() -> None:
    held = (event("snapshot-verified", 2, 40),)
    refused = after(*held, event("snapshot-verified", 2, 39))
    assert refused.actions == ("alarm",)
    assert refused.replica.position == LogPosition(2, 40)
    assert after(*held, event("snapshot-verified", 2, 40)).actions == ("install",), "the same heals what drifted"


def test_a_rolled_back_origin_fences_until_the_hub_begins_a_new_epoch() -> None:
    fenced = after(event("snapshot-verified", 2, 40), event("origin-rolled-back"))
    assert fenced.actions == ("hold", "alarm")
    assert (fenced.replica.state, fenced.replica.generation) == ("fenced", 1), "it goes on serving what it has"
    assert step(fenced.replica, event("delta-next", 2, 41)).actions == ("ignore",)
    assert step(fenced.replica, event("readmitted")).replica == fenced.replica
    lifted = step(fenced.replica, event("epoch-begun"))
    assert (lifted.replica.state, lifted.replica.fences, lifted.actions) == ("restoring", (), ("fetch-snapshot",))


def test_each_of_two_fences_is_lifted_by_its_own_event() -> None:
    both = after(event("counter-went-back"), event("origin-rolled-back"))
    one = step(both.replica, event("readmitted"))
    assert (one.replica.state, one.replica.fences, one.actions) == ("fenced", ("origin-rolled-back",), ("ignore",))
    assert step(one.replica, event("epoch-begun")).replica.state == "restoring"


def test_the_end_of_the_log_makes_no_generation_of_a_snapshot_that_is_not_there_yet() -> None:
    restoring = after(event("snapshot-needed"), event("caught-up"))
    assert (restoring.replica.state, restoring.replica.generation) == ("restoring", 0)


def test_without_a_lease_nothing_sensitive_is_read_and_with_one_it_goes_on() -> None:
    waiting = after(event("snapshot-needed"), is_sensitive=True)
    assert (waiting.replica.state, waiting.actions) == ("restoring", ("hold",))
    assert step(waiting.replica, event("snapshot-verified", 1, 9)) == Step(waiting.replica, ("hold", "plan"))
    leased = step(waiting.replica, event("lease-granted"))
    assert leased.actions == ("fetch-snapshot",)
    held = step(leased.replica, event("snapshot-verified", 1, 9))
    assert held.actions == ("install", "plan")
    expired = step(held.replica, event("lease-expired"))
    assert step(expired.replica, event("delta-next", 1, 10)) == Step(expired.replica, ("hold",))
    assert step(expired.replica, event("lease-granted")).actions == ("plan",)


def test_a_revoked_site_reads_nothing_ever_again() -> None:
    revoked = after(event("lease-granted"), event("snapshot-verified", 1, 9), event("revoked"), is_sensitive=True)
    assert revoked.actions == ("hold", "alarm")
    assert not revoked.replica.has_lease
    for kind in EVENTS:
        assert step(revoked.replica, event(kind, 9, 9)) == Step(revoked.replica, ("ignore",))


def test_drift_is_repaired_in_place_and_a_disk_that_is_empty_starts_anew() -> None:
    drifted = after(event("snapshot-verified", 1, 9), event("caught-up"), event("drift-found"))
    assert (drifted.replica.state, drifted.actions) == ("repairing", ("compare", "alarm"))
    assert step(drifted.replica, event("delta-next", 1, 10)).actions == ("apply",), "it does not fall behind meanwhile"
    assert step(drifted.replica, event("repair-done")).replica.state == "lagging"
    assert step(drifted.replica, event("repair-failed")).actions == ("fetch-snapshot", "alarm")
    wiped = step(drifted.replica, event("wiped"))
    assert wiped.replica == Replica(state="restoring", is_sensitive=False)
    assert wiped.actions == ("discard", "fetch-snapshot", "alarm")


@pytest.mark.parametrize("kind", WITH_POSITION)
def test_an_event_without_its_position_is_an_error(kind: ReplicaEventKind) -> None:
    with pytest.raises(UnknownEventError, match=f"{kind} without a position"):
        step(Replica(), ReplicaEvent(kind))


def test_a_replica_is_stored_and_read_back() -> None:
    replica = after(event("snapshot-verified", 2, 40), event("origin-rolled-back")).replica
    assert msgspec.json.decode(msgspec.json.encode(replica), type=Replica) == replica
