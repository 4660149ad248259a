"""The router: a plan for every question, from the time left, the link and the load, and the same one every time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.stage import Stage
from tidegate.schemas import Artefact, Plan, Question, Routed, Screened, Workload
from tidegate.services.pipeline import STAGES
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.planner import PlanRequest, make_plan, shares_of
from tidegate.services.settings import Settings
from tidegate.services.stages.router import config_of, decide
from tidegate.services.stages.router import open as open_router
from tidegate.services.stages.router.handler import route
from tidegate.services.stages.settings import RouterSettings

pytestmark = pytest.mark.anyio

CALM = Signals(link_up=True, rtt_ms=40.0, queue_depth=0, load=0.2)
CUT = replace(CALM, link_up=False)
BUSY = replace(CALM, queue_depth=64)
DROWNING = replace(CALM, queue_depth=256)
LOADED = replace(CALM, load=8.0)
TABLE = PlannerConfig()
NOW_S = 1_700_000_000.0
NOW_MS = 1_700_000_000_000


def question(workload: Workload = "assist") -> Question:
    return Question(
        text="How do I replace a card?", language="en", intent="cards", intent_confidence=0.9, workload=workload
    )


def screened(workload: Workload = "assist", budget_ms: int = 4000) -> Screened:
    return Screened(
        rid="r1",
        tenant="kiosk",
        site="site1",
        asked_at_ms=NOW_MS - 10,
        deadline_at_ms=NOW_MS + budget_ms,
        question=question(workload),
    )


def plan(workload: Workload, remaining_ms: int, signals: Signals) -> Plan:
    return make_plan(PlanRequest(question(workload), remaining_ms), signals, TABLE)


@pytest.mark.parametrize(
    ("workload", "remaining_ms", "signals", "where", "may_escalate", "k"),
    [
        ("assist", 4000, CALM, "edge", True, 8),
        ("assist", 1000, CALM, "edge", True, 8),
        ("assist", 999, CALM, "edge", True, 4),
        ("assist", 440, CALM, "edge", True, 4),
        ("assist", 439, CALM, "edge", False, 4),
        ("assist", 0, CALM, "edge", False, 1),
        ("assist", 4000, CUT, "edge", False, 8),
        ("assist", 4000, BUSY, "edge", True, 4),
        ("assist", 4000, replace(BUSY, queue_depth=63), "edge", True, 8),
        ("assist", 4000, LOADED, "edge", True, 4),
        ("assist", 4000, DROWNING, "cloud", True, 4),
        ("assist", 4000, replace(DROWNING, link_up=False), "edge", False, 4),
        ("classify", 4000, CALM, "edge", False, 0),
        ("classify", 4000, DROWNING, "edge", False, 0),
        ("extract", 4000, CALM, "edge", True, 0),
        ("extract", 0, CUT, "edge", False, 0),
    ],
)
def test_a_plan_follows_from_time_link_and_load(
    workload: Workload, remaining_ms: int, signals: Signals, where: str, may_escalate: bool, k: int
) -> None:
    made = plan(workload, remaining_ms, signals)
    assert (made.where, made.may_escalate, made.k) == (where, may_escalate, k)


@pytest.mark.parametrize(
    ("workload", "remaining_ms", "signals", "says"),
    [
        ("assist", 4000, CALM, "assist with 4000 ms left at the edge: the cloud may be asked, 40 ms away; 8 passages"),
        ("assist", 4000, CUT, "the link is down"),
        ("assist", 300, CALM, "the cloud would need 440 ms; 4 passages, for time is short"),
        ("assist", 4000, BUSY, "4 passages, for 64 messages wait"),
        ("assist", 4000, LOADED, "4 passages, for the load is 8.0 per core"),
        ("assist", 0, CALM, "1 passage(s), for the deadline has passed"),
        ("classify", 80, CALM, "classify is the edge's own work; no passages are needed"),
    ],
)
def test_a_plan_says_why(workload: Workload, remaining_ms: int, signals: Signals, says: str) -> None:
    assert says in plan(workload, remaining_ms, signals).reason


workloads = st.sampled_from(["classify", "extract", "assist"])
budgets = st.integers(0, 600_000)
signals_of = st.builds(
    Signals,
    link_up=st.booleans(),
    rtt_ms=st.floats(0, 5000),
    queue_depth=st.integers(0, 1000),
    load=st.floats(0, 50),
)


@given(workloads, budgets, signals_of)
@settings(derandomize=True)
def test_the_shares_sum_exactly_to_the_time_left_and_none_is_negative(
    workload: Workload, remaining_ms: int, signals: Signals
) -> None:
    shares = plan(workload, remaining_ms, signals).shares_ms
    assert sum(shares.values()) == remaining_ms
    assert min(shares.values()) >= 0.0


@given(workloads, budgets, budgets, signals_of)
@settings(derandomize=True)
def test_less_time_never_means_more_passages_nor_a_new_leave_to_escalate(
    workload: Workload, one: int, other: int, signals: Signals
) -> None:
    less, more = (plan(workload, remaining_ms, signals) for remaining_ms in sorted((one, other)))
    assert less.k <= more.k
    assert less.may_escalate <= more.may_escalate


@given(st.integers(1, 20), st.integers(1, 20), budgets, signals_of)
@settings(derandomize=True)
def test_passages_stay_monotone_whatever_the_settings_say(
    k: int, under: int, remaining_ms: int, signals: Signals
) -> None:
    config = PlannerConfig(k=k, k_under_load=under)
    ks = [
        make_plan(PlanRequest(question(), left), signals, config).k
        for left in sorted({0, remaining_ms, 999, 1000, 4000})
    ]
    assert all(before <= after for before, after in itertools.pairwise(ks))


def test_the_same_question_under_the_same_signals_gets_the_same_plan() -> None:
    @given(workloads, budgets, signals_of)
    @settings(derandomize=True, max_examples=50)
    def same(workload: Workload, budget_ms: int, signals: Signals) -> None:
        fact = screened(workload, budget_ms)
        plan_now = partial(decide, signals, PlannerConfig())
        plans = [asyncio.run(route(fact, decide=plan_now, clock=lambda: NOW_S)) for _ in range(2)]
        assert plans[0] == plans[1]

    same()


def test_every_share_is_named_for_a_stage_of_the_pipeline() -> None:
    names = {stage.name for stage in STAGES}
    assert all(set(weights) <= names for weights in TABLE.weights.values())
    assert shares_of(7, {"retriever": 1, "drafter": 1}) == {"retriever": 4.0, "drafter": 3.0}


def test_the_version_is_the_configuration_s_digest() -> None:
    assert PlannerConfig().version == PlannerConfig().version
    assert PlannerConfig(k=7).version != PlannerConfig().version
    assert PlannerConfig(weights={**TABLE.weights, "edge": {"drafter": 1}}).version != PlannerConfig().version
    assert len(PlannerConfig().version) == 12


def test_the_settings_reach_the_planner() -> None:
    given = RouterSettings(
        k=7, economy=2.0, answer_tokens=100, draft_token_ms=3.0, knee_positions=100, uplink_kbps=64.0
    )
    config = config_of(given)
    assert (config.k, config.economy, config.answer_tokens, config.knee_positions) == (7, 2.0, 100, 100)
    assert (config.drafters["lm"], config.uplink_ms_per_byte) == (3.0, 0.125)
    assert config_of(RouterSettings()) == PlannerConfig()
    assert config_of(RouterSettings(mode="cloud_stream")).mode == "cloud_stream"


@pytest.mark.parametrize("budget_ms", [4000, 0, -500])
async def test_a_question_becomes_a_routed_one_with_the_configuration_in_its_lineage_even_too_late(
    budget_ms: int,
) -> None:
    fact = screened(budget_ms=budget_ms)
    [routed] = await route(fact, decide=partial(decide, CALM, TABLE), clock=lambda: NOW_S)
    assert isinstance(routed, Routed)
    assert routed.question == fact.question
    assert routed.lineage == (Artefact("config", "router", TABLE.version),)
    assert routed.plan.config_version == TABLE.version
    assert sum(routed.plan.shares_ms.values()) == max(0, budget_ms)
    assert routed.plan.may_escalate is (budget_ms > 0)
    assert [degradation.level for degradation in routed.degradations] == ([] if budget_ms > 0 else ["abstain"])


async def test_only_a_client_that_can_take_text_back_is_raced_for() -> None:
    fact = screened()
    for can_retract in (False, True):
        given = msgspec.structs.replace(fact, can_retract=can_retract)
        [routed] = await route(given, decide=partial(decide, CALM, TABLE), clock=lambda: NOW_S)
        assert isinstance(routed, Routed)
        assert (routed.plan.mode == "race") is can_retract


async def pong(_: bytes) -> bytes:
    return b""


async def test_the_opened_router_notices_a_hub_that_appears_later() -> None:
    bus = MemoryBus("site1")
    quick = Settings(router=RouterSettings(ping_every_s=0.01))
    async with open_router(quick, bus) as handler:
        assert not (await routed_by(handler)).plan.may_escalate
        await bus.respond("cloud.site1.ping", pong)
        plans = [plan async for plan in plans_until(handler, lambda plan: plan.may_escalate)]
        assert plans[-1].may_escalate


async def test_the_opened_router_refuses_to_plan_once_it_cannot_look() -> None:
    class Blind(MemoryBus):
        looks = 0

        async def pending(self, stage: Stage) -> int:
            self.looks += 1
            if self.looks > 2:
                raise LookupError("no such queue any more")
            return await super().pending(stage)

    async with open_router(Settings(router=RouterSettings(ping_every_s=0.01)), Blind("site1")) as handler:
        with pytest.raises(LookupError, match="no such queue"):
            [_ async for _ in plans_until(handler, lambda _: False)]


async def plans_until(handler: object, enough: Callable[[Plan], bool]) -> AsyncIterator[Plan]:
    """Plans made one after the other for at most five seconds, the last one being `enough`."""
    async with asyncio.timeout(5):
        for _ in itertools.count():
            plan = (await routed_by(handler)).plan
            yield plan
            if enough(plan):
                return
            await asyncio.sleep(0.005)


async def routed_by(handler: object) -> Routed:
    now_ms = int(time.time() * 1000)
    fact = Screened(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=now_ms, deadline_at_ms=now_ms + 4000, question=question()
    )
    [routed] = await handler(fact)  # type: ignore[operator]
    assert isinstance(routed, Routed)
    return routed
