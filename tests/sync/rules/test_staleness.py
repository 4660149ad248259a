"""Age is judged by what passed since the hub told the time; no clock of the machine alone makes anything younger."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import StalenessBudget
from tidegate.schemas.artefact import Rung
from tidegate.sync.rules.staleness import (
    RUNGS,
    HeldArtefact,
    Now,
    Standing,
    TimeJudgement,
    TimeWentBackError,
    TrustedTime,
    checkpoint,
    judge_time,
    rung_at,
    standing,
    trust,
)

FIRST, SECOND = "aa" * 8, "bb" * 8
HUB = 1_000_000
KNOWN = TrustedTime(trusted_ms=HUB, boot_id=FIRST, monotonic_ms=500, wall_ms=40)
BUDGET = StalenessBudget(soft_s=10, hard_s=60, at_hard="evidence-only", closed_s=600)


def at(monotonic_ms: int, wall_ms: int = 40, boot_id: str = FIRST) -> Now:
    return Now(boot_id=boot_id, monotonic_ms=monotonic_ms, wall_ms=wall_ms)


@pytest.mark.parametrize(
    ("now", "passed_ms", "is_doubtful"),
    [
        (at(500), 0, False),
        (at(1500), 1000, False),
        (at(1500, wall_ms=9_999_999), 1000, False),  # in one start the wall clock has no say
        (at(1500, wall_ms=0), 1000, False),
        (at(300, boot_id=SECOND), 300, True),  # the wall stood still while it was off
        (at(300, wall_ms=5040, boot_id=SECOND), 5000, True),  # it was off for a while
        (at(300, wall_ms=0, boot_id=SECOND), 300, True),  # it was set back: nothing gets younger
    ],
)
def test_time_passes_by_the_monotonic_clock_and_the_wall_only_adds(now: Now, passed_ms: int, is_doubtful: bool) -> None:
    assert judge_time(KNOWN, now) == TimeJudgement(trusted_ms=HUB + passed_ms, is_doubtful=is_doubtful)


def test_a_monotonic_clock_that_went_back_is_another_machine_s() -> None:
    with pytest.raises(TimeWentBackError, match="1 ms before"):
        judge_time(KNOWN, at(499))


def test_what_is_stored_survives_a_restart() -> None:
    stored = checkpoint(KNOWN, at(10_500, wall_ms=10_040))
    assert judge_time(stored, at(200, wall_ms=0, boot_id=SECOND)).trusted_ms == HUB + 10_200
    again = checkpoint(stored, at(200, wall_ms=0, boot_id=SECOND))
    assert judge_time(again, at(300, wall_ms=0, boot_id=SECOND)) == TimeJudgement(trusted_ms=HUB + 10_300)


@pytest.mark.parametrize(
    ("hub_time_ms", "is_live", "trusted_ms"),
    [
        (HUB + 9000, False, HUB + 9000),
        (HUB + 400, False, HUB + 1000),  # an old message, sent again: 1000 ms have passed since
        (HUB + 400, True, HUB + 400),  # the answer to a nonce: our clock ran ahead
        (HUB, True, HUB + 1000),
        (HUB - 5, True, HUB + 1000),  # the hub's own clock went back
        (HUB - 5, False, HUB + 1000),
    ],
)
def test_a_time_of_the_hub_is_taken_where_it_cannot_be_a_replay(
    hub_time_ms: int, is_live: bool, trusted_ms: int
) -> None:
    now = at(1500)
    assert judge_time(trust(hub_time_ms, now, KNOWN, is_live), now).trusted_ms == trusted_ms
    assert judge_time(trust(hub_time_ms, now), now).trusted_ms == hub_time_ms


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(-5000, 5000), st.booleans()), max_size=12))
def test_no_restart_and_no_wall_clock_makes_anything_younger(steps: list[tuple[int, int, bool]]) -> None:
    known, monotonic_ms, boot, really_ms = KNOWN, 500, 0, 0
    last = judge_time(known, at(500)).trusted_ms
    for passed_ms, wall_ms, restarts in steps:
        boot, monotonic_ms = (boot + 1, 0) if restarts else (boot, monotonic_ms)
        monotonic_ms, really_ms = monotonic_ms + passed_ms, really_ms + passed_ms
        now = at(monotonic_ms, wall_ms, f"{boot:016x}" if boot else FIRST)
        judged = judge_time(known, now).trusted_ms
        assert judged >= max(last, HUB + really_ms)
        known, last = checkpoint(known, now), judged


@pytest.mark.parametrize(
    ("age_s", "rung"),
    [(0, "full"), (59.999, "full"), (60, "evidence-only"), (599.999, "evidence-only"), (600, "closed")],
)
def test_a_budget_says_which_rung_an_age_allows(age_s: float, rung: Rung) -> None:
    assert rung_at(int(age_s * 1000), BUDGET) == rung


def test_age_alone_does_not_close_where_the_budget_does_not_say_so() -> None:
    assert rung_at(10**12, StalenessBudget(soft_s=1, hard_s=2, at_hard="local-only")) == "local-only"


def held(name: str, age_s: int, at_hard: Rung = "evidence-only") -> HeldArtefact:
    budget = StalenessBudget(soft_s=10, hard_s=60, at_hard=at_hard)
    return HeldArtefact(name=name, budget=budget, current_at_ms=HUB - age_s * 1000)


@pytest.mark.parametrize(
    ("artefacts", "is_linked", "expected"),
    [
        ((), True, Standing(rung="closed", because=("nothing is in force",))),
        ((held("a", 0),), True, Standing(rung="full")),
        ((held("a", -5),), True, Standing(rung="full")),  # from after the trusted time
        ((held("a", 0),), False, Standing(rung="local-only", because=("the link is down",))),
        ((held("b", 10), held("a", 11)), True, Standing(rung="full", stale=("a", "b"))),
        ((held("a", 60), held("b", 0)), True, Standing(rung="evidence-only", because=("a",), stale=("a",))),
        ((held("a", 60, "local-only"),), False, Standing(rung="local-only", because=("a",), stale=("a",))),
        (
            (held("a", 60, "local-only"), held("b", 60)),
            False,
            Standing(rung="evidence-only", because=("b",), stale=("a", "b")),
        ),
    ],
)
def test_a_site_is_on_the_lowest_rung_that_anything_allows(
    artefacts: tuple[HeldArtefact, ...], is_linked: bool, expected: Standing
) -> None:
    assert standing(artefacts, TimeJudgement(trusted_ms=HUB), is_linked) == expected


@given(st.lists(st.integers(0, 700), min_size=1, max_size=4), st.integers(0, 700), st.booleans())
def test_more_age_never_gives_a_higher_rung(ages: list[int], more_s: int, is_linked: bool) -> None:
    artefacts = [
        HeldArtefact(name=str(number), budget=BUDGET, current_at_ms=HUB - age * 1000) for number, age in enumerate(ages)
    ]
    now, later = (standing(artefacts, TimeJudgement(trusted_ms=HUB + ms), is_linked) for ms in (0, more_s * 1000))
    assert RUNGS.index(later.rung) >= RUNGS.index(now.rung)
    assert set(later.stale) >= set(now.stale)
