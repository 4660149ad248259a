"""What a stage learns of its own speed, and what a request that was kept waiting has to give up on its way."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from tidegate.schemas import Degradation, DegradationLevel, Plan, Question, Retrieved, Routed, Screened, StageTiming
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.degradation import LatencyModel, unaccounted_ms
from tidegate.services.stages.retriever.handler import RetrieverPorts, retrieve
from tidegate.services.stages.router import decide
from tidegate.services.stages.router.handler import route

pytestmark = pytest.mark.anyio

COSTS: dict[DegradationLevel, float] = {"full": 100.0, "fewer_passages": 40.0, "evidence_only": 10.0}
SHARES = {"retriever": 100.0, "drafter": 300.0, "policy": 50.0, "publisher": 50.0}
QUESTION = Question(text="How?", language="en", intent="cards", intent_confidence=0.9)
UP = Signals(link_up=True, rtt_ms=40.0, queue_depth=0, load=0.2)


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now_ms: float) -> None:
        self.now_ms = now_ms

    def __call__(self) -> float:
        return self.now_ms / 1000


def given_up(*levels: DegradationLevel) -> tuple[Degradation, ...]:
    return tuple(Degradation("router", level, 0.0, 1.0) for level in levels)


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
    assert latency.level_of(routed(degradations=given_up("edge_only"))) == "full"
    assert latency.level_of(routed(degradations=given_up("evidence_only", "fewer_passages"))) == "evidence_only"
    assert latency.level_of(routed(degradations=given_up("fewer_passages", "abstain"))) == "abstain"


def test_a_latency_model_without_levels_or_of_another_stages_level_is_refused() -> None:
    with pytest.raises(ValueError, match="has no levels"):
        LatencyModel("drafter", {}, Clock(0.0))
    with pytest.raises(ValueError, match="has no level no_race"):
        LatencyModel("drafter", COSTS, Clock(0.0)).observe("no_race", 1.0)


def test_what_no_line_of_the_ledger_accounts_for_is_the_wait() -> None:
    fact = routed(timings=(StageTiming("prefilter", 2.0, 8.0),))
    assert unaccounted_ms(fact, 1100.0) == 90.0
    assert unaccounted_ms(fact, 900.0) == 0.0


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
    [planned_] = await route(screened, decide=partial(decide, UP, PlannerConfig()), clock=clock)
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
