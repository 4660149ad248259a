"""The fast lane: the hub's verdict at once, or word that there was none in time."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest

from tests.support.escalation_site import at_hub, escalated, prepared, routed
from tidegate.brokers.base import Unreachable
from tidegate.brokers.memory.bus import MemoryHouse
from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Citation,
    Committed,
    Drafted,
    Escalated,
    Evidence,
    Refused,
    RejectError,
    RetryLaterError,
    Verified,
    Withheld,
    changed,
    decode,
    encode,
)
from tidegate.schemas.subjects import fast_lane as subject
from tidegate.services.pipeline import FAST_LANE
from tidegate.services.stages import cloud_verifier, fast_lane, retriever
from tidegate.services.stages.fast_lane.handler import Alone, Stands, hurry
from tidegate.services.streaming.log import Log, resting

pytestmark = pytest.mark.anyio

QUESTION = escalated("Who is the chief executive of the bank?")


async def verified(fact: Escalated, _: float) -> Verified:
    return fact.followed_by(Verified, question=fact.question, plan=fact.plan, answer=Answer(text="yes"))


async def unreachable(_: Escalated, __: float) -> Verified:
    raise Unreachable("no responders")


def alone(confidence: float) -> Alone:
    async def answer(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        return Answer(text="the edge's own", confidence=confidence), (READER,)

    return answer


def begun(stands: Committed) -> Stands:
    async def committed(_: Escalated) -> Committed:
        return stands

    return committed


READER = Artefact("model", "reader", "1")
NOTHING = begun(Committed())
LOST: dict[str, Any] = {"ask_hub": unreachable, "alone": alone(0.59), "alone_from": 0.6, "stands": NOTHING}


async def test_the_hubs_verdict_is_passed_on_as_it_is() -> None:
    assert await hurry(QUESTION, **{**LOST, "ask_hub": verified}, clock=lambda: 2.0) == [await verified(QUESTION, 1.0)]


@pytest.mark.parametrize(
    ("confidence", "kind", "rung"),
    [(0.6, Drafted, "edge_only"), (0.59, Withheld, "abstain"), (0.0, Withheld, "abstain")],
)
async def test_past_the_deadline_the_edge_finishes_with_what_it_can_vouch_for_and_says_what_was_given_up(
    confidence: float, kind: type, rung: str
) -> None:
    plan = msgspec.structs.replace(QUESTION.plan, shares_ms={"cloud-verifier": 2400.0})
    asked = msgspec.structs.replace(QUESTION, plan=plan)
    (outcome,) = await hurry(asked, **{**LOST, "alone": alone(confidence)}, clock=lambda: 5.0)
    assert type(outcome) is kind
    (given_up,) = outcome.concessions
    assert (given_up.stage, given_up.rung) == ("fast-lane", rung)
    assert (given_up.left_ms, given_up.needed_ms) == (0.0, 2400.0)
    assert "cannot be reached" in given_up.reason
    if isinstance(outcome, Drafted):
        assert outcome.answer.text == "the edge's own"
        assert outcome.lineage[-1] == READER


@pytest.mark.parametrize(("now_s", "after_s"), [(1.0, 0.5), (4.0, 0.5), (4.8, 0.2), (-95.0, 12.5)])
async def test_while_the_hub_cannot_be_reached_it_is_asked_again(now_s: float, after_s: float) -> None:
    with pytest.raises(RetryLaterError) as raised:
        await hurry(QUESTION, **LOST, clock=lambda: now_s)
    assert raised.value.after_s == pytest.approx(after_s)


@pytest.mark.parametrize("budget_s", [1, 4, 60, 600])
async def test_the_tries_of_the_stage_last_to_the_longest_deadline(budget_s: int) -> None:
    now_s, tries = 5.0 - budget_s, 0
    while True:
        tries += 1
        try:
            (outcome,) = await hurry(QUESTION, **LOST, clock=lambda: now_s)  # noqa: B023
        except RetryLaterError as later:
            now_s += later.after_s
        else:
            break
    assert isinstance(outcome, Withheld)
    assert tries <= FAST_LANE.retry.attempts


@pytest.mark.parametrize("budget_s", [0.5, 1.0, 1.5, 2.0, 4.0, 60.0])
async def test_a_hub_that_swallows_every_question_makes_no_abstention_late(budget_s: float) -> None:
    plan = msgspec.structs.replace(QUESTION.plan, shares_ms={"publisher": max(50.0, 50.0 * budget_s)})
    question = msgspec.structs.replace(QUESTION, plan=plan)
    now_s = 5.0 - budget_s

    async def swallow(_: Escalated, timeout_s: float) -> Verified:
        nonlocal now_s
        now_s += timeout_s
        raise Unreachable("no answer")

    while True:
        try:
            (outcome,) = await hurry(question, **{**LOST, "ask_hub": swallow}, clock=lambda: now_s)  # noqa: B023
        except RetryLaterError as later:
            now_s += later.after_s
        else:
            break
    assert isinstance(outcome, Withheld)
    assert now_s <= 5.0 + 1e-6


def cited(document: str) -> tuple[Citation, ...]:
    return (Citation(document_id=document, document_version="v1", start=0, end=4, quote="One."),)


ONE = Committed(text="One.", evidence=Evidence(citations=cited("fees"), confidence=0.8))
ONE_AND_TWO = Answer(text="One. Two.", citations=cited("fees"), confidence=0.3, checks=(Check("grounding", True, 1.0),))


@pytest.mark.parametrize(
    ("own", "stands", "confidence"),
    [
        (ONE_AND_TWO, ONE, 0.8),
        (changed(ONE_AND_TWO, confidence=0.9), ONE, 0.9),
        (changed(ONE_AND_TWO, text="One."), ONE, 0.8),  # of which it knows no more either
        (changed(ONE_AND_TWO, citations=cited("hours")), ONE, None),
        (changed(ONE_AND_TWO, text="Uno. Two.", confidence=0.9), ONE, None),
        (ONE_AND_TWO, changed(ONE, is_whole=True), None),
        (ONE_AND_TWO, changed(ONE, is_closed=True), None),
        (Answer(text=""), ONE, None),
    ],
)
async def test_what_the_cloud_began_the_edge_ends_where_its_own_answer_goes_on_from_it(
    own: Answer, stands: Committed, confidence: float | None
) -> None:
    async def draft(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        return own, (READER,)

    (outcome,) = await hurry(QUESTION, **{**LOST, "alone": draft, "stands": begun(stands)}, clock=lambda: 5.0)
    (given_up,) = outcome.concessions  # type: ignore[attr-defined]
    assert (given_up.stage, given_up.rung) == ("fast-lane", "edge_only")
    if confidence is None:
        assert isinstance(outcome, Withheld)
        assert outcome.reason == "cloud_unreachable"
    else:
        assert isinstance(outcome, Drafted)
        assert (outcome.answer.text, outcome.answer.confidence) == (own.text, confidence)
        assert outcome.answer.checks[-1] == Check("continuation", True, len("One.") / len(own.text))


async def test_the_lane_knows_what_is_committed_from_the_log() -> None:
    house = MemoryHouse("site1")
    asked = "What do I need to bring to open an account?"
    async with retriever.open(prepared(), house) as retrieve, fast_lane.open(prepared(), house) as handle:
        (found,) = await retrieve(routed(asked))
        await house.publish(found, id="found", headers={})
        fact = escalated(asked)
        (alone_,) = await handle(fact)
        assert isinstance(alone_, Drafted)
        own = alone_.answer
        log = Log(fact.rid, fact.tenant)
        (line,) = resting(log.commit(own.text[:9]), Evidence(citations=own.citations, confidence=1.0), is_whole=False)
        await house.append(line, after=0)
        (outcome,) = await handle(fact)
    assert isinstance(outcome, Drafted)
    assert (outcome.answer.text, outcome.answer.confidence) == (own.text, 1.0)


async def test_past_the_deadline_the_question_is_withheld_with_its_plan() -> None:
    (outcome,) = await hurry(QUESTION, **LOST, clock=lambda: 5.0)
    assert isinstance(outcome, Withheld)
    assert (outcome.reason, outcome.stage, outcome.route) == ("cloud_unreachable", "fast-lane", "edge")
    assert outcome.plan == QUESTION.plan
    assert outcome.language == "en"


async def test_a_refusal_of_the_hub_is_not_asked_again() -> None:
    house = MemoryHouse("site1")

    async def refuse(_: bytes) -> bytes:
        return encode(Refused(code="unreadable", reason="no"))

    await house.respond(subject("site1"), refuse)
    async with fast_lane.open(prepared(), house) as handle:
        with pytest.raises(RejectError, match="the hub refused: no"):
            await handle(QUESTION)


async def test_over_the_wire_the_site_gets_the_verdict_of_the_hub() -> None:
    house = MemoryHouse("hub")
    async with cloud_verifier.open(at_hub(), house) as durable, fast_lane.open(prepared(), house) as handle:
        in_time = msgspec.structs.replace(QUESTION, deadline_at_ms=int(time.time() * 1000) + 60_000)
        (fast,) = await handle(in_time)
        assert isinstance(fast, Verified)
        assert "Philippa Okonjo" in fast.answer.text
        assert [fast] == await durable(in_time)


async def test_with_nobody_at_the_hub_the_lane_says_so_at_once() -> None:
    async with fast_lane.open(prepared(), MemoryHouse("site1")) as handle:
        (outcome,) = await handle(QUESTION)
        assert isinstance(decode(encode(outcome), Withheld), Withheld)


async def test_the_edge_finishes_from_the_passages_that_it_had_found() -> None:
    house = MemoryHouse("site1")
    asked = "What does a banker's draft cost?"
    async with retriever.open(prepared(), house) as retrieve, fast_lane.open(prepared(), house) as handle:
        (found,) = await retrieve(routed(asked))
        await house.publish(found, id="found", headers={})
        (outcome,) = await handle(escalated(asked))
        assert isinstance(outcome, Drafted)
        assert "£12" in outcome.answer.text
        (outcome,) = await handle(escalated(asked, rid="r2"))
        assert isinstance(outcome, Withheld), "there is nothing to finish from"
