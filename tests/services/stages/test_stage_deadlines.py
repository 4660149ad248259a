"""What the drafter does without for the deadline, when the policy abstains for it, and that both name themselves."""

from __future__ import annotations

import msgspec
import pytest

from tests.support.policy_files import ports
from tidegate.schemas import (
    Answer,
    Artefact,
    Degradation,
    DegradationLevel,
    Draft,
    Drafted,
    Escalated,
    Mode,
    Partial,
    Passage,
    Plan,
    Question,
    Retrieved,
    Verified,
    Withheld,
)
from tidegate.services.planning.degradation import LatencyModel
from tidegate.services.planning.planner import with_evidence
from tidegate.services.policies.policy import Policy
from tidegate.services.stages.drafter.handler import DrafterPorts, EscalationRules, MakeDraft, draft, levels_of
from tidegate.services.stages.policy.handler import judge

pytestmark = pytest.mark.anyio

QUESTION = Question(text="How?", language="en", intent="cards", intent_confidence=0.9)
TIMES: dict[DegradationLevel, float] = {"full": 300.0, "fewer_passages": 150.0, "no_race": 1.0, "edge_only": 150.0}
DRAFTING = {"drafter": 200.0, "cloud-verifier": 600.0, "policy": 50.0, "publisher": 50.0}
"""What the drafter may use of a budget of 1000 ms is what the clock leaves above 700."""


def given(levels: tuple[DegradationLevel, ...]) -> tuple[Degradation, ...]:
    return tuple(Degradation("router", level, 0.0, 1.0) for level in levels)


def found(
    *,
    where: str = "edge",
    may_escalate: bool = True,
    mode: Mode = "race",
    given_up: tuple[DegradationLevel, ...] = (),
    **more: str,
) -> Retrieved:
    passages = tuple(
        Passage(document_id=f"d{n}", document_version="v", title="", text="x", language="en", start=0, end=1, score=1.0)
        for n in range(5)
    )
    plan = Plan(
        where=where, may_escalate=may_escalate, k=8, model="m", shares_ms=DRAFTING,  # type: ignore[arg-type]
        config_version="t", reason="r", mode=mode, draft_length=8,
    )  # fmt: skip
    return Retrieved(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=1000, deadline_at_ms=2000, plan=plan, passages=passages,
        question=msgspec.structs.replace(QUESTION, **more), degradations=given(given_up),
    )  # fmt: skip


async def drafted_at(now_ms: float, fact: Retrieved) -> tuple[Drafted | Escalated | Verified, list[int]]:
    """What the drafter makes of it at that time, and how many passages it read."""
    read: list[int] = []

    async def make_draft() -> Draft:
        return Draft(ids=(1,), tokenizer="t")

    async def reading(given: Retrieved) -> tuple[Answer, tuple[Artefact, ...], MakeDraft]:
        read.append(len(given.passages))
        return Answer(text="x", confidence=0.3), (), make_draft

    async def extract(_: Retrieved) -> Answer:
        return Answer(text="{}", format="json")

    async def publish_partial(_: Partial) -> None:
        raise AssertionError("the client cannot take back what is shown")

    async def no_session(_: Escalated) -> Verified:
        raise AssertionError("no plan here is interactive")

    latency = LatencyModel("drafter", TIMES, lambda: now_ms / 1000)
    give_up = latency.required_degradation
    ports = DrafterPorts(reading, extract, publish_partial, give_up, no_session, lambda _: None, with_evidence)
    [made_] = await draft(fact, ports, EscalationRules(lambda _: 0.6))
    return made_, read


CLOUDS: dict[str, object] = {"where": "cloud"}


