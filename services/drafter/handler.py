"""What the drafter decides: whether the edge vouches for its answer or asks the cloud."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from schemas import (
    Answer,
    Artefact,
    Check,
    Concession,
    Draft,
    Drafted,
    Escalated,
    Guess,
    Message,
    Partial,
    Question,
    Retrieved,
    Verified,
    changed,
)

Read = Callable[[Retrieved], Awaitable[tuple[Answer, tuple[Artefact, ...], Draft | None]]]
"""From a question with its passages to the answer, what made it, and the tokens that the cloud may be expected to say;
no tokens where they may not leave the site."""

Extract = Callable[[Question], Awaitable[Answer]]
"""From a text and its schema to an answer in JSON."""

Tell = Callable[[Partial], Awaitable[None]]
"""Says an answer in the making on the token plane; nobody has to hear it."""

LOOP = "economy_loop"
Recall = Callable[[Retrieved], tuple[Answer, Draft] | None]
"""What the cloud answered to the same question before, and the tokens of that; None where it was not asked."""

SHIPPED = frozenset({"cloud_with_shipped_draft", "race"})


class LoopLost(ConnectionError):
    """The loop did not come to its end: the question is to be escalated as any other."""

    def __init__(self, reason: str, left_ms: float = 0.0) -> None:
        super().__init__(reason)
        self.left_ms = left_ms


Loop = Callable[[Escalated], Awaitable[Verified]]
"""Drafts the cloud's answer for the cloud to verify, to the end. Raises `LoopLost`."""


async def no_loop(_: Escalated) -> Verified:
    """Where nobody can run one."""
    raise LoopLost("no loop can be run here")


async def draft(
    retrieved: Retrieved,
    *,
    read: Read,
    extract: Extract,
    escalate_below: float,
    tell: Tell,
    loop: Loop = no_loop,
    recall: Recall = lambda _: None,
    beyond: frozenset[str] = frozenset(),
    beyond_from: float = 0.8,
) -> list[Message]:
    """Drafted, or Escalated where the plan sends the question to the cloud or the edge is less sure than
    `escalate_below` and may ask; Verified where the plan is to draft for the cloud and that came to its end.

    `beyond` are the intents that no corpus answers; a question that is one of them with `beyond_from` certainty is not
    worth asking the cloud: the edge's draft stays, with the confidence it has, for the policy to abstain from.
    Where the plan says so the edge's draft goes along with the question; in a race it is told at once, as provisional.
    Where the same question was asked before, what the cloud said to it takes the draft's place in both. The cloud has
    vouched for it, so no confidence is asked for; and vouches for it again before it is an answer.
    """
    question, plan = retrieved.question, retrieved.plan
    if question.workload == "classify":
        return [retrieved.followed_by(Drafted, question=question, plan=plan, answer=classified(question))]
    if question.workload == "extract":
        answer = await extract(question)
        return [retrieved.followed_by(Drafted, question=question, plan=plan, answer=answer)]
    planned = plan.where == "cloud" and plan.may_escalate
    if planned and plan.mode not in SHIPPED:
        return [retrieved.followed_by(Escalated, question=question, plan=plan, reason="planned")]
    answer, parts, guess = await read(retrieved)
    hopeless = question.intent in beyond and question.intent_confidence >= beyond_from
    unsure = answer.confidence < escalate_below and plan.may_escalate and not hopeless
    if not (planned or unsure):
        return [retrieved.followed_by(Drafted, *parts, question=question, plan=plan, answer=answer)]
    reason = "planned" if planned else "low_confidence" if answer.text else "no_answer"
    shipped = await guessed(retrieved, answer, guess, recall, tell)
    asked = escalated(retrieved, reason, answer, parts, shipped)
    return [await in_a_loop(asked, loop) if plan.mode == LOOP else asked]


async def in_a_loop(asked: Escalated, loop: Loop) -> Verified | Escalated:
    """The verdict that the loop came to; or the escalation, which says what was given up, once it is lost.

    The escalation is stored only then, so that the cloud does not answer the same question twice.
    """
    try:
        return await loop(asked)
    except LoopLost as lost:
        needed_ms = asked.plan.forecast_ms.get(LOOP, 0.0)
        given_up = Concession("drafter", "no_loop", lost.left_ms, needed_ms, str(lost))
        return changed(asked, concessions=(*asked.concessions, given_up))


def escalated(
    retrieved: Retrieved, reason: str, answer: Answer, parts: tuple[Artefact, ...], guess: Draft | None
) -> Escalated:
    """The question for the cloud, with the edge's draft where the plan ships it, or begins a loop with it."""
    plan = retrieved.plan
    return retrieved.followed_by(
        Escalated,
        *(part for part in parts if part.kind == "model"),
        question=retrieved.question,
        plan=plan,
        reason=reason,
        edge_confidence=answer.confidence,
        draft=guess if plan.mode in SHIPPED or plan.mode == LOOP else None,
    )


async def guessed(
    retrieved: Retrieved, answer: Answer, guess: Draft | None, recall: Recall, tell: Tell
) -> Draft | None:
    """The tokens that the cloud may be expected to say, and their text shown, where the edge is sure enough of it."""
    past = recall(retrieved)
    if past is not None:
        await show(retrieved, past[0], "past_answer", tell)
        return past[1]
    if answer.confidence >= retrieved.plan.show_from:
        await show(retrieved, answer, "draft", tell)
    return guess


async def show(retrieved: Retrieved, answer: Answer, guess: Guess, tell: Tell) -> None:
    """Tell what may be the answer where the plan races and the client can take it back."""
    plan = retrieved.plan
    if plan.mode == "race" and retrieved.can_retract and answer.text:
        fields = {"question": retrieved.question, "plan": plan, "answer": answer}
        await tell(retrieved.followed_by(Partial, source="edge", **fields, is_whole=True, guess=guess))


def classified(question: Question) -> Answer:
    """The intent that the prefilter found, as JSON, with its own confidence."""
    text = json.dumps({"intent": question.intent, "confidence": round(question.intent_confidence, 4)})
    checks = (Check("schema", True, 1.0),)
    return Answer(text=text, format="json", confidence=question.intent_confidence, checks=checks)
