"""Derives the decision on an answer anew from what was recorded of it, and says whether it is the one that was given.

Promises no side effect: nothing is stored, asked of a model or sent. Time is that of the record: what was given up for
want of it then is given up now. Next: services/stages/policy/handler.py, which decides, then as now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.schemas import (
    PIPELINE,
    Approved,
    Degradation,
    Drafted,
    Fact,
    Message,
    Partial,
    Published,
    Replied,
    Suggestion,
    TidegateError,
    UnreadableError,
    Verified,
    Withheld,
    decode,
)
from tidegate.schemas.audit import AuditedAnswer
from tidegate.services.evidence.entries import receipt_digest
from tidegate.services.policies.evaluation import PolicyEvaluation
from tidegate.services.stages.policy import JudgingRules, evaluate_in_thread
from tidegate.services.stages.policy.handler import PolicyPorts, judge

F = TypeVar("F", bound=Fact)
ReplayVerdict = Literal["identical", "differs", "not_derived"]
LoadRules = Callable[[str, int], Awaitable[JudgingRules]]
"""The policies of a tenant that a generation has. Raises `GenerationGoneError`, `PolicyError`, and as they are read."""


class ReplayOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one request when it was decided again. `difference` is the first field that is not as it was,
    with both values; `reason` says why there was nothing to decide again. `is_logged`: the receipt is the one in the
    audit log; None where that was not asked."""

    rid: str
    verdict: ReplayVerdict
    decided_by: str = ""
    outcome: str = ""
    difference: str = ""
    reason: str = ""
    is_logged: bool | None = None


async def replay(rid: str, stored: Sequence[StoredMessage], load_rules: LoadRules) -> ReplayOutcome:
    """Decide a request again by all that is stored of it. Raises `UnreadableError` for what is no fact."""
    facts = [fact for fact in (_read(message) for message in stored) if fact is not None]
    published = _last(facts, Published)
    if published is None:
        return ReplayOutcome(rid=rid, verdict="not_derived", reason="no answer of it is stored here")
    settled = _settled(facts, published)
    if settled is None:
        return _not_derived(rid, published, facts)
    answered: Drafted | Verified | None = _last(facts, Verified) if settled.route == "cloud" else _last(facts, Drafted)
    if answered is None:
        return _not_derived(rid, published, facts)
    try:
        rules = await load_rules(answered.tenant, answered.generation)
    except TidegateError as error:
        return _outcome(rid, published, verdict="not_derived", reason=f"its policies are not held here: {error.reason}")
    [again] = await judge(answered, _ports_of(settled, rules))
    difference = find_difference(settled, again)
    return _outcome(rid, published, verdict="differs" if difference else "identical", difference=difference)


def find_difference(recorded: Approved | Withheld, again: Approved | Withheld) -> str:
    """The first field of a decision that is not as it was recorded; empty: all are."""
    if type(recorded) is not type(again):
        names = (type(recorded).__name__.lower(), type(again).__name__.lower())
        return f"it was {names[0]}, and would be {names[1]}: {_reasons(again)}"
    for field in msgspec.structs.fields(type(recorded)):
        before, now = getattr(recorded, field.name), getattr(again, field.name)
        if field.name not in ("timings", "speculation") and before != now:
            return f"{field.name}: {before!r}"[:250] + f" then, {now!r}"[:250] + " now"
    return ""


def with_entry(outcome: ReplayOutcome, published: Published | None, logged: AuditedAnswer | None) -> ReplayOutcome:
    """The outcome, and whether the receipt that is stored is the one that was logged."""
    if published is None:
        return outcome
    is_logged = logged is not None and logged.receipt_digest == receipt_digest(published.receipt)
    return msgspec.structs.replace(outcome, is_logged=is_logged)


def published_of(stored: Sequence[StoredMessage]) -> Published | None:
    """The answer among what is stored of a request. Raises `UnreadableError`."""
    return _last([fact for fact in (_read(message) for message in stored) if fact is not None], Published)


def _ports_of(settled: Approved | Withheld, rules: JudgingRules) -> PolicyPorts:
    """What the policy calls, by the record: its clock has given up what it gave up then, and it offers the same."""
    given_up = next((each for each in settled.degradations if each.stage == "policy"), None)
    suggestions: tuple[Suggestion, ...] = settled.suggestions if isinstance(settled, Withheld) else ()

    def required_degradation(answered: Drafted) -> Degradation | None:
        return given_up if given_up not in answered.degradations else None

    async def suggest(_: Drafted | Verified) -> tuple[Suggestion, ...]:
        return suggestions

    async def evaluate(answered: Drafted | Verified | Partial, is_provisional: bool) -> PolicyEvaluation:
        return await evaluate_in_thread(rules, answered, is_provisional)

    return PolicyPorts(evaluate, required_degradation, suggest)


def _settled(facts: Sequence[Message], published: Published) -> Approved | Withheld | None:
    """What the published answer follows from, where the policy has decided it."""
    if published.outcome == "answered":
        approved = [fact for fact in facts if isinstance(fact, Approved) and fact.route == published.receipt.route]
        return approved[-1] if approved else None
    withheld = [fact for fact in facts if isinstance(fact, Withheld) and fact.reason == published.reason]
    return withheld[-1] if withheld and withheld[-1].stage == "policy" else None


def _not_derived(rid: str, published: Published, facts: Sequence[Message]) -> ReplayOutcome:
    by = next((fact.stage for fact in reversed(facts) if isinstance(fact, (Withheld, Replied))), "")
    if by and by != "policy":
        return _outcome(rid, published, verdict="not_derived", by=by, reason=f"the {by} decided it, by its models")
    reason = "what was judged is no longer stored: the streams of the pipeline keep three days"
    return _outcome(rid, published, verdict="not_derived", reason=reason)


def _outcome(
    rid: str,
    published: Published,
    *,
    verdict: ReplayVerdict,
    by: str = "policy",
    difference: str = "",
    reason: str = "",
) -> ReplayOutcome:
    return ReplayOutcome(
        rid=rid, verdict=verdict, decided_by=by, outcome=published.outcome, difference=difference, reason=reason
    )


def _reasons(fact: Approved | Withheld) -> str:
    return ", ".join(f"{decision.rule}: {decision.reason}" for decision in fact.decisions)[:250]


def _last(facts: Sequence[Message], kind: type[F]) -> F | None:
    return next((fact for fact in reversed(facts) if isinstance(fact, kind)), None)


def _read(stored: StoredMessage) -> Message | None:
    try:
        message: Message = decode(stored.data, *PIPELINE)
    except UnreadableError as error:
        raise UnreadableError(f"{stored.position}: {error.reason}") from error
    return message
