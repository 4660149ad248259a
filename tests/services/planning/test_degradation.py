"""One deadline for all stages: which degradation follows, who records it, and whose overrun is named."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Degradation, DegradationLevel, Plan, Question, Retrieved, Routed, Screened, StageTiming
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.degradation import (
    LEVELS,
    NO_OVERRUN,
    LatencyModel,
    Overrun,
    allowance_ms,
    degradation_for,
    unaccounted_ms,
    worst_overrun,
)
from tidegate.services.planning.planner import plan_degradations
from tidegate.services.stages.retriever.handler import RetrieverPorts, retrieve
from tidegate.services.stages.router import planner_of
from tidegate.services.stages.router.handler import route

pytestmark = pytest.mark.anyio

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


# --- the latency of a stage


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now_ms: float) -> None:
        self.now_ms = now_ms

    def __call__(self) -> float:
        return self.now_ms / 1000


def routed(*, shares: dict[str, float] = SHARES, **more: object) -> Routed:
    plan = Plan(where="edge", may_escalate=True, k=8, model="reader", shares_ms=shares, config_version="t", reason="r")
    fact = Routed(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=1000, deadline_at_ms=1500, question=QUESTION, plan=plan
    )  # fmt: skip
    return msgspec.structs.replace(fact, **more)


def test_a_stage_learns_how_fast_it_is_and_steps_down_by_it() -> None:
    clock = Clock(1000.0)
    latency = LatencyModel("retriever", {"full": 0.0, "fewer_passages": 0.0}, clock)
    assert latency.required_degradation(routed()) is None
    latency.observe("full", 400.0)
    latency.observe("fewer_passages", 50.0)
    degradation = latency.required_degradation(routed())
    assert degradation is not None
    assert (degradation.stage, degradation.level, degradation.left_ms) == ("retriever", "fewer_passages", 100.0)
    for _ in range(200):
        latency.observe("full", 20.0)
    assert latency.costs_ms["full"] == pytest.approx(20.0, rel=0.01)
    assert latency.required_degradation(routed()) is None


@pytest.mark.parametrize(("level", "worked_ms"), [("fewer_passages", 30.0), ("abstain", 0.0)])
def test_one_slow_time_is_not_for_ever(level: DegradationLevel, worked_ms: float) -> None:
    latency = LatencyModel("retriever", {"full": 5000.0, "fewer_passages": 30.0}, Clock(1000.0))
    assert latency.required_degradation(routed()) is not None
    for _ in range(400):
        latency.observe(level, worked_ms)
    assert latency.required_degradation(routed()) is None


def test_a_plan_that_shares_nothing_out_holds_nobody_to_anything() -> None:
    latency = LatencyModel("retriever", {"full": 100.0}, Clock(9_999_999.0))
    assert latency.required_degradation(routed(shares={})) is None
    assert latency.required_degradation(routed()) is not None


def test_the_level_of_a_fact_is_the_lowest_that_it_was_degraded_to() -> None:
    latency = LatencyModel("drafter", COSTS, Clock(0.0))
    assert latency.level_of(routed()) == "full"
    assert latency.level_of(routed(degradations=made("edge_only"))) == "full"
    assert latency.level_of(routed(degradations=made("evidence_only", "fewer_passages"))) == "evidence_only"
    assert latency.level_of(routed(degradations=made("fewer_passages", "abstain"))) == "abstain"


def test_a_latency_model_without_levels_or_of_another_stages_level_is_refused() -> None:
    with pytest.raises(ValueError, match="has no levels"):
        LatencyModel("drafter", {}, Clock(0.0))
    with pytest.raises(ValueError, match="has no level no_race"):
        LatencyModel("drafter", COSTS, Clock(0.0)).observe("no_race", 1.0)


def test_what_no_line_of_the_ledger_accounts_for_is_the_wait() -> None:
    fact = routed(timings=(StageTiming("prefilter", 2.0, 8.0),))
    assert unaccounted_ms(fact, 1100.0) == 90.0
    assert unaccounted_ms(fact, 900.0) == 0.0


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


# --- a request on its way


async def walked(
    clock: Clock, waits_ms: dict[str, float], costs_ms: dict[DegradationLevel, float], budget_ms: int = 2000
) -> tuple[Routed, Retrieved, list[int]]:
    """A question that goes through the router and the retriever, and lies `waits_ms` before each of them."""
    asked_at_ms = int(clock.now_ms)
    screened = Screened(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=asked_at_ms, deadline_at_ms=asked_at_ms + budget_ms,
        question=QUESTION, timings=(StageTiming("prefilter", 0.0, waits_ms.get("prefilter", 0.0)),),
    )  # fmt: skip
    clock.now_ms += waits_ms.get("prefilter", 0.0) + waits_ms.get("router", 0.0)
    [planned_] = await route(screened, decide=planner_of(UP, PlannerConfig()), clock=clock)
    assert isinstance(planned_, Routed)
    line = StageTiming("router", waits_ms.get("router", 0.0), 0.0)
    planned_ = msgspec.structs.replace(planned_, timings=(*screened.timings, line))
    clock.now_ms += waits_ms.get("retriever", 0.0)
    looked_for: list[int] = []

    async def search(*what: object) -> tuple[tuple[()], None]:
        looked_for.append(int(str(what[3])))
        return (), None

    latency = LatencyModel("retriever", costs_ms, clock)
    [found] = await retrieve(planned_, RetrieverPorts(search, latency.required_degradation))
    return planned_, found, looked_for


QUICK: dict[DegradationLevel, float] = {"full": 20.0, "fewer_passages": 10.0}


@pytest.mark.parametrize(
    ("waits_ms", "degraded", "reason", "k"),
    [
        ({}, [], "", [8]),
        ({"prefilter": 1200.0}, [("router", "fewer_passages")], "prefilter spent 1200 ms", [4]),
        ({"router": 1200.0}, [("router", "fewer_passages")], "it lay waiting for 1200 ms", [4]),
        ({"retriever": 195.0}, [("retriever", "fewer_passages")], "it lay waiting for 195 ms", [4]),
        ({"retriever": 1995.0}, [("retriever", "abstain")], "it lay waiting for 1995 ms", []),
        ({"prefilter": 1200.0, "retriever": 795.0}, [("router", "fewer_passages"), ("retriever", "abstain")], "", []),
        ({"prefilter": 2100.0}, [("router", "abstain")], "prefilter spent 2100 ms", []),
    ],
)
async def test_the_stage_that_cannot_have_its_share_is_named_once_and_so_is_who_was_late(
    waits_ms: dict[str, float], degraded: list[tuple[str, DegradationLevel]], reason: str, k: list[int]
) -> None:
    _, found, looked_for = await walked(Clock(1_000_000.0), waits_ms, QUICK)
    assert [(degradation.stage, degradation.level) for degradation in found.degradations] == degraded
    assert looked_for == k
    if reason:
        assert [degradation.reason for degradation in found.degradations] == [reason]


async def test_a_stage_in_time_gives_up_nothing_however_slow_the_stage_before_was_if_it_kept_its_share() -> None:
    planned_, found, _ = await walked(Clock(1_000_000.0), {"prefilter": 900.0, "retriever": 80.0}, QUICK)
    assert planned_.plan.shares_ms["retriever"] > 100.0
    assert found.degradations == ()
