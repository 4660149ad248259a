"""Policy: whether an answer may pass, as it stands or changed, under every policy in force.

Promises that nothing passes unjudged. Next: services/policies/evaluation.py, which the composition root plugs in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Decision,
    Degradation,
    Drafted,
    Escalated,
    Partial,
    Suggestion,
    Verified,
    Where,
    Withheld,
    replace,
)
from tidegate.schemas.refusal_texts import refusal_text, suggestions_text

UNVOUCHED = frozenset({"abstained", "cloud_unreachable"})
"""Reasons for which what is nearest may still help: there is no answer, and time for a look at passages."""


class Evaluation(Protocol):
    """The answer as it may pass, the rules that acted, the notices it passes with; or, with a `refusal` (the reason's
    code), why it may not."""

    @property
    def answer(self) -> Answer: ...
    @property
    def policies(self) -> tuple[Artefact, ...]: ...
    @property
    def decisions(self) -> tuple[Decision, ...]: ...
    @property
    def refusal(self) -> str: ...
    @property
    def notices(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class PolicyPorts:
    """What the policy stage may call."""

    evaluate: Callable[[Drafted | Verified | Partial, bool], Awaitable[Evaluation]]
    """Evaluates an answer under all policies that hold for its request; the flag says that it is provisional and can be
    taken back."""
    required_degradation: Callable[[Drafted], Degradation | None]
    """What has to be given up for want of time; None where there is enough, or where it was given up before."""
    suggest: Callable[[Drafted | Verified], Awaitable[tuple[Suggestion, ...]]]
    """The nearest passages that all policies let pass, best first."""
    own_escalation: Callable[[Verified], Awaitable[Escalated | None]]
    """What the site itself had escalated; None where that is no longer stored."""


async def judge(answered: Drafted | Verified, ports: PolicyPorts) -> list[Approved | Withheld]:
    """One `Approved` or one `Withheld`.

    Where there is no time to judge what the edge has drafted, or there was none to draft it, that is the reason. The
    cloud's verdict is judged however late: the fast lane has answered in time, and this is reconciled with that.
    """
    if isinstance(answered, Drafted):
        given_up = ports.required_degradation(answered)
        if given_up is not None:
            answered = replace(answered, degradations=(*answered.degradations, given_up))
        abstained = next((made for made in answered.degradations if made.level == "abstain"), None)
        if abstained is not None:
            reason = "cloud_unreachable" if abstained.stage == "fast-lane" else "deadline"
            return [await with_suggestions(withhold(answered, reason), answered, ports)]
    if isinstance(answered, Verified) and answered.refusal:
        return [withhold(await as_escalated(answered, ports), "hub_refused")]
    evaluation = await ports.evaluate(answered, False)
    if evaluation.refusal:
        withheld = withhold(answered, evaluation.refusal, *evaluation.policies, decisions=evaluation.decisions)
        if evaluation.refusal in UNVOUCHED:
            withheld = replace(withheld, fields=evaluation.answer.fields)
        return [await with_suggestions(withheld, answered, ports)]
    return [
        answered.followed_by(
            Approved,
            *evaluation.policies,
            question=answered.question,
            plan=answered.plan,
            route=route_of(answered),
            answer=evaluation.answer,
            decisions=evaluation.decisions,
            notices=evaluation.notices,
        )
    ]


async def as_escalated(refused: Verified, ports: PolicyPorts) -> Verified:
    """A verdict without a look at the question, as one to what the site had asked: the hub repeats nothing of that."""
    own = await ports.own_escalation(refused)
    if own is None:
        return refused
    return own.followed_by(
        Verified, question=own.question, plan=own.plan, answer=refused.answer, refusal=refused.refusal
    )


async def with_suggestions(withheld: Withheld, answered: Drafted | Verified, ports: PolicyPorts) -> Withheld:
    """The abstention with the nearest passages, and a sentence that says that nothing vouches for them."""
    suggestions = await ports.suggest(answered) if withheld.reason in UNVOUCHED else ()
    if not suggestions:
        return withheld
    text = f"{withheld.text} {suggestions_text(withheld.language)}"
    return replace(withheld, text=text, suggestions=suggestions)


async def judge_partial(partial: Partial, ports: PolicyPorts) -> Partial | None:
    """An answer in the making as it may be shown, or None.

    The cloud's text so far must pass as a whole answer would, for it will be committed. What the edge shows while the
    cloud thinks may be less sure than an answer, since it can be taken back; in all else it must pass too. The policies
    that let it pass are added to its lineage, for it may be all of the answer that there will be.
    """
    evaluation = await ports.evaluate(partial, partial.source == "edge")
    if evaluation.refusal:
        return None
    ids = partial.ids if evaluation.answer.text == partial.answer.text else ()
    lineage = (*partial.lineage, *evaluation.policies)
    return replace(partial, answer=evaluation.answer, ids=ids, lineage=lineage, notices=evaluation.notices)


def withhold(
    answered: Drafted | Verified, reason: str, *policies: Artefact, decisions: tuple[Decision, ...] = ()
) -> Withheld:
    """No answer, with a polite sentence instead."""
    language = answered.question.language
    return answered.followed_by(
        Withheld,
        *policies,
        reason=reason,
        stage="policy",
        language=language,
        text=refusal_text(reason, language),
        plan=answered.plan,
        route=route_of(answered),
        decisions=decisions,
        question=answered.question,
        speculation=answered.answer.speculation,
    )


def route_of(answered: Drafted | Verified) -> Where:
    return "cloud" if isinstance(answered, Verified) else "edge"
