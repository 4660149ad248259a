"""What the drafter decides: whether the edge vouches for its answer or asks the cloud."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Set

from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Concession,
    Draft,
    Drafted,
    Escalated,
    Guess,
    Partial,
    Plan,
    Question,
    Retrieved,
    Rung,
    Verified,
    changed,
)

Read = Callable[[Retrieved], Awaitable[tuple[Answer, tuple[Artefact, ...], Draft | None]]]
"""From a question with its passages to the answer, what made it, and the tokens that the cloud may be expected to say;
no tokens where they may not leave the site."""

Extract = Callable[[Retrieved], Awaitable[Answer]]
"""From a text and its schema to an answer in JSON."""

Tell = Callable[[Partial], Awaitable[None]]
"""Says an answer in the making on the token plane; nobody has to hear it."""

ShortOf = Callable[[Retrieved, frozenset[Rung]], Concession | None]
"""What has to be given up for want of time, of the rungs that are named; None where there is enough."""

LOOP = "economy_loop"
Recall = Callable[[Retrieved], tuple[Answer, Draft] | None]
"""What the cloud answered to the same question before, and the tokens of that; None where it was not asked."""

SHIPPED = frozenset({"cloud_with_shipped_draft", "race"})
NO_LOOP: frozenset[Rung] = frozenset({"no_race", "no_loop"})
"""Once one of these is given up the cloud is asked plainly where a loop was planned."""


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
    short_of: ShortOf,
    loop: Loop = no_loop,
    recall: Recall = lambda _: None,
    beyond: frozenset[str] = frozenset(),
    beyond_from: float = 0.8,
) -> list[Drafted | Escalated | Verified]:
    """Drafted, or Escalated where the plan sends the question to the cloud or the edge is less sure than
    `escalate_below` and may ask; Verified where the plan is to draft for the cloud and that came to its end.

    `beyond` are the intents that no corpus answers; a question that is one of them with `beyond_from` certainty is not
    worth asking the cloud: the edge's draft stays, with the confidence it has, for the policy to abstain from.
    Where the plan says so the edge's draft goes along with the question; in a race it is told at once, as provisional.
    Where the same question was asked before, what the cloud said to it takes the draft's place in both. The cloud has
    vouched for it, so no confidence is asked for; and vouches for it again before it is an answer.
    Where time is short, less is done, and the fact says so (see `within_time`): nothing is drafted and nobody asked
    once somebody found that there is no time to answer.
    """
    retrieved = within_time(retrieved, short_of)
    question, plan, given_up = retrieved.question, retrieved.plan, {made.rung for made in retrieved.concessions}
    made = await unread(retrieved, given_up, extract)
    if made is not None:
        return [made]
    planned = is_planned(plan)
    answer, parts, guess = await read(retrieved)
    hopeless = question.intent in beyond and question.intent_confidence >= beyond_from
    may_ask = plan.may_escalate and "edge_only" not in given_up and not hopeless
    if not planned and not (may_ask and answer.confidence < escalate_below):
        return [retrieved.followed_by(Drafted, *parts, question=question, plan=plan, answer=answer)]
    reason = "planned" if planned else "low_confidence" if answer.text else "no_answer"
    shipped = await guessed(retrieved, answer, guess, recall, tell)
    asked = escalated(retrieved, reason, answer, parts, shipped)
    loops = plan.mode == LOOP and given_up.isdisjoint(NO_LOOP)
    return [await in_a_loop(asked, loop) if loops else asked]


async def unread(retrieved: Retrieved, given_up: Set[Rung], extract: Extract) -> Drafted | Escalated | None:
    """What becomes of a question for which no passage is read; None where that is to be done."""
    question, plan = retrieved.question, retrieved.plan
    if "abstain" in given_up:
        return retrieved.followed_by(Drafted, question=question, plan=plan, answer=Answer(text=""))
    if question.workload != "assist":
        answer = classified(question) if question.workload == "classify" else await extract(retrieved)
        return retrieved.followed_by(Drafted, question=question, plan=plan, answer=answer)
    if is_planned(plan) and (plan.mode not in SHIPPED or "no_race" in given_up):
        return retrieved.followed_by(Escalated, question=question, plan=plan, reason="planned")
    return None


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
    """Tell what may be the answer, to a client that can take it back: a draft where the plan races, what the cloud said
    before wherever it is shipped, however well the site drafts."""
    plan = retrieved.plan
    modes = SHIPPED if guess == "past_answer" else {"race"}
    if plan.mode in modes and retrieved.can_retract and answer.text:
        fields = {"question": retrieved.question, "plan": plan, "answer": answer}
        await tell(retrieved.followed_by(Partial, source="edge", **fields, is_whole=True, guess=guess))


def classified(question: Question) -> Answer:
    """The intent that the prefilter found, as JSON, with its own confidence."""
    text = json.dumps({"intent": question.intent, "confidence": round(question.intent_confidence, 4)})
    checks = (Check("schema", True, 1.0),)
    return Answer(text=text, format="json", confidence=question.intent_confidence, checks=checks)