@pytest.mark.parametrize(
    ("now_ms", "fact", "degraded", "kind", "read", "ships"),
    [
        (1000.0, found(), [], Escalated, [5], True),
        (1001.0, found(), ["fewer_passages"], Escalated, [2], True),
        (1150.0, found(), ["fewer_passages"], Escalated, [2], True),
        (1151.0, found(), ["edge_only"], Drafted, [2], False),
        (1850.0, found(), ["edge_only"], Drafted, [2], False),
        (1851.0, found(), ["abstain"], Drafted, [], False),
        (1001.0, found(given_up=("fewer_passages",)), [], Escalated, [5], True),  # made fewer before
        (1151.0, found(given_up=("fewer_passages",)), ["edge_only"], Drafted, [5], False),
        (1000.0, found(given_up=("abstain",)), [], Drafted, [], False),
        (1151.0, found(may_escalate=False), ["fewer_passages"], Drafted, [2], False),
        (1851.0, found(may_escalate=False), ["abstain"], Drafted, [], False),
        (1000.0, found(**CLOUDS), [], Escalated, [5], True),  # type: ignore[arg-type]
        (1001.0, found(**CLOUDS), ["no_race"], Escalated, [], False),  # type: ignore[arg-type]
        (2000.0, found(**CLOUDS), ["abstain"], Drafted, [], False),  # type: ignore[arg-type]
        (2500.0, found(**CLOUDS, mode="cloud_stream"), [], Escalated, [], False),  # type: ignore[arg-type]
        (1001.0, found(workload="extract"), [], Drafted, [], False),
        (1701.0, found(workload="extract"), ["abstain"], Drafted, [], False),
        (2500.0, found(workload="classify"), [], Drafted, [], False),
    ],
)
async def test_the_drafter_does_what_it_has_time_for_and_names_itself(
    now_ms: float, fact: Retrieved, degraded: list[DegradationLevel], kind: type, read: list[int], ships: bool
) -> None:
    before = len(fact.degradations)
    fact_made, read_ = await drafted_at(now_ms, fact)
    own = fact_made.degradations[before:]
    assert [(degradation.stage, degradation.level) for degradation in own] == [("drafter", level) for level in degraded]
    assert (type(fact_made), read_) == (kind, read)
    assert (getattr(fact_made, "draft", None) is not None) is ships
    assert all(degradation.level in {*levels_of(fact), "abstain"} for degradation in own)
    if isinstance(fact_made, Drafted):
        given_up = {degradation.level for degradation in fact_made.degradations}
        assert (fact_made.answer.text == "") is ("abstain" in given_up)


ALLOWS_ALL = Policy(id="p", version="1", allow={}, transform={}, block={}, abstain_thresholds={})


@pytest.mark.parametrize(
    ("now_ms", "kind", "given_up", "reason"),
    [
        (1990.0, Drafted, (), ""),
        (1991.0, Drafted, (), "deadline"),
        (2500.0, Drafted, (), "deadline"),
        (1000.0, Drafted, ("abstain",), "deadline"),
        (1000.0, Drafted, ("edge_only",), ""),
        (2500.0, Verified, (), ""),  # the fast lane has spoken in time: this one is reconciled with that
    ],
)
async def test_the_policy_abstains_where_there_is_no_time_to_judge_and_names_itself(
    now_ms: float, kind: type[Drafted] | type[Verified], given_up: tuple[DegradationLevel, ...], reason: str
) -> None:
    fact = found(given_up=given_up)
    answered = fact.followed_by(kind, question=fact.question, plan=fact.plan, answer=Answer(text="Yes."))
    latency = LatencyModel("policy", {"full": 10.0}, lambda: now_ms / 1000)
    [settled] = await judge(answered, ports(ALLOWS_ALL, required_degradation=latency.required_degradation))
    assert (settled.reason if isinstance(settled, Withheld) else "") == reason
    own = settled.degradations[len(given_up) :]
    late = reason and not given_up
    assert [(degradation.stage, degradation.level) for degradation in own] == ([("policy", "abstain")] if late else [])
    if late:
        assert (own[0].needed_ms, own[0].reason) == (10.0, f"it lay waiting for {now_ms - 1000:.0f} ms")


def test_a_stage_has_only_those_levels_that_are_open() -> None:
    latency = LatencyModel("drafter", TIMES, lambda: 1.001)

    def level(*of: DegradationLevel) -> DegradationLevel | None:
        degradation = latency.required_degradation(found(), of)
        return None if degradation is None else degradation.level

    assert level("full", "fewer_passages", "edge_only") == "fewer_passages"
    assert level("full", "edge_only") == "edge_only"
    assert level("evidence_only") is None
    twice = found(given_up=("fewer_passages", "edge_only"))
    assert latency.level_of(twice, ("full", "fewer_passages")) == "fewer_passages"
    full_only: tuple[DegradationLevel, ...] = ("full",)
    assert latency.level_of(twice, full_only) == "full"
