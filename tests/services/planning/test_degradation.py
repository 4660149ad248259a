"""One deadline for all stages: which degradation follows, who records it, and whose overrun is named."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Degradation, DegradationLevel, Question, StageTiming
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.degradation import (
    LEVELS,
    NO_OVERRUN,
    Overrun,
    allowance_ms,
    degradation_for,
    worst_overrun,
)
from tidegate.services.planning.planner import plan_degradations

COSTS: dict[DegradationLevel, float] = {"full": 100.0, "fewer_passages": 40.0, "evidence_only": 10.0}
SHARES = {"retriever": 100.0, "drafter": 300.0, "policy": 50.0, "publisher": 50.0}
QUESTION = Question(text="How?", language="en", intent="cards", intent_confidence=0.9)


def made(*levels: DegradationLevel) -> tuple[Degradation, ...]:
    return tuple(Degradation("router", level, 0.0, 1.0) for level in levels)


@pytest.mark.parametrize(
    ("allowed_ms", "left_ms", "given_up", "level", "needed_ms"),
    [
        (100.0, 500.0, (), None, 0.0),
        (99.9, 500.0, (), "fewer_passages", 100.0),
        (40.0, 500.0, (), "fewer_passages", 100.0),
        (39.0, 500.0, (), "evidence_only", 40.0),
        (0.0, 10.0, (), "evidence_only", 40.0),  # the last level may take what others were to have
        (-50.0, 10.0, (), "evidence_only", 40.0),
        (-50.0, 9.9, (), "abstain", 10.0),
        (-50.0, -50.0, (), "abstain", 10.0),
        (50.0, 500.0, ("fewer_passages",), None, 0.0),  # given up before: not again
        (20.0, 500.0, ("fewer_passages",), "evidence_only", 40.0),
        (0.0, 500.0, ("evidence_only",), None, 0.0),
        (0.0, 5.0, ("evidence_only",), "abstain", 10.0),
        (100.0, 500.0, ("edge_only",), None, 0.0),  # not one of its levels: no business of its own
        (0.0, 0.0, ("abstain",), None, 0.0),
    ],
)
def test_a_level_follows_from_time_costs_and_what_was_given_up(
    allowed_ms: float,
    left_ms: float,
    given_up: tuple[DegradationLevel, ...],
    level: DegradationLevel | None,
    needed_ms: float,
) -> None:
    degradation = degradation_for("drafter", COSTS, allowed_ms, left_ms, NO_OVERRUN, made(*given_up))
    if level is None:
        assert degradation is None
    else:
        assert degradation is not None
        left = left_ms if level == "abstain" else allowed_ms
        assert degradation == Degradation("drafter", level, left, needed_ms, "the budget is small")


costs = st.dictionaries(st.sampled_from(LEVELS[:-1]), st.floats(0.1, 5000), min_size=1)
levels = st.lists(st.sampled_from(LEVELS), max_size=3)
times = st.floats(-5000, 10_000)
everywhere = settings(derandomize=True, max_examples=300)


def height(degradation: Degradation | None) -> int:
    return -1 if degradation is None else LEVELS.index(degradation.level)


@given(costs, times, times, st.floats(0, 3000), levels)
@everywhere
def test_less_time_never_gives_a_higher_level(
    cost: dict[DegradationLevel, float], one: float, other: float, reserve: float, before: list[DegradationLevel]
) -> None:
    less, more = (
        degradation_for("s", cost, left - reserve, left, NO_OVERRUN, made(*before)) for left in sorted((one, other))
    )
    assert height(less) >= height(more)


@given(costs, times, st.floats(0, 3000), levels)
@everywhere
def test_a_degradation_is_only_made_for_want_of_time_and_only_once(
    cost: dict[DegradationLevel, float], left: float, reserve: float, before: list[DegradationLevel]
) -> None:
    degradation = degradation_for("s", cost, left - reserve, left, NO_OVERRUN, made(*before))
    if left - reserve >= max(cost.values()):
        assert degradation is None
    if degradation is None:
        return
    assert degradation.stage == "s"
    assert degradation.left_ms < degradation.needed_ms
    assert degradation.level not in before
    assert height(degradation) > max((LEVELS.index(level) for level in before if level in cost), default=-1)
    assert degradation_for("s", cost, left - reserve, left, NO_OVERRUN, (*made(*before), degradation)) is None or (
        degradation.level != "abstain"
    )


def test_what_a_stage_may_use_is_what_is_left_without_the_shares_of_those_to_come() -> None:
    assert allowance_ms("retriever", SHARES, (), 500.0) == 100.0
    assert allowance_ms("retriever", SHARES, (), 350.0) == -50.0
    saved = (StageTiming("retriever", 1.0, 9.0),)
    assert allowance_ms("drafter", SHARES, saved, 490.0) == 390.0
    assert (
        allowance_ms("publisher", SHARES, (*saved, StageTiming("drafter", 0, 1), StageTiming("policy", 0, 1)), 45.0)
        == 45.0
    )
    assert allowance_ms("fast-lane", SHARES, saved, 490.0) == 90.0


@pytest.mark.parametrize(
    ("shares", "timings", "waited_ms", "overrun"),
    [
        (SHARES, (), 0.0, NO_OVERRUN),
        (SHARES, (StageTiming("retriever", 20.0, 30.0),), 0.0, NO_OVERRUN),
        (SHARES, (StageTiming("retriever", 20.0, 300.0),), 0.0,
         Overrun(220.0, "retriever spent 320 ms, 220 ms beyond its share")),
        ({}, (StageTiming("prefilter", 800.0, 4.0),), 10.0, Overrun(804.0, "prefilter spent 804 ms")),
        ({}, (StageTiming("prefilter", 1.0, 4.0),), 700.0, Overrun(700.0, "it lay waiting for 700 ms")),
        (SHARES, (StageTiming("retriever", 0.0, 150.0), StageTiming("drafter", 0.0, 340.0)), 0.0,
         Overrun(50.0, "retriever spent 150 ms, 50 ms beyond its share")),
    ],
)  # fmt: skip
def test_the_one_who_is_blamed_is_who_went_farthest_beyond_its_share(
    shares: dict[str, float], timings: tuple[StageTiming, ...], waited_ms: float, overrun: Overrun
) -> None:
    assert worst_overrun(shares, timings, waited_ms) == overrun


def test_nobody_is_blamed_whose_punctuality_would_have_changed_nothing() -> None:
    overrun = Overrun(30.0, "retriever spent 130 ms, 30 ms beyond its share")
    spoilt, hopeless = (degradation_for("drafter", COSTS, allowed_ms, 500.0, overrun) for allowed_ms in (75.0, 60.0))
    assert spoilt is not None
    assert spoilt.reason == overrun.description
    assert hopeless is not None
    assert hopeless.reason == "the budget is small"


# --- the router's own degradations

UP = Signals(link_up=True, rtt_ms=40.0, queue_depth=0, load=0.2)
DOWN = Signals(link_up=False, rtt_ms=40.0, queue_depth=0, load=0.2)


@pytest.mark.parametrize(
    ("remaining_ms", "signals", "levels"),
    [
        (4000, UP, []),
        (1000, UP, []),
        (999, UP, ["fewer_passages"]),
        (439, UP, ["fewer_passages", "edge_only"]),
        (0, UP, ["abstain"]),
        (-500, DOWN, ["abstain"]),
        (4000, DOWN, ["edge_only"]),
        (500, DOWN, ["fewer_passages", "edge_only"]),
    ],
)
def test_the_router_records_what_its_plan_gives_up(
    remaining_ms: int, signals: Signals, levels: list[DegradationLevel]
) -> None:
    degradations = plan_degradations(QUESTION, remaining_ms, signals, PlannerConfig())
    assert [degradation.level for degradation in degradations] == levels
    assert {degradation.stage for degradation in degradations} <= {"router"}
    assert all(LEVELS.index(a.level) < LEVELS.index(b.level) for a, b in itertools.pairwise(degradations))
    if not signals.link_up and remaining_ms > 0:
        assert degradations[-1].reason == "the link is down"
    assert (
        plan_degradations(msgspec.structs.replace(QUESTION, workload="extract"), remaining_ms, signals, PlannerConfig())
        == ()
    )
