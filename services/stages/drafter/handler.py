"""The drafter's decision: whether the edge vouches for its own answer or asks the cloud.

Promises that less is done where time is short, and that the fact records it. Next: drafter/__init__.py."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Set
from dataclasses import dataclass

from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Degradation,
    DegradationLevel,
    Draft,
    Drafted,
    Escalated,
    Guess,
    Partial,
    Plan,
    Question,
    Retrieved,
    Verified,
    replace,
)

INTERACTIVE = "remote_speculation"
SHIPPED = frozenset({"cloud_with_shipped_draft", "race"})
READ_AT_SITE: frozenset[DegradationLevel] = frozenset({"full", "fewer_passages", "no_rerank"})
"""The levels at which the site itself reads passages."""
NOT_INTERACTIVE: frozenset[DegradationLevel] = frozenset({"no_race", "no_remote_speculation"})
"""Once one of these is given up the cloud is asked plainly where interactive verification was planned."""

VerifyInteractively = Callable[[Escalated], Awaitable[Verified | Degradation]]
"""Drafts the cloud's answer for the cloud to verify, to the end; or what was given up because the session was lost."""


MakeDraft = Callable[[], Awaitable[Draft | None]]
"""The tokens that the cloud may be expected to answer with; none where they may not leave the site. Called only where
the cloud is asked: most answers of the edge need no draft."""

VerifyDraft = Callable[[Retrieved, Answer], Awaitable[tuple[Answer, str]]]
"""The answer with the checks that were made, and the code of the one that failed; empty: none did."""


async def unverified(_: Retrieved, answer: Answer) -> tuple[Answer, str]:
    """There is no verifier."""
    return answer, ""


@dataclass(frozen=True)
class DrafterPorts:
    """What the drafter may call."""

    read: Callable[[Retrieved], Awaitable[tuple[Answer, tuple[Artefact, ...], MakeDraft]]]
    """From a question with its passages to the answer, what made it, and what makes a draft of it for the cloud."""
    extract: Callable[[Retrieved], Awaitable[Answer]]
    """From a text and its schema to an answer in JSON."""
    publish_partial: Callable[[Partial], Awaitable[None]]
    """Publishes an answer in the making on the token plane; nobody has to receive it."""
    required_degradation: Callable[[Retrieved, frozenset[DegradationLevel]], Degradation | None]
    """What has to be given up for want of time, of the levels that are named; None where there is enough."""
    verify_interactively: VerifyInteractively
    cached_answer: Callable[[Retrieved], tuple[Answer, Draft] | None]
    """The cloud's answer to the same question before, and its tokens; None where it was not asked."""
    forecast: Callable[[Plan, float], Plan]
    """The plan with what the cloud is expected to take of a question of whose answer the edge is so sure."""
    verify: VerifyDraft = unverified
    """What the site's verifier finds wrong with an answer of the edge."""


@dataclass(frozen=True)
class EscalationRules:
    """When the cloud is asked: below the confidence that a question needs (`least_confidence`); but not for the intents
    `hopeless`, which no corpus answers, where the question is one of them with at least `hopeless_from` certainty."""

    least_confidence: Callable[[Question], float]
    hopeless: frozenset[str] = frozenset()
    hopeless_from: float = 0.8


async def draft(
    retrieved: Retrieved, ports: DrafterPorts, rules: EscalationRules
) -> list[Drafted | Escalated | Verified]:
    """Drafted, or Escalated where the plan sends the question to the cloud, or the edge is not sure enough or its draft
    fails the verifier, and it may ask: where it may not, the policy has the last word. Verified where the plan is to
    draft for the cloud and that came to its end.

    For a hopeless question the edge's draft stays, with the confidence it has, for the policy to abstain from. Where
    the plan says so the edge's draft goes along with the question; in a race it is published at once, as provisional.
    Where the same question was asked before, the cloud's answer of then takes the draft's part in both: the cloud has
    vouched for it, so no confidence is asked for, and vouches for it again before it is an answer.
    Where time is short, less is done, and the fact records it (see `within_time`): nothing is drafted and nobody asked
    once a stage found that there is no time to answer.
    """
    retrieved = within_time(retrieved, ports)
    question, plan, given_up = retrieved.question, retrieved.plan, {made.level for made in retrieved.degradations}
    made = await without_reading(retrieved, given_up, ports)
    if made is not None:
        return [made]
    is_planned = is_planned_for_cloud(plan)
    answer, parts, make_draft = await ports.read(retrieved)
    is_hopeless = question.intent in rules.hopeless and question.intent_confidence >= rules.hopeless_from
    may_ask = plan.may_escalate and "edge_only" not in given_up and not is_hopeless
    reason = "planned" if is_planned else "low_confidence" if answer.text else "no_answer"
    if not is_planned and not (may_ask and answer.confidence < rules.least_confidence(question)):
        answer, failed = await ports.verify(retrieved, answer) if answer.text else (answer, "")
        if not (may_ask and failed):
            return [drafted(retrieved, answer, *parts)]
        reason = failed
    shipped = await draft_to_ship(retrieved, answer, make_draft, ports)
    foreseen = replace(retrieved, plan=ports.forecast(retrieved.plan, answer.confidence))
    asked = escalate(foreseen, reason, answer, parts, shipped)
    if plan.mode != INTERACTIVE or given_up & NOT_INTERACTIVE:
        return [asked]
    outcome = await ports.verify_interactively(asked)
    if isinstance(outcome, Verified):
        return [outcome]
    # The escalation is stored only now, so that the cloud does not answer the same question twice.
    return [replace(asked, degradations=(*asked.degradations, outcome))]


