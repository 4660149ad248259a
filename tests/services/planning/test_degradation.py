"""One deadline, one ledger: who has to give up what, who says so, and who was late."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Concession, Plan, Question, Retrieved, Routed, Rung, Screened, Spent
from tidegate.services.planning.degradation import (
    LADDER,
    NOBODY,
    Late,
    Pace,
    allowance_ms,
    latest,
    rung_of,
    unaccounted_ms,
)
from tidegate.services.planning.planner import conceded
from tidegate.services.planning.table import Signals, Table
from tidegate.services.stages.retriever.handler import retrieve
from tidegate.services.stages.router import decision
from tidegate.services.stages.router.handler import route

pytestmark = pytest.mark.anyio

COSTS: dict[Rung, float] = {"full": 100.0, "smaller_k": 40.0, "evidence_only": 10.0}
SHARES = {"retriever": 100.0, "drafter": 300.0, "policy": 50.0, "publisher": 50.0}
QUESTION = Question(text="How?", language="en", intent="cards", intent_confidence=0.9)


def made(*rungs: Rung) -> tuple[Concession, ...]:
    return tuple(Concession("router", rung, 0.0, 1.0) for rung in rungs)


@pytest.mark.parametrize(
    ("allowed_ms", "left_ms", "given_up", "rung", "needed_ms"),
    [
        (100.0, 500.0, (), None, 0.0),
        (99.9, 500.0, (), "smaller_k", 100.0),
        (40.0, 500.0, (), "smaller_k", 100.0),
        (39.0, 500.0, (), "evidence_only", 40.0),
        (0.0, 10.0, (), "evidence_only", 40.0),  # the last rung may take what others were to have
        (-50.0, 10.0, (), "evidence_only", 40.0),
        (-50.0, 9.9, (), "abstain", 10.0),
        (-50.0, -50.0, (), "abstain", 10.0),
        (50.0, 500.0, ("smaller_k",), None, 0.0),  # given up before: not again
        (20.0, 500.0, ("smaller_k",), "evidence_only", 40.0),
        (0.0, 500.0, ("evidence_only",), None, 0.0),
        (0.0, 5.0, ("evidence_only",), "abstain", 10.0),
        (100.0, 500.0, ("edge_only",), None, 0.0),  # not one of its rungs: no business of its own
        (0.0, 0.0, ("abstain",), None, 0.0),
    ],
)
def test_a_rung_follows_from_time_costs_and_what_was_given_up(
    allowed_ms: float, left_ms: float, given_up: tuple[Rung, ...], rung: Rung | None, needed_ms: float
) -> None:
    concession = rung_of("drafter", COSTS, allowed_ms, left_ms, NOBODY, made(*given_up))
    if rung is None:
        assert concession is None
    else:
        assert concession is not None
        left = left_ms if rung == "abstain" else allowed_ms
        assert concession == Concession("drafter", rung, left, needed_ms, "the budget is small")


costs = st.dictionaries(st.sampled_from(LADDER[:-1]), st.floats(0.1, 5000), min_size=1)
rungs = st.lists(st.sampled_from(LADDER), max_size=3)
times = st.floats(-5000, 10_000)
everywhere = settings(derandomize=True, max_examples=300)


def height(concession: Concession | None) -> int:
    return -1 if concession is None else LADDER.index(concession.rung)


@given(costs, times, times, st.floats(0, 3000), rungs)
@everywhere
def test_less_time_never_gives_a_higher_rung(
    cost: dict[Rung, float], one: float, other: float, reserve: float, before: list[Rung]
) -> None:
    less, more = (rung_of("s", cost, left - reserve, left, NOBODY, made(*before)) for left in sorted((one, other)))
    assert height(less) >= height(more)


@given(costs, times, st.floats(0, 3000), rungs)
@everywhere
def test_a_concession_is_only_made_for_want_of_time_and_only_once(
    cost: dict[Rung, float], left: float, reserve: float, before: list[Rung]
) -> None:
    concession = rung_of("s", cost, left - reserve, left, NOBODY, made(*before))
    if left - reserve >= max(cost.values()):
        assert concession is None
    if concession is None:
        return
    assert concession.stage == "s"
    assert concession.left_ms < concession.needed_ms
    assert concession.rung not in before
    assert height(concession) > max((LADDER.index(rung) for rung in before if rung in cost), default=-1)
    assert rung_of("s", cost, left - reserve, left, NOBODY, (*made(*before), concession)) is None or (
        concession.rung != "abstain"
    )


def test_what_a_stage_may_use_is_what_is_left_without_the_shares_of_those_to_come() -> None:
    assert allowance_ms("retriever", SHARES, (), 500.0) == 100.0
    assert allowance_ms("retriever", SHARES, (), 350.0) == -50.0
    saved = (Spent("retriever", 1.0, 9.0),)
    assert allowance_ms("drafter", SHARES, saved, 490.0) == 390.0
    assert allowance_ms("publisher", SHARES, (*saved, Spent("drafter", 0, 1), Spent("policy", 0, 1)), 45.0) == 45.0
    assert allowance_ms("fast-lane", SHARES, saved, 490.0) == 90.0


@pytest.mark.parametrize(
    ("shares", "ledger", "waited_ms", "late"),
    [
        (SHARES, (), 0.0, NOBODY),
        (SHARES, (Spent("retriever", 20.0, 30.0),), 0.0, NOBODY),
        (SHARES, (Spent("retriever", 20.0, 300.0),), 0.0,
         Late(220.0, "retriever spent 320 ms, 220 ms beyond its share")),
        ({}, (Spent("prefilter", 800.0, 4.0),), 10.0, Late(804.0, "prefilter spent 804 ms")),
        ({}, (Spent("prefilter", 1.0, 4.0),), 700.0, Late(700.0, "it lay waiting for 700 ms")),
        (SHARES, (Spent("retriever", 0.0, 150.0), Spent("drafter", 0.0, 340.0)), 0.0,
         Late(50.0, "retriever spent 150 ms, 50 ms beyond its share")),
    ],
)  # fmt: skip
def test_the_one_who_is_blamed_is_who_went_farthest_beyond_its_share(
    shares: dict[str, float], ledger: tuple[Spent, ...], waited_ms: float, late: Late
) -> None:
    assert latest(shares, ledger, waited_ms) == late


def test_nobody_is_blamed_whose_punctuality_would_have_changed_nothing() -> None:
    late = Late(30.0, "retriever spent 130 ms, 30 ms beyond its share")
    spoilt, hopeless = (rung_of("drafter", COSTS, allowed_ms, 500.0, late) for allowed_ms in (75.0, 60.0))
    assert spoilt is not None
    assert spoilt.reason == late.words
    assert hopeless is not None
    assert hopeless.reason == "the budget is small"


# --- the pace of a stage


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self, now_ms: float) -> None:
        self.now_ms = now_ms

    def __call__(self) -> float:
        return self.now_ms / 1000


def routed(*, shares: dict[str, float] = SHARES, **more: object) -> Routed:
    plan = Plan(where="edge", may_escalate=True, k=8, model="reader", shares_ms=shares, table="t", reason="r")
    fact = Routed(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=1000, deadline_at_ms=1500, question=QUESTION, plan=plan
    )  # fmt: skip
    return msgspec.structs.replace(fact, **more)


def test_a_stage_learns_how_fast_it_is_and_steps_down_by_it() -> None:
    clock = Clock(1000.0)
    pace = Pace("retriever", {"full": 0.0, "smaller_k": 0.0}, clock)
    assert pace.short_of(routed()) is None
    pace.took("full", 400.0)
    pace.took("smaller_k", 50.0)
    concession = pace.short_of(routed())
    assert concession is not None
    assert (concession.stage, concession.rung, concession.left_ms) == ("retriever", "smaller_k", 100.0)
    for _ in range(200):
        pace.took("full", 20.0)
    assert pace.costs_ms["full"] == pytest.approx(20.0, rel=0.01)
    assert pace.short_of(routed()) is None


@pytest.mark.parametrize(("rung", "worked_ms"), [("smaller_k", 30.0), ("abstain", 0.0)])
def test_one_slow_time_is_not_for_ever(rung: Rung, worked_ms: float) -> None:
    pace = Pace("retriever", {"full": 5000.0, "smaller_k": 30.0}, Clock(1000.0))
    assert pace.short_of(routed()) is not None
    for _ in range(400):
        pace.took(rung, worked_ms)
    assert pace.short_of(routed()) is None


def test_a_plan_that_shares_nothing_out_holds_nobody_to_anything() -> None:
    pace = Pace("retriever", {"full": 100.0}, Clock(9_999_999.0))
    assert pace.short_of(routed(shares={})) is None
    assert pace.short_of(routed()) is not None


def test_the_rung_of_a_fact_is_the_lowest_that_anybody_gave_up() -> None:
    pace = Pace("drafter", COSTS, Clock(0.0))
    assert pace.rung(routed()) == "full"
    assert pace.rung(routed(concessions=made("edge_only"))) == "full"
    assert pace.rung(routed(concessions=made("evidence_only", "smaller_k"))) == "evidence_only"
    assert pace.rung(routed(concessions=made("smaller_k", "abstain"))) == "abstain"


def test_a_pace_without_rungs_or_of_another_stages_rung_is_refused() -> None:
    with pytest.raises(ValueError, match="no rung to stand on"):
        Pace("drafter", {}, Clock(0.0))
    with pytest.raises(ValueError, match="has no rung no_race"):
        Pace("drafter", COSTS, Clock(0.0)).took("no_race", 1.0)


def test_what_no_line_of_the_ledger_accounts_for_is_the_wait() -> None:
    fact = routed(ledger=(Spent("prefilter", 2.0, 8.0),))
    assert unaccounted_ms(fact, 1100.0) == 90.0
    assert unaccounted_ms(fact, 900.0) == 0.0


# --- the router's own concessions

UP = Signals(link_up=True, rtt_ms=40.0, queue_depth=0, load=0.2)
DOWN = Signals(link_up=False, rtt_ms=40.0, queue_depth=0, load=0.2)


@pytest.mark.parametrize(
    ("remaining_ms", "signals", "rungs"),
    [
        (4000, UP, []),
        (1000, UP, []),
        (999, UP, ["smaller_k"]),
        (439, UP, ["smaller_k", "edge_only"]),
        (0, UP, ["abstain"]),
        (-500, DOWN, ["abstain"]),
        (4000, DOWN, ["edge_only"]),
        (500, DOWN, ["smaller_k", "edge_only"]),
    ],
)
def test_the_router_concedes_what_its_plan_does_without(remaining_ms: int, signals: Signals, rungs: list[Rung]) -> None:
    concessions = conceded(QUESTION, remaining_ms, signals, Table())
    assert [concession.rung for concession in concessions] == rungs
    assert {concession.stage for concession in concessions} <= {"router"}
    assert all(LADDER.index(a.rung) < LADDER.index(b.rung) for a, b in itertools.pairwise(concessions))
    if not signals.link_up and remaining_ms > 0:
        assert concessions[-1].reason == "the link is down"
    assert conceded(msgspec.structs.replace(QUESTION, workload="extract"), remaining_ms, signals, Table()) == ()


# --- a request on its way


async def walked(
    clock: Clock, waits_ms: dict[str, float], costs_ms: dict[Rung, float], budget_ms: int = 2000
) -> tuple[Routed, Retrieved, list[int]]:
    """A question that goes through the router and the retriever, and lies `waits_ms` before each of them."""
    asked_at_ms = int(clock.now_ms)
    screened = Screened(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=asked_at_ms, deadline_at_ms=asked_at_ms + budget_ms,
        question=QUESTION, ledger=(Spent("prefilter", 0.0, waits_ms.get("prefilter", 0.0)),),
    )  # fmt: skip
    clock.now_ms += waits_ms.get("prefilter", 0.0) + waits_ms.get("router", 0.0)
    [planned_] = await route(screened, decide=decision(UP, Table()), clock=clock)
    assert isinstance(planned_, Routed)
    line = Spent("router", waits_ms.get("router", 0.0), 0.0)
    planned_ = msgspec.structs.replace(planned_, ledger=(*screened.ledger, line))
    clock.now_ms += waits_ms.get("retriever", 0.0)
    looked_for: list[int] = []

    async def search(*what: object) -> tuple[tuple[()], None]:
        looked_for.append(int(str(what[3])))
        return (), None

    [found] = await retrieve(planned_, search=search, short_of=Pace("retriever", costs_ms, clock).short_of)
    return planned_, found, looked_for


QUICK: dict[Rung, float] = {"full": 20.0, "smaller_k": 10.0}


@pytest.mark.parametrize(
    ("waits_ms", "conceded_", "reason", "k"),
    [
        ({}, [], "", [8]),
        ({"prefilter": 1200.0}, [("router", "smaller_k")], "prefilter spent 1200 ms", [4]),
        ({"router": 1200.0}, [("router", "smaller_k")], "it lay waiting for 1200 ms", [4]),
        ({"retriever": 195.0}, [("retriever", "smaller_k")], "it lay waiting for 195 ms", [4]),
        ({"retriever": 1995.0}, [("retriever", "abstain")], "it lay waiting for 1995 ms", []),
        ({"prefilter": 1200.0, "retriever": 795.0}, [("router", "smaller_k"), ("retriever", "abstain")], "", []),
        ({"prefilter": 2100.0}, [("router", "abstain")], "prefilter spent 2100 ms", []),
    ],
)
async def test_the_stage_that_cannot_have_its_share_is_named_once_and_so_is_who_was_late(
    waits_ms: dict[str, float], conceded_: list[tuple[str, Rung]], reason: str, k: list[int]
) -> None:
    _, found, looked_for = await walked(Clock(1_000_000.0), waits_ms, QUICK)
    assert [(concession.stage, concession.rung) for concession in found.concessions] == conceded_
    assert looked_for == k
    if reason:
        assert [concession.reason for concession in found.concessions] == [reason]


async def test_whoever_is_in_time_concedes_nothing_however_slow_the_stage_before_was_if_it_kept_its_share() -> None:
    planned_, found, _ = await walked(Clock(1_000_000.0), {"prefilter": 900.0, "retriever": 80.0}, QUICK)
    assert planned_.plan.shares_ms["retriever"] > 100.0
    assert found.concessions == ()
