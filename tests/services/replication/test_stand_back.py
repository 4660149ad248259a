"""Indexing waits while much is taken in: not for little, not for long, and not when the worker ends."""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.replica_parts import ReplicaLab
from tidegate.services.knowledge.replica import index_follower
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.replication.stand_back import EACH_S, MANY, QUIET_S, WHOLE_S, StandBack

Batches = list[tuple[float, int]]
STEADY = 10 * MANY


class Hands:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(batches: Batches) -> tuple[StandBack, Hands]:
    """What was taken, each so many seconds after the one before."""
    clock = Hands()
    standing = StandBack(clock)
    for after_s, messages in batches:
        clock.now += after_s
        standing.took(messages)
    return standing, clock


batches = st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 4 * MANY)), max_size=60)


@given(batches)
def test_who_waits_goes_on_within_the_bound_whatever_was_taken(given_batches: Batches) -> None:
    standing, clock = taken(given_batches)
    delay_s = standing.delay_s()
    assert 0.0 <= delay_s <= QUIET_S
    clock.now += delay_s + 1e-6
    assert standing.delay_s() == 0.0


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, MANY - 1)), max_size=60))
def test_a_few_messages_hold_nothing_up(few: Batches) -> None:
    standing, _ = taken(few)
    assert standing.delay_s() == 0.0


@given(st.floats(0.05, QUIET_S))
def test_in_a_backlog_without_an_end_it_gets_on_seldom_and_at_last_as_ever(every_s: float) -> None:
    standing, clock = taken([(0.0, STEADY)])
    began, went_on = clock.now, list[float]()
    while clock.now - began < 2 * WHOLE_S:
        if standing.delay_s() == 0.0:
            standing.wait()
            went_on.append(clock.now - began)
        clock.now += every_s
        standing.took(STEADY)
    waited = [after - before for before, after in pairwise([0.0, *went_on])]
    held_up = [pause_s for pause_s, at_s in zip(waited, went_on, strict=True) if at_s < WHOLE_S]
    assert all(EACH_S <= pause_s <= EACH_S + every_s for pause_s in held_up)
    assert len(held_up) >= WHOLE_S / (EACH_S + every_s) - 1
    assert max(waited) <= EACH_S + every_s
    assert all(pause_s <= 1.01 * every_s for pause_s in waited[len(held_up) + 1 :])


def test_the_next_backlog_has_its_own_time() -> None:
    standing, clock = taken([(0.0, MANY), *[(QUIET_S, MANY)] * int(WHOLE_S / QUIET_S)])
    assert standing.delay_s() == 0.0
    clock.now += QUIET_S + 0.1
    standing.took(MANY)
    assert standing.delay_s() == pytest.approx(QUIET_S)


@given(st.floats(QUIET_S, 4 * QUIET_S))
def test_a_batch_that_takes_long_holds_the_indexing_up_as_one_that_is_quick(each_s: float) -> None:
    clock = Hands()
    standing, began, went_on = StandBack(clock), clock.now, list[float]()
    while clock.now - began < WHOLE_S:
        standing.took(STEADY, False)
        for _ in range(4):
            clock.now += each_s / 4
            if standing.delay_s() == 0.0:
                standing.wait()
                went_on.append(clock.now - began)
        standing.took(STEADY, True)
    waited = [after - before for before, after in pairwise([0.0, *went_on]) if after < WHOLE_S]
    assert len(waited) >= WHOLE_S / (EACH_S + each_s) - 1
    assert min(waited) >= EACH_S - 1e-6
    clock.now += QUIET_S + 0.1
    assert standing.delay_s() == 0.0, "none is in hand"


def test_waiting_ends_with_the_worker() -> None:
    standing = StandBack()
    standing.took(MANY)
    waiting = threading.Thread(target=standing.wait)
    began = time.monotonic()
    waiting.start()
    standing.end()
    waiting.join(QUIET_S)
    assert time.monotonic() - began < QUIET_S / 2


def test_the_index_asks_before_each_batch_of_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_follower, "BATCH", 2)
    lab = ReplicaLab(tmp_path)
    lab.write()
    asked: list[int] = []
    follower = IndexFollower(lab.store, lab.index, stand_back=lambda: asked.append(len(lab.held())))
    outcome = follower.start("documents")
    assert asked == list(range(0, outcome.put, 2))
    follower.follow("documents")
    assert len(asked) == -(-outcome.put // 2), "with nothing to index nobody waits"