async def without_reading(
    retrieved: Retrieved, given_up: Set[DegradationLevel], ports: DrafterPorts
) -> Drafted | Escalated | None:
    """The outcome for a question for which no passage is read; None where that is to be done."""
    question, plan = retrieved.question, retrieved.plan
    if "abstain" in given_up:
        return drafted(retrieved, Answer(text=""))
    if question.workload == "classify":
        return drafted(retrieved, classification(question))
    if question.workload == "extract":
        answer = await ports.extract(retrieved)
        may_ask = plan.may_escalate and "edge_only" not in given_up and can_be_filled(answer)
        if may_ask and not all(check.passed for check in answer.checks if check.name == "schema"):
            foreseen = replace(retrieved, plan=ports.forecast(plan, answer.confidence))
            return escalate(foreseen, "schema", answer, (), None)
        return drafted(retrieved, answer)
    if is_planned_for_cloud(plan) and (plan.mode not in SHIPPED or "no_race" in given_up):
        return retrieved.followed_by(Escalated, question=question, plan=plan, reason="planned")
    return None


def can_be_filled(answer: Answer) -> bool:
    """Whether the schema is one that can be filled at all, from whatever text."""
    return not any(check.name.startswith("schema_") for check in answer.checks)


def drafted(retrieved: Retrieved, answer: Answer, *parts: Artefact) -> Drafted:
    return retrieved.followed_by(Drafted, *parts, question=retrieved.question, plan=retrieved.plan, answer=answer)


def is_planned_for_cloud(plan: Plan) -> bool:
    """Whether the question goes to the cloud, whatever the edge makes of it."""
    return plan.where == "cloud" and plan.may_escalate


def levels_of(retrieved: Retrieved) -> frozenset[DegradationLevel]:
    """The levels at which the drafter can work on this question; none where its work takes no time.

    What is planned for the cloud can go there without a draft (`no_race`). What the edge is to answer can be read from
    fewer passages (`fewer_passages`), without the cross-encoder (`no_rerank`), and the time that the cloud was to have
    can be used up here (`edge_only`).
    """
    plan = retrieved.plan
    match retrieved.question.workload:
        case "classify":
            return frozenset()
        case "extract":
            return frozenset({"full"})
    if is_planned_for_cloud(plan):
        return frozenset({"full", "no_race"}) if plan.mode in SHIPPED else frozenset()
    return READ_AT_SITE | {"edge_only"} if plan.may_escalate else READ_AT_SITE


def within_time(retrieved: Retrieved, ports: DrafterPorts) -> Retrieved:
    """The question as there is time for it: what is given up is among its degradations, and it has half of its
    passages (and at least one) where that is part of it and they were not made fewer before."""
    levels = levels_of(retrieved)
    degradation = ports.required_degradation(retrieved, levels) if levels else None
    if degradation is None:
        return retrieved
    passages = retrieved.passages
    is_reduced = any(made.level == "fewer_passages" for made in retrieved.degradations)
    if degradation.level in {"fewer_passages", "no_rerank", "edge_only"} and not is_reduced:
        passages = passages[: max(1, len(passages) // 2)]
    return replace(retrieved, passages=passages, degradations=(*retrieved.degradations, degradation))


def escalate(
    retrieved: Retrieved, reason: str, answer: Answer, parts: tuple[Artefact, ...], shipped: Draft | None
) -> Escalated:
    """The question for the cloud, with the edge's draft where the plan ships it or verifies it interactively: not where
    it only races, for then no draft is worth its bytes."""
    plan = retrieved.plan
    ships = plan.draft_length > 0 and (plan.mode in SHIPPED or plan.mode == INTERACTIVE)
    return retrieved.followed_by(
        Escalated,
        *(part for part in parts if part.kind == "model"),
        question=retrieved.question,
        plan=plan,
        reason=reason,
        edge_confidence=answer.confidence,
        draft=shipped if ships else None,
    )


async def draft_to_ship(
    retrieved: Retrieved, answer: Answer, make_draft: MakeDraft, ports: DrafterPorts
) -> Draft | None:
    """The tokens that the cloud may be expected to answer with; their text is shown where the edge is sure enough."""
    cached = ports.cached_answer(retrieved)
    if cached is not None:
        await show(retrieved, cached[0], "cached_answer", ports)
        return cached[1]
    if answer.confidence >= retrieved.plan.show_from:
        await show(retrieved, answer, "draft", ports)
    return await make_draft()


async def show(retrieved: Retrieved, answer: Answer, guess: Guess, ports: DrafterPorts) -> None:
    """Publish what may be the answer, for a client that can take it back: a draft where the plan races, the cloud's
    earlier answer wherever it is shipped, however well the site drafts."""
    plan = retrieved.plan
    modes = SHIPPED if guess == "cached_answer" else {"race"}
    if plan.mode in modes and retrieved.can_retract and answer.text:
        fields = {"question": retrieved.question, "plan": plan, "answer": answer}
        await ports.publish_partial(retrieved.followed_by(Partial, source="edge", **fields, is_whole=True, guess=guess))


def classification(question: Question) -> Answer:
    """The intent that the prefilter found, as JSON, with its own confidence."""
    text = json.dumps({"intent": question.intent, "confidence": round(question.intent_confidence, 4)})
    checks = (Check("schema", True, 1.0),)
    return Answer(text=text, format="json", confidence=question.intent_confidence, checks=checks)
