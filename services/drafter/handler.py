"""What the drafter decides: whether the edge vouches for its answer or asks the cloud."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from schemas import Answer, Artefact, Check, Drafted, Escalated, Message, Question, Retrieved

Read = Callable[[Retrieved], Awaitable[tuple[Answer, tuple[Artefact, ...]]]]
"""From a question with its passages to the answer and what made it."""

Extract = Callable[[Question], Awaitable[Answer]]
"""From a text and its schema to an answer in JSON."""


async def draft(
    retrieved: Retrieved,
    *,
    read: Read,
    extract: Extract,
    escalate_below: float,
    beyond: frozenset[str] = frozenset(),
    beyond_from: float = 0.8,
) -> list[Message]:
    """Drafted, or Escalated where the plan sends the question to the cloud or the edge is less sure than
    `escalate_below` and may ask.

    `beyond` are the intents that no corpus answers; a question that is one of them with `beyond_from` certainty is not
    worth asking the cloud: the edge's draft stays, with the confidence it has, for the policy to abstain from.
    """
    question, plan = retrieved.question, retrieved.plan
    if question.workload == "classify":
        return [retrieved.followed_by(Drafted, question=question, plan=plan, answer=classified(question))]
    if question.workload == "extract":
        answer = await extract(question)
        return [retrieved.followed_by(Drafted, question=question, plan=plan, answer=answer)]
    if plan.where == "cloud" and plan.may_escalate:
        return [retrieved.followed_by(Escalated, question=question, plan=plan, reason="planned")]
    answer, parts = await read(retrieved)
    hopeless = question.intent in beyond and question.intent_confidence >= beyond_from
    if answer.confidence < escalate_below and plan.may_escalate and not hopeless:
        model = tuple(part for part in parts if part.kind == "model")
        reason = "low_confidence" if answer.text else "no_answer"
        return [
            retrieved.followed_by(
                Escalated, *model, question=question, plan=plan, reason=reason, edge_confidence=answer.confidence
            )
        ]
    return [retrieved.followed_by(Drafted, *parts, question=question, plan=plan, answer=answer)]


def classified(question: Question) -> Answer:
    """The intent that the prefilter found, as JSON, with its own confidence."""
    text = json.dumps({"intent": question.intent, "confidence": round(question.intent_confidence, 4)})
    checks = (Check("schema", True, 1.0),)
    return Answer(text=text, format="json", confidence=question.intent_confidence, checks=checks)
