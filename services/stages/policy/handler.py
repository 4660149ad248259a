"""Policy: whether an answer may pass, as it stands or changed, under every policy in force."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Concession,
    Decision,
    Drafted,
    Partial,
    Question,
    Verified,
    Where,
    Withheld,
    changed,
)
from tidegate.schemas.refusal_texts import sentence

ShortOf = Callable[[Drafted], Concession | None]
"""What has to be given up for want of time; None where there is enough, or where it was given up before."""


class Finding(Protocol):
    """Characters `start` to `end` of a text are `value`, a piece of personal data."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def value(self) -> str: ...


FindPersonal = Callable[[str], Sequence[Finding]]


class Allow(Protocol):
    def __call__(self, answer: Answer) -> tuple[bool, str]:
        """Whether the answer may pass, and why or why not."""
        ...


class Transform(Protocol):
    def __call__(self, answer: Answer, find_personal: FindPersonal) -> tuple[Answer, str]:
        """The answer as it may pass, and what was changed in it; empty when nothing was."""
        ...


class Block(Protocol):
    def __call__(self, question: Question, answer: Answer) -> str:
        """Why the answer may not pass; empty when it may."""
        ...


class Threshold(Protocol):
    def __call__(self, answer: Answer) -> float | None:
        """The answer's score; None where it cannot have one, or has not been measured though it should."""
        ...


@dataclass(frozen=True)
class Policy:
    """One policy in force. `version` is the first 12 hex digits of the sha256 of its canonical JSON."""

    id: str
    version: str
    allow: Mapping[str, Allow]
    transform: Mapping[str, Transform]
    block: Mapping[str, Block]
    abstain_thresholds: Mapping[str, tuple[Threshold, float]]


async def judge(
    answered: Drafted | Verified, *, policies: Sequence[Policy], find_personal: FindPersonal, short_of: ShortOf
) -> list[Approved | Withheld]:
    """One `Approved` or one `Withheld`. All policies hold together: what any one of them refuses does not pass.

    Where there is no time to judge what the edge has drafted, or there was none to draft it, that is the reason. The
    cloud's verdict is judged however late: in time the asker has heard from the fast lane, and may read what comes now.

    A block weighs more than an abstention. Every rule that acted is a decision; without a policy nothing passes. The
    rules read in a thread of their own, for a long answer takes them tens of milliseconds.
    """
    if isinstance(answered, Drafted):
        given_up = short_of(answered)
        if given_up is not None:
            answered = changed(answered, concessions=(*answered.concessions, given_up))
        if any(made.rung == "abstain" for made in answered.concessions):
            return [withheld(answered, "deadline", (), ())]
    return [await asyncio.to_thread(settled, answered, policies, find_personal)]


def settled(
    answered: Drafted | Verified, policies: Sequence[Policy], find_personal: FindPersonal
) -> Approved | Withheld:
    """See `judge`."""
    question, answer = answered.question, answered.answer
    blocked = tuple(blocks(question, answer, policies))
    if blocked or not policies:
        return withheld(answered, "policy_block", policies, blocked)
    allowed, refused = permissions(answer, policies)
    if refused:
        return withheld(answered, "abstained", policies, refused)
    answer, struck = transformed(answer, policies, find_personal)
    return answered.followed_by(
        Approved,
        *artefacts(policies),
        question=question,
        plan=answered.plan,
        route=route_of(answered),
        answer=answer,
        decisions=(*allowed, *struck),
    )


async def judge_partial(partial: Partial, *, policies: Sequence[Policy], find_personal: FindPersonal) -> Partial | None:
    """An answer in the making as it may be shown, or None.

    What the cloud has said so far must pass as a whole answer would, for it will be committed. What the edge shows
    while the cloud thinks may be less sure than an answer, since it can be taken back; in all else it must pass too.
    The policies that let it pass are added to its lineage, for it may be all of the answer that there will be.
    """
    return await asyncio.to_thread(shown, partial, policies, find_personal)


def shown(partial: Partial, policies: Sequence[Policy], find_personal: FindPersonal) -> Partial | None:
    """See `judge_partial`."""
    question, answer = partial.question, partial.answer
    if not policies or any(blocks(question, answer, policies)):
        return None
    _, refused = permissions(answer, policies, unsure=partial.source == "edge")
    if refused:
        return None
    passed, _ = transformed(answer, policies, find_personal)
    ids = partial.ids if passed.text == answer.text else ()
    return changed(partial, answer=passed, ids=ids, lineage=(*partial.lineage, *artefacts(policies)))


def blocks(question: Question, answer: Answer, policies: Sequence[Policy]) -> Iterator[Decision]:
    """What forbids the answer."""
    for policy in policies:
        for name, rule in policy.block.items():
            if reason := rule(question, answer):
                yield Decision(f"{policy.id}/{name}", "block", reason)


def permissions(
    answer: Answer, policies: Sequence[Policy], *, unsure: bool = False
) -> tuple[tuple[Decision, ...], tuple[Decision, ...]]:
    """What lets the answer pass, and what does not vouch for it; an `unsure` one need reach no threshold."""
    if not answer.text.strip():
        return (), (Decision("answer", "abstain", "there is no answer"),)
    allowed: list[Decision] = []
    refused: list[Decision] = []
    for policy in policies:
        for name, rule in policy.allow.items():
            passed, reason = rule(answer)
            (allowed if passed else refused).append(
                Decision(f"{policy.id}/{name}", "allow" if passed else "abstain", reason)
            )
        for name, (score_of, least) in () if unsure else policy.abstain_thresholds.items():
            score = score_of(answer)
            if score is None or not score >= least:
                said = "was not measured" if score is None else f"{score:.3f} is below {least:g}"
                refused.append(Decision(f"{policy.id}/{name}", "abstain", f"{name} {said}"))
    return tuple(allowed), tuple(refused)


def transformed(
    answer: Answer, policies: Sequence[Policy], find_personal: FindPersonal
) -> tuple[Answer, tuple[Decision, ...]]:
    """The answer after every transform, and what each of them changed."""
    changed: list[Decision] = []
    for policy in policies:
        for name, rule in policy.transform.items():
            answer, reason = rule(answer, find_personal)
            if reason:
                changed.append(Decision(f"{policy.id}/{name}", "transform", reason))
    return answer, tuple(changed)


def withheld(
    answered: Drafted | Verified, reason: str, policies: Sequence[Policy], decisions: tuple[Decision, ...]
) -> Withheld:
    """No answer, politely."""
    language = answered.question.language
    return answered.followed_by(
        Withheld,
        *artefacts(policies),
        reason=reason,
        stage="policy",
        language=language,
        text=sentence(reason, language),
        plan=answered.plan,
        route=route_of(answered),
        decisions=decisions,
    )


def artefacts(policies: Sequence[Policy]) -> tuple[Artefact, ...]:
    return tuple(Artefact("policy", policy.id, policy.version) for policy in policies)


def route_of(answered: Drafted | Verified) -> Where:
    return "cloud" if isinstance(answered, Verified) else "edge"
