"""The drafter: vouch, or ask the cloud."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.support.escalation_site import plan, retrieved
from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Citation,
    Degradation,
    DegradationLevel,
    Draft,
    Drafted,
    Escalated,
    ForecastBasis,
    Mode,
    Partial,
    Plan,
    Retrieved,
    Verified,
    Where,
)
from tidegate.services.planning.answer_class import BANDS, band_of
from tidegate.services.planning.planner import with_evidence
from tidegate.services.stages.drafter.handler import (
    DrafterPorts,
    EscalationRules,
    MakeDraft,
    VerifyInteractively,
    draft,
)
from tidegate.services.stages.settings import DrafterSettings

pytestmark = pytest.mark.anyio

MODEL = Artefact("model", "m", "1")
DOCUMENT = Artefact("document", "fees", "v1")


GUESS = Draft(ids=(10, 77, 2), tokenizer="0a1b2c3d4e5f", drafter="lookup")


async def no_session(_: Escalated) -> Verified:
    raise AssertionError("nobody asked for it")


LOST = Degradation("drafter", "no_remote_speculation", 700.0, 1200.0, "the cloud cannot be reached")


async def lose_session(_: Escalated) -> Degradation:
    return LOST


async def decide(
    confidence: float,
    fact: Retrieved,
    *,
    published: list[Partial] | None = None,
    guess: Draft | None = GUESS,
    verify: VerifyInteractively = no_session,
    cached: tuple[Answer, Draft] | None = None,
    failing: str = "",
    verified: list[Answer] | None = None,
    drafts_made: list[str] | None = None,
) -> Drafted | Escalated | Verified:
    async def make_draft() -> Draft | None:
        (drafts_made if drafts_made is not None else []).append("one")
        return guess

    async def read(_: Retrieved) -> tuple[Answer, tuple[Artefact, ...], MakeDraft]:
        cited = Citation(document_id="fees", document_version="v1", start=0, end=1, quote="x")
        return Answer(text="x", confidence=confidence, citations=(cited,)), (MODEL, DOCUMENT), make_draft

    async def publish_partial(partial: Partial) -> None:
        (published if published is not None else []).append(partial)

    async def extract(_: Retrieved) -> Answer:
        return Answer(text="{}", format="json")

    async def verify_draft(_: Retrieved, answer: Answer) -> tuple[Answer, str]:
        (verified if verified is not None else []).append(answer)
        checked = (Check(failing, False, 0.0),) if failing else ()
        return msgspec.structs.replace(answer, checks=checked), failing

    ports = DrafterPorts(
        read, extract, publish_partial, lambda *_: None, verify, lambda _: cached, with_evidence, verify_draft
    )
    asks = DrafterSettings(escalate_below=0.6, escalate_below_for={"fees": 0.8, "hours": 0.3})
    (outcome,) = await draft(fact, ports, EscalationRules(asks.least_confidence, frozenset({"weather"})))
    return outcome


WEATHER = {"intent": "weather", "intent_confidence": 0.9}


@pytest.mark.parametrize(
    ("confidence", "fact", "kind", "reason"),
    [
        (0.6, retrieved("q"), Drafted, ""),
        (0.59, retrieved("q"), Escalated, "low_confidence"),
        (0.79, retrieved("q", intent="fees"), Escalated, "low_confidence"),
        (0.8, retrieved("q", intent="fees"), Drafted, ""),
        (0.3, retrieved("q", intent="hours"), Drafted, ""),
        (0.59, retrieved("q", plan_=plan(may_escalate=False)), Drafted, ""),
        (0.99, retrieved("q", plan_=plan(where="cloud")), Escalated, "planned"),
        (0.99, retrieved("q", plan_=plan(where="cloud", may_escalate=False)), Drafted, ""),
        (0.1, retrieved("q", **WEATHER), Drafted, ""),
        (0.1, retrieved("q", intent="weather", intent_confidence=0.7), Escalated, "low_confidence"),
        (0.99, retrieved("q", **WEATHER), Drafted, ""),
        (0.0, retrieved("q", workload="extract", schema="{}"), Drafted, ""),
        (0.0, retrieved("q", workload="classify"), Drafted, ""),
    ],
)
async def test_the_edge_escalates_only_what_it_is_unsure_of_and_may(
    confidence: float, fact: Retrieved, kind: type, reason: str
) -> None:
    outcome = await decide(confidence, fact)
    assert type(outcome) is kind
    assert getattr(outcome, "reason", "") == reason


async def test_a_draft_is_made_only_of_what_goes_up() -> None:
    made: list[str] = []
    for confidence in (0.9, 0.3):
        await decide(confidence, retrieved("q"), drafts_made=made)
        assert len(made) == (confidence == 0.3)


async def test_what_goes_up_names_the_model_and_no_document_or_passage_of_the_site() -> None:
    outcome = await decide(0.3, retrieved("q"))
    assert isinstance(outcome, Escalated)
    assert outcome.lineage == (MODEL,)
    assert outcome.edge_confidence == 0.3


@pytest.mark.parametrize(
    ("mode", "length", "shipped"),
    [
        ("edge_only", 8, None),
        ("cloud_stream", 8, None),
        ("cloud_with_shipped_draft", 8, GUESS),
        ("race", 8, GUESS),
        ("race", 0, None),
        ("remote_speculation", 8, GUESS),
    ],
)
async def test_the_draft_goes_along_where_the_plan_ships_it(mode: Mode, length: int, shipped: Draft | None) -> None:
    asked = retrieved("q", plan_=msgspec.structs.replace(plan(), mode=mode, draft_length=length))
    outcome = await decide(0.3, asked, verify=lose_session)
    assert isinstance(outcome, Escalated)
    assert outcome.draft == shipped


@pytest.mark.parametrize("confidence", [0.0, 0.15, 0.5])
async def test_an_escalation_is_forecast_by_how_sure_the_edge_was(confidence: float) -> None:
    basis = ForecastBasis(class_name="cards", rtt_ms=50.0, cloud_factors=(1.0, *(0.5 + band for band in BANDS)))
    forecast_ms = {"edge_only": 60.0, "cloud_stream": 250.0}
    plan_ = msgspec.structs.replace(plan(), mode="cloud_stream", basis=basis, forecast_ms=forecast_ms)
    outcome = await decide(confidence, retrieved("q", plan_=plan_))
    assert isinstance(outcome, Escalated)
    assert outcome.plan == with_evidence(plan_, confidence)
    assert outcome.plan.forecast_ms == {"edge_only": 60.0, "cloud_stream": 50 + 200 * (0.5 + band_of(confidence))}


LOOP = msgspec.structs.replace(
    plan(), mode="remote_speculation", draft_length=8, forecast_ms={"remote_speculation": 1200.0}
)


async def test_where_the_session_comes_to_its_end_nothing_is_escalated() -> None:
    async def verify(asked: Escalated) -> Verified:
        assert asked.draft == GUESS
        answer = Answer(text="the cloud's", confidence=0.9)
        return asked.followed_by(Verified, question=asked.question, plan=asked.plan, answer=answer)

    outcome = await decide(0.3, retrieved("q", plan_=LOOP), verify=verify)
    assert isinstance(outcome, Verified)
    assert outcome.lineage == (MODEL,)


async def test_a_question_whose_session_is_lost_is_escalated_and_records_it() -> None:
    outcome = await decide(0.3, retrieved("q", plan_=LOOP), verify=lose_session)
    assert isinstance(outcome, Escalated)
    assert outcome.draft == GUESS
    assert outcome.degradations == (LOST,)


@pytest.mark.parametrize(
    ("confidence", "plan_"),
    [
        (0.3, plan()),
        (0.3, msgspec.structs.replace(LOOP, mode="race")),
        (0.3, msgspec.structs.replace(LOOP, where="cloud")),
        (0.3, msgspec.structs.replace(LOOP, may_escalate=False)),
        (0.9, LOOP),
    ],
)
async def test_there_is_no_session_but_where_the_plan_has_one_and_the_edge_is_unsure(
    confidence: float, plan_: Plan
) -> None:
    assert isinstance(await decide(confidence, retrieved("q", plan_=plan_)), (Drafted, Escalated))


@pytest.mark.parametrize("level", ["no_race", "no_remote_speculation"])
@pytest.mark.parametrize("where", ["edge", "cloud"])
async def test_where_the_session_is_given_up_already_the_cloud_is_asked_plainly(
    level: DegradationLevel, where: Where
) -> None:
    given_up = (Degradation("router", level, 0.0, 1.0),)
    asked = retrieved("q", plan_=msgspec.structs.replace(LOOP, where=where), degradations=given_up)
    outcome = await decide(0.3, asked)
    assert isinstance(outcome, Escalated)
    assert outcome.degradations == given_up


async def test_a_draft_that_may_not_leave_the_site_stays() -> None:
    outcome = await decide(0.3, retrieved("q", plan_=RACE), guess=None)
    assert isinstance(outcome, Escalated)
    assert outcome.draft is None


RACE = msgspec.structs.replace(plan(), mode="race", show_from=0.3, draft_length=8)


@pytest.mark.parametrize(
    ("confidence", "can_retract", "plan_", "texts"),
    [
        (0.3, True, RACE, ["x"]),
        (0.29, True, RACE, []),
        (0.3, False, RACE, []),
        (0.3, True, msgspec.structs.replace(RACE, mode="cloud_with_shipped_draft"), []),
        (0.6, True, RACE, []),
    ],
)
async def test_a_race_shows_the_edges_answer_to_who_can_take_it_back(
    confidence: float, can_retract: bool, plan_: Plan, texts: list[str]
) -> None:
    published: list[Partial] = []
    await decide(confidence, retrieved("q", plan_=plan_, can_retract=can_retract), published=published)
    assert [partial.answer.text for partial in published] == texts
    assert all((partial.source, partial.is_whole, partial.rid) == ("edge", True, "r1") for partial in published)
    assert all(partial.guess == "draft" for partial in published)


PAST = (Answer(text="y", confidence=0.2), Draft(ids=(11,), tokenizer="0a1b2c3d4e5f", drafter="lookup"))
SHIPPED = msgspec.structs.replace(RACE, mode="cloud_with_shipped_draft")
STREAM = msgspec.structs.replace(RACE, mode="cloud_stream")


@pytest.mark.parametrize(
    ("confidence", "can_retract", "plan_", "texts", "shipped"),
    [
        (0.3, True, RACE, ["y"], PAST[1]),
        (0.1, True, RACE, ["y"], PAST[1]),
        (0.1, False, RACE, [], PAST[1]),
        (0.1, True, SHIPPED, ["y"], PAST[1]),
        (0.1, False, SHIPPED, [], PAST[1]),
        (0.1, True, STREAM, [], None),
    ],
)
async def test_the_cloud_s_earlier_answer_replaces_the_draft_wherever_there_is_one(
    confidence: float, can_retract: bool, plan_: Plan, texts: list[str], shipped: Draft | None
) -> None:
    published: list[Partial] = []
    outcome = await decide(
        confidence, retrieved("q", plan_=plan_, can_retract=can_retract), published=published, cached=PAST
    )
    assert isinstance(outcome, Escalated)
    assert outcome.draft == shipped
    assert [partial.answer.text for partial in published] == texts
    assert all((partial.source, partial.guess, partial.rid) == ("edge", "cached_answer", "r1") for partial in published)


async def test_what_the_edge_vouches_for_itself_it_does_not_look_up() -> None:
    outcome = await decide(0.9, retrieved("q", plan_=RACE, can_retract=True), cached=PAST)
    assert isinstance(outcome, Drafted)
    assert outcome.answer.text == "x"


async def test_a_draft_has_the_model_and_the_cited_documents_in_its_lineage() -> None:
    outcome = await decide(0.9, retrieved("q"))
    assert isinstance(outcome, Drafted)
    assert outcome.lineage == (MODEL, DOCUMENT)


async def test_a_classification_is_the_prefilters_with_its_own_confidence() -> None:
    outcome = await decide(0.0, retrieved("q", workload="classify", intent="hours", intent_confidence=0.75))
    assert isinstance(outcome, Drafted)
    assert json.loads(outcome.answer.text) == {"intent": "hours", "confidence": 0.75}
    assert (outcome.answer.format, outcome.answer.confidence) == ("json", 0.75)
    assert [(check.name, check.passed) for check in outcome.answer.checks] == [("schema", True)]
