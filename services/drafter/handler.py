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
    Partial,
    Plan,
    Question,
    Retrieved,
    Rung,
    changed,
)

Read = Callable[[Retrieved], Awaitable[tuple[Answer, tuple[Artefact, ...], Draft | None]]]
"""From a question with its passages to the answer, what made it, and the tokens that the cloud may be expected to say;
no tokens where they may not leave the site."""

Extract = Callable[[Question], Awaitable[Answer]]
"""From a text and its schema to an answer in JSON."""

Tell = Callable[[Partial], Awaitable[None]]
"""Says an answer in the making on the token plane; nobody has to hear it."""

ShortOf = Callable[[Retrieved, frozenset[Rung]], Concession | None]
"""What has to be given up for want of time, of the rungs that are named; None where there is enough."""

SHIPPED = frozenset({"cloud_with_shipped_draft", "race"})


async def draft(
    retrieved: Retrieved,
    *,
    read: Read,
    extract: Extract,
    escalate_below: float,
    tell: Tell,
    short_of: ShortOf,
    beyond: frozenset[str] = frozenset(),
    beyond_from: float = 0.8,
) -> list[Drafted | Escalated]:
    """Drafted, or Escalated where the plan sends the question to the cloud or the edge is less sure than
    `escalate_below` and may ask.

    `beyond` are the intents that no corpus answers; a question that is one of them with `beyond_from` certainty is not
    worth asking the cloud: the edge's draft stays, with the confidence it has, for the policy to abstain from.
    Where the plan says so the edge's draft goes along with the question; in a race it is told at once, as provisional.
    Where time is short, less is done, and the fact says so (see `within_time`): nothing is drafted and nobody asked
    once somebody found that there is no time to answer.
    """
    retrieved = within_time(retrieved, short_of)
    question, plan, given_up = retrieved.question, retrieved.plan, {made.rung for made in retrieved.concessions}
    if "abstain" in given_up:
        return [retrieved.followed_by(Drafted, question=question, plan=plan, answer=Answer(text=""))]
    if question.workload != "assist":
        answer = classified(question) if question.workload == "classify" else await extract(question)
        return [retrieved.followed_by(Drafted, question=question, plan=plan, answer=answer)]
    planned = is_planned(plan)
    if planned and (plan.mode not in SHIPPED or "no_race" in given_up):
        return [retrieved.followed_by(Escalated, question=question, plan=plan, reason="planned")]
    answer, parts, guess = await read(retrieved)
    hopeless = question.intent in beyond and question.intent_confidence >= beyond_from
    may_ask = plan.may_escalate and "edge_only" not in given_up and not hopeless
    if not planned and not (may_ask and answer.confidence < escalate_below):
        return [retrieved.followed_by(Drafted, *parts, question=question, plan=plan, answer=answer)]
    reason = "planned" if planned else "low_confidence" if answer.text else "no_answer"
    await show(retrieved, answer, tell)
    return [escalated(retrieved, reason, answer, parts, guess)]


def is_planned(plan: Plan) -> bool:
    """Whether the question goes to the cloud, whatever the edge makes of it."""
    return plan.where == "cloud" and plan.may_escalate


def rungs_of(retrieved: Retrieved) -> frozenset[Rung]:
    """What the drafter has to give up for this question: nothing, where it does no work that takes time.

    What is planned for the cloud can go there without a draft (`no_race`). What the edge is to answer can be read from
    fewer passages (`smaller_k`), and the time that the cloud was to have can be used up here (`edge_only`).
    """
    plan = retrieved.plan
    match retrieved.question.workload:
        case "classify":
            return frozenset()
        case "extract":
            return frozenset({"full"})
    if is_planned(plan):
        return frozenset({"full", "no_race"}) if plan.mode in SHIPPED else frozenset()
    return frozenset({"full", "smaller_k", "edge_only"} if plan.may_escalate else {"full", "smaller_k"})


def within_time(retrieved: Retrieved, short_of: ShortOf) -> Retrieved:
    """The question as there is time for it: what is given up stands among its concessions, and it has half of its
    passages (and at least one) where that is part of it and they were not made fewer before."""
    rungs = rungs_of(retrieved)
    conceded = short_of(retrieved, rungs) if rungs else None
    if conceded is None:
        return retrieved
    passages = retrieved.passages
    if conceded.rung in {"smaller_k", "edge_only"} and all(made.rung != "smaller_k" for made in retrieved.concessions):
        passages = passages[: max(1, len(passages) // 2)]
    return changed(retrieved, passages=passages, concessions=(*retrieved.concessions, conceded))


def escalated(
    retrieved: Retrieved, reason: str, answer: Answer, parts: tuple[Artefact, ...], guess: Draft | None
) -> Escalated:
    """The question for the cloud, with the edge's draft where the plan ships it."""
    plan = retrieved.plan
    return retrieved.followed_by(
        Escalated,
        *(part for part in parts if part.kind == "model"),
        question=retrieved.question,
        plan=plan,
        reason=reason,
        edge_confidence=answer.confidence,
        draft=guess if plan.mode in SHIPPED else None,
    )


async def show(retrieved: Retrieved, answer: Answer, tell: Tell) -> None:
    """Tell the edge's answer where the plan races, the client can take it back, and the edge is sure enough."""
    plan = retrieved.plan
    if plan.mode == "race" and retrieved.can_retract and answer.text and answer.confidence >= plan.show_from:
        partial = retrieved.followed_by(
            Partial, source="edge", question=retrieved.question, plan=plan, answer=answer, is_whole=True
        )
        await tell(partial)


def classified(question: Question) -> Answer:
    """The intent that the prefilter found, as JSON, with its own confidence."""
    text = json.dumps({"intent": question.intent, "confidence": round(question.intent_confidence, 4)})
    checks = (Check("schema", True, 1.0),)
    return Answer(text=text, format="json", confidence=question.intent_confidence, checks=checks)
