"""The fast lane: the hub's verdict at once, or word that there was none in time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tests.support.escalation_site import at_hub, escalated, prepared, routed
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Citation,
    Committed,
    Drafted,
    Escalated,
    Evidence,
    Message,
    Refused,
    RejectError,
    RetryLaterError,
    Verified,
    Withheld,
    decode,
    encode,
    replace,
)
from tidegate.schemas.verification_subjects import fast_lane as subject
from tidegate.services.pipeline import FAST_LANE
from tidegate.services.stages import cloud_verifier, fast_lane, retriever
from tidegate.services.stages.fast_lane.handler import FastLanePorts, ask_in_time
from tidegate.services.stages.settings import DrafterSettings
from tidegate.services.streaming.log import AnswerLog, with_evidence

pytestmark = pytest.mark.anyio

QUESTION = escalated("Who is the chief executive of the bank?")


async def verified(fact: Escalated, _: float) -> Verified:
    return fact.followed_by(Verified, question=fact.question, plan=fact.plan, answer=Answer(text="yes"))


async def unreachable(_: Escalated, __: float) -> Verified:
    raise UnreachableError("no responders")


def alone(confidence: float) -> Callable[[Escalated], Awaitable[tuple[Answer, tuple[Artefact, ...]]]]:
    async def answer(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        return Answer(text="the edge's own", confidence=confidence), (READER,)

    return answer


def begun(committed: Committed) -> Callable[[Escalated], Awaitable[Committed]]:
    async def committed_part(_: Escalated) -> Committed:
        return committed

    return committed_part


def is_abstention(outcome: Message) -> bool:
    """Whether the policy is to abstain, for want of the hub."""
    return isinstance(outcome, Drafted) and [made.level for made in outcome.degradations] == ["abstain"]


READER = Artefact("model", "reader", "1")
ASKS = DrafterSettings(escalate_below=0.6, escalate_below_for={"fees": 0.8, "hours": 0.3})
NOTHING = begun(Committed())


async def run(fact: Escalated, clock: Callable[[], float] = lambda: 5.0, **ports: Any) -> list[Message]:
    """The lane with a hub that cannot be reached, unless `ports` say otherwise."""
    known = {"ask_hub": unreachable, "answer_alone": alone(0.59), "committed_part": NOTHING, **ports}
    return await ask_in_time(fact, FastLanePorts(clock=clock, **known), ASKS.least_confidence)


async def test_the_hubs_verdict_is_passed_on_as_it_is() -> None:
    assert await run(QUESTION, lambda: 2.0, ask_hub=verified) == [await verified(QUESTION, 1.0)]


@pytest.mark.parametrize(
    ("intent", "confidence", "vouches", "level"),
    [
        ("", 0.6, True, "edge_only"),
        ("", 0.59, False, "abstain"),
        ("", 0.0, False, "abstain"),
        ("fees", 0.79, False, "abstain"),
        ("fees", 0.8, True, "edge_only"),
        ("hours", 0.3, True, "edge_only"),
    ],
)
async def test_past_the_deadline_the_edge_finishes_with_what_it_can_vouch_for_and_says_what_was_given_up(
    intent: str, confidence: float, vouches: bool, level: str
) -> None:
    plan = msgspec.structs.replace(QUESTION.plan, shares_ms={"cloud-verifier": 2400.0})
    asked = msgspec.structs.replace(QUESTION, plan=plan, question=replace(QUESTION.question, intent=intent))
    (outcome,) = await run(asked, lambda: 5.0, answer_alone=alone(confidence))
    assert isinstance(outcome, Drafted)
    (given_up,) = outcome.degradations
    assert (given_up.stage, given_up.level) == ("fast-lane", level)
    assert (given_up.left_ms, given_up.needed_ms) == (0.0, 2400.0)
    assert "cannot be reached" in given_up.reason
    assert outcome.answer.text == "the edge's own"
    assert outcome.lineage[-1] == READER
    assert is_abstention(outcome) is not vouches


@pytest.mark.parametrize(("now_s", "after_s"), [(1.0, 0.5), (4.0, 0.5), (4.8, 0.2), (-95.0, 12.5)])
async def test_while_the_hub_cannot_be_reached_it_is_asked_again(now_s: float, after_s: float) -> None:
    with pytest.raises(RetryLaterError) as raised:
        await run(QUESTION, lambda: now_s)
    assert raised.value.after_s == pytest.approx(after_s)


@pytest.mark.parametrize("budget_s", [1, 4, 60, 600])
async def test_the_tries_of_the_stage_last_to_the_longest_deadline(budget_s: int) -> None:
    now_s, tries = 5.0 - budget_s, 0
    while True:
        tries += 1
        try:
            (outcome,) = await run(QUESTION, lambda: now_s)  # noqa: B023
        except RetryLaterError as later:
            now_s += later.after_s
        else:
            break
    assert is_abstention(outcome)
    assert tries <= FAST_LANE.retry.attempts


@pytest.mark.parametrize("budget_s", [0.5, 1.0, 1.5, 2.0, 4.0, 60.0])
async def test_a_hub_that_swallows_every_question_makes_no_abstention_late(budget_s: float) -> None:
    plan = msgspec.structs.replace(QUESTION.plan, shares_ms={"publisher": max(50.0, 50.0 * budget_s)})
    question = msgspec.structs.replace(QUESTION, plan=plan)
    now_s = 5.0 - budget_s

    async def swallow(_: Escalated, timeout_s: float) -> Verified:
        nonlocal now_s
        now_s += timeout_s
        raise UnreachableError("no answer")

    while True:
        try:
            (outcome,) = await run(question, lambda: now_s, ask_hub=swallow)  # noqa: B023
        except RetryLaterError as later:
            now_s += later.after_s
        else:
            break
    assert is_abstention(outcome)
    assert now_s <= 5.0 + 1e-6


def cited(document: str) -> tuple[Citation, ...]:
    return (Citation(document_id=document, document_version="v1", start=0, end=4, quote="One."),)


ONE = Committed(text="One.", evidence=Evidence(citations=cited("fees"), confidence=0.8))
ONE_AND_TWO = Answer(text="One. Two.", citations=cited("fees"), confidence=0.3, checks=(Check("grounding", True, 1.0),))


@pytest.mark.parametrize(
    ("own", "committed", "confidence"),
    [
        (ONE_AND_TWO, ONE, 0.8),
        (replace(ONE_AND_TWO, confidence=0.9), ONE, 0.9),
        (replace(ONE_AND_TWO, text="One."), ONE, 0.8),  # of which it knows no more either
        (replace(ONE_AND_TWO, citations=cited("hours")), ONE, None),
        (replace(ONE_AND_TWO, text="Uno. Two.", confidence=0.9), ONE, None),
        (ONE_AND_TWO, replace(ONE, is_whole=True), None),
        (ONE_AND_TWO, replace(ONE, is_closed=True), None),
        (Answer(text=""), ONE, None),
    ],
)
async def test_what_the_cloud_began_the_edge_ends_where_its_own_answer_goes_on_from_it(
    own: Answer, committed: Committed, confidence: float | None
) -> None:
    async def draft(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        return own, (READER,)

    (outcome,) = await run(QUESTION, lambda: 5.0, answer_alone=draft, committed_part=begun(committed))
    (given_up,) = outcome.degradations  # type: ignore[attr-defined]
    assert (given_up.stage, given_up.level) == ("fast-lane", "edge_only")
    if confidence is None:
        assert isinstance(outcome, Withheld)
        assert outcome.reason == "cloud_unreachable"
    else:
        assert isinstance(outcome, Drafted)
        assert (outcome.answer.text, outcome.answer.confidence) == (own.text, confidence)
        assert outcome.answer.checks[-1] == Check("continuation", True, len("One.") / len(own.text))


async def test_the_lane_knows_what_is_committed_from_the_log() -> None:
    bus = MemoryBus("site1")
    asked = "What do I need to bring to open an account?"
    async with retriever.open(prepared(), bus) as retrieve, fast_lane.open(prepared(), bus) as handle:
        (found,) = await retrieve(routed(asked))
        await bus.publish(found, id="found", headers={})
        fact = escalated(asked)
        (alone_,) = await handle(fact)
        assert isinstance(alone_, Drafted)
        own = alone_.answer
        log = AnswerLog(fact.rid, fact.tenant)
        (line,) = with_evidence(
            log.commit(own.text[:9]), Evidence(citations=own.citations, confidence=1.0), is_whole=False
        )
        await bus.append(line, after=0)
        (outcome,) = await handle(fact)
    assert isinstance(outcome, Drafted)
    assert (outcome.answer.text, outcome.answer.confidence) == (own.text, 1.0)


async def test_past_the_deadline_the_policy_is_to_abstain_from_the_question_with_its_plan() -> None:
    (outcome,) = await run(QUESTION, lambda: 5.0)
    assert is_abstention(outcome)
    assert isinstance(outcome, Drafted)
    assert (outcome.plan, outcome.question) == (QUESTION.plan, QUESTION.question)


async def test_a_refusal_of_the_hub_is_not_asked_again() -> None:
    bus = MemoryBus("site1")

    async def refuse(_: bytes) -> bytes:
        return encode(Refused(code="unreadable", reason="no"))

    await bus.respond(subject("site1", "kiosk"), refuse)
    async with fast_lane.open(prepared(), bus) as handle:
        with pytest.raises(RejectError, match="the hub refused: no"):
            await handle(QUESTION)


async def test_over_the_wire_the_site_gets_the_verdict_of_the_hub() -> None:
    bus = MemoryBus("hub")
    async with cloud_verifier.open(at_hub(), bus) as durable, fast_lane.open(prepared(), bus) as handle:
        in_time = msgspec.structs.replace(QUESTION, deadline_at_ms=int(time.time() * 1000) + 60_000)
        (fast,) = await handle(in_time)
        assert isinstance(fast, Verified)
        assert "Philippa Okonjo" in fast.answer.text
        assert [timing.stage for timing in fast.timings] == ["cloud-verifier"]  # a worker adds it in the durable lane
        assert [msgspec.structs.replace(fast, timings=())] == await durable(in_time)


async def test_with_nobody_at_the_hub_the_lane_abstains_at_once() -> None:
    async with fast_lane.open(prepared(), MemoryBus("site1")) as handle:
        (outcome,) = await handle(QUESTION)
        assert is_abstention(decode(encode(outcome), Drafted))


async def test_the_edge_finishes_from_the_passages_that_it_had_found() -> None:
    bus = MemoryBus("site1")
    asked = "What does a banker's draft cost?"
    async with retriever.open(prepared(), bus) as retrieve, fast_lane.open(prepared(), bus) as handle:
        (found,) = await retrieve(routed(asked))
        await bus.publish(found, id="found", headers={})
        (outcome,) = await handle(escalated(asked))
        assert isinstance(outcome, Drafted)
        assert "£12" in outcome.answer.text
        (outcome,) = await handle(escalated(asked, rid="r2"))
        assert is_abstention(outcome), "there is nothing to finish from"
