"""What a router learns from a published answer: which mode it came of, how long it took, and what drafts cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tests.support.plans import CALM, TENANT, cloud, plan
from tidegate.schemas import (
    Degradation,
    DegradationLevel,
    Mode,
    Plan,
    Published,
    Receipt,
    Speculation,
    StageTiming,
    Where,
    decode,
    encode,
)
from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.experience import Experience, PlannerState, outcome_of
from tidegate.services.planning.planner import with_evidence

MODEL = "target@1"
HUB = cloud(CALM, model=MODEL, writes=("grounded",))
SPENT = Speculation(steps=9, tokens=30, drafted=24, accepted=20, draft_bytes=300, model=MODEL)
PASSED_MS = 30.0
CARDS = AnswerClass("cloud", TENANT, MODEL, "grounded", "cards")


def made(experience: Experience, **more: Any) -> Plan:
    """The plan that a router with this experience makes for a question."""
    signals = replace(HUB, corrections=experience.times.corrections, records=experience.ledger.records)
    return plan(signals, writing="grounded", spent_ms=PASSED_MS, **more)


def timings(**worked_ms: float) -> tuple[StageTiming, ...]:
    return tuple(StageTiming(stage, 1.0, ms) for stage, ms in {"prefilter": 20.0, "router": 9.0, **worked_ms}.items())


def published(
    plan_: Plan, took_ms: float, route: Where = "cloud", spent: Speculation | None = SPENT, **more: Any
) -> Published:
    """The answer that came of a plan, `took_ms` after it."""
    outcome = outcome_of(plan_, route, timings(drafter=took_ms - 1), more.pop("degradations", ()))
    receipt = Receipt(
        site="site1",
        route=route,
        plan=plan_,
        lineage=(),
        citations=(),
        decisions=(),
        speculation=spent,
        forecast=outcome,
    )
    known = {"tenant": TENANT, "site": "site1", **more}
    return Published(rid="r1", asked_at_ms=1, deadline_at_ms=2, outcome="answered", text="so", receipt=receipt, **known)


@pytest.mark.parametrize("took_ms", [60.0, 116.0, 2900.0])
@pytest.mark.parametrize("confidence", [0.0, 0.15, 0.5])
def test_what_happened_once_is_forecast_the_next_time(took_ms: float, confidence: float) -> None:
    experience = Experience("site1", (TENANT,))
    first = with_evidence(made(experience), confidence)
    assert experience.observe(published(first, took_ms))
    second = with_evidence(made(experience), confidence)
    assert second.forecast_ms[second.mode] == pytest.approx(took_ms, rel=0.5)
    for _ in range(10):
        experience.observe(published(second, took_ms))
        second = with_evidence(made(experience), confidence)
    assert second.forecast_ms[second.mode] == pytest.approx(took_ms, rel=0.1)
    assert second.forecast_ms["edge_only"] == first.forecast_ms["edge_only"], "nothing was seen of the edge"


@pytest.mark.parametrize(
    ("route", "given_up", "mode"),
    [
        ("edge", None, "edge_only"),
        ("cloud", None, "cloud_with_shipped_draft"),
        ("cloud", ("drafter", "no_race"), "cloud_stream"),
        ("cloud", ("drafter", "no_remote_speculation"), "cloud_stream"),
        ("edge", ("router", "fewer_passages"), "edge_only"),
        ("edge", ("fast-lane", "edge_only"), "cloud_with_shipped_draft"),
        ("edge", ("fast-lane", "abstain"), "cloud_with_shipped_draft"),
    ],
)
def test_a_forecast_is_held_against_the_mode_that_the_answer_came_of(
    route: Where, given_up: tuple[str, DegradationLevel] | None, mode: Mode
) -> None:
    plan_ = made(Experience("site1", (TENANT,)))
    assert plan_.mode == "cloud_with_shipped_draft"
    degradations = (Degradation(*given_up, 1.0, 2.0),) if given_up else ()
    outcome = outcome_of(plan_, route, timings(retriever=4.0, drafter=94.0), degradations)
    assert outcome is not None
    assert outcome.mode == mode
    assert outcome.expected_ms == PASSED_MS + plan_.forecast_ms[mode]
    assert outcome.took_ms == PASSED_MS + 100.0, "what came before the plan is known from the plan"


def test_without_a_plan_or_its_basis_nothing_was_forecast() -> None:
    assert outcome_of(None, "edge", timings(), ()) is None
    old = msgspec.structs.replace(made(Experience("site1", (TENANT,))), basis=None)
    assert outcome_of(old, "edge", timings(), ()) is None
    assert not Experience("site1", (TENANT,)).observe(published(old, 10.0))


@pytest.mark.parametrize("foreign", [{"tenant": "stranger"}, {"site": "site2"}])
def test_the_answers_of_others_teach_nothing(foreign: dict[str, Any]) -> None:
    experience = Experience("site1", (TENANT,))
    assert not experience.observe(published(made(experience), 100.0, **foreign))
    assert experience.state == PlannerState()


def test_how_long_a_lost_cloud_took_to_be_given_up_is_no_time_of_the_cloud() -> None:
    experience = Experience("site1", (TENANT,))
    given_up = (Degradation("fast-lane", "edge_only", 1.0, 2.0),)
    lost = published(made(experience), 8000.0, "edge", None, degradations=given_up)
    receipt = msgspec.structs.replace(lost.receipt, degradations=given_up)
    assert experience.observe(msgspec.structs.replace(lost, receipt=receipt))
    assert experience.times.lines == ()


def test_what_drafts_cost_is_entered_under_the_model_that_answered_also_where_the_answer_may_not_be_said() -> None:
    experience = Experience("site1", (TENANT,))
    plan_ = made(experience)
    unsure = with_evidence(plan_, 0.0)
    experience.observe(msgspec.structs.replace(published(unsure, 90.0), outcome="abstained", text=""))
    experience.observe(published(with_evidence(plan_, 0.5), 90.0))
    newer = msgspec.structs.replace(SPENT, model="target@2")
    experience.observe(published(plan_, 90.0, spent=newer))
    experience.observe(published(plan_, 90.0, "edge", SPENT))
    counts = {line.answers: line.count for line in experience.ledger.lines if line.answers.name}
    assert counts == {CARDS: 2, CARDS._replace(model="target@2"): 1}, "whatever the site had found"


def test_the_same_answers_teach_the_same_again_and_a_restart_forgets_nothing() -> None:
    experience, twin = Experience("site1", (TENANT,)), Experience("site1", (TENANT,))
    for number in range(60):
        answer = published(with_evidence(made(experience), number % 10 / 10), 80.0 + 7 * (number % 13))
        experience.observe(answer)
        twin.observe(decode(encode(answer), Published))
        kept = msgspec.json.decode(msgspec.json.encode(twin.state), type=PlannerState)
        twin = Experience("site1", (TENANT,), kept)
        assert made(twin) == made(experience)
    assert twin.state == experience.state


def test_what_was_kept_in_another_format_or_for_a_tenant_that_is_gone_is_left_out() -> None:
    experience = Experience("site1", (TENANT,))
    experience.observe(published(made(experience), 90.0))
    assert Experience("site1", (TENANT,), experience.state).state == experience.state
    assert Experience("site1", ("other",), experience.state).state == PlannerState()
    newer = msgspec.structs.replace(experience.state, format=99)
    assert Experience("site1", (TENANT,), newer).state == PlannerState()
