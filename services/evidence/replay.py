"""Derives the decision on an answer anew from what was recorded of it, and says whether it is the one that was given.

Promises no side effect: nothing is stored, asked of a model or sent. Time is that of the record: what was given up for
want of it then is given up now. Next: services/stages/policy/handler.py, which decides, then as now;
screening_replay.py, the prefilter's part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.schemas import (
    PIPELINE,
    Approved,
    Degradation,
    Drafted,
    Escalated,
    Fact,
    Message,
    Partial,
    Published,
    Replied,
    Screened,
    Suggestion,
    TidegateError,
    UnreadableError,
    Verified,
    Withheld,
    decode,
)
from tidegate.schemas.audit import AuditedAnswer
from tidegate.services.evidence.difference import find_difference
from tidegate.services.evidence.entries import plain, receipt_digest
from tidegate.services.evidence.screening_replay import (
    STAGE,
    ReplayVerdict,
    ScreenAgain,
    ScreeningReplay,
    find_first,
    replay_screening,
)
from tidegate.services.policies.evaluation import PolicyEvaluation
from tidegate.services.stages.policy import JudgingRules, evaluate_answer
from tidegate.services.stages.policy.handler import PolicyPorts, judge

F = TypeVar("F", bound=Fact)
LoadRules = Callable[[str, int], Awaitable[JudgingRules]]
"""The policies of a tenant that a generation has. Raises `GenerationGoneError`, `PolicyError`, and as they are read."""


MARKS = {"identical": "=", "differs": "!", "not_derived": "?"}


class Deciders(NamedTuple):
    """By what requests are decided again; without `screen` the prefilter's part is left out."""

    load_rules: LoadRules
    screen: ScreenAgain | None = None


class ReplayOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one request when it was decided again. `difference` is the first field that is not as it was,
    with both values; `reason` says why there was nothing to decide again. `screening` is the verdict on what the
    prefilter decided, empty where that was not asked, and `screening_reason` why there was nothing of it to decide
    again. `is_logged`: the receipt is the one in the audit log; None where that was not asked."""

    rid: str
    verdict: ReplayVerdict
    decided_by: str = ""
    outcome: str = ""
    difference: str = ""
    reason: str = ""
    screening: ReplayVerdict | Literal[""] = ""
    screening_reason: str = ""
    is_logged: bool | None = None


async def replay(
    rid: str, stored: Sequence[StoredMessage], load_rules: LoadRules, screen: ScreenAgain | None = None
) -> ReplayOutcome:
    """Decide a request again by all that is stored of it; the prefilter's part too, where there is who screens. Raises
    `UnreadableError` for what is no fact."""
    facts = [fact for fact in (_read(message) for message in stored) if fact is not None]
    published = _last(facts, Published)
    if published is None:
        return ReplayOutcome(rid=rid, verdict="not_derived", reason="no answer of it is stored here")
    screening = None if screen is None else await replay_screening(facts, screen)
    first = find_first(facts)
    if screening is not None and first is not None and not isinstance(first, Screened):
        difference = screening.difference or _unlike(published, first)
        outcome = _outcome(
            rid, published, verdict=screening.verdict, by=STAGE, difference=difference, reason=screening.reason
        )
        return msgspec.structs.replace(outcome, screening=screening.verdict)
    outcome = await _replay_policy(rid, facts, published, load_rules)
    return outcome if screening is None else _joined(outcome, screening)


async def _replay_policy(
    rid: str, facts: Sequence[Message], published: Published, load_rules: LoadRules
) -> ReplayOutcome:
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
    [again] = await judge(answered, _ports_of(settled, rules, _last(facts, Escalated)))
    difference = find_difference(settled, again)
    return _outcome(rid, published, verdict="differs" if difference else "identical", difference=difference)


def _joined(outcome: ReplayOutcome, screening: ScreeningReplay) -> ReplayOutcome:
    """The verdict on both stages: what differs in either does, and it is the first of them that is named."""
    outcome = msgspec.structs.replace(outcome, screening=screening.verdict, screening_reason=screening.reason)
    if screening.verdict != "differs":
        return outcome
    return msgspec.structs.replace(outcome, verdict="differs", difference=f"{STAGE}: {screening.difference}")


def describe_outcome(outcome: ReplayOutcome) -> str:
    """One line, and the difference below it."""
    line = f"{MARKS[outcome.verdict]} {outcome.rid}  {outcome.outcome or '-'}  {outcome.verdict.replace('_', ' ')}"
    line += f"  {plain(outcome.reason)}" if outcome.reason else ""
    line += "  NOT the receipt that was logged" if outcome.is_logged is False else ""
    return f"{line}\n    {plain(outcome.difference)}" if outcome.difference else line


def with_entry(outcome: ReplayOutcome, published: Published | None, logged: AuditedAnswer | None) -> ReplayOutcome:
    """The outcome, and whether the receipt that is stored is the one that was logged."""
    if published is None:
        return outcome
    is_logged = logged is not None and logged.receipt_digest == receipt_digest(published.receipt)
    return msgspec.structs.replace(outcome, is_logged=is_logged)


def published_of(stored: Sequence[StoredMessage]) -> Published | None:
    """The answer among what is stored of a request. Raises `UnreadableError`."""
    return _last([fact for fact in (_read(message) for message in stored) if fact is not None], Published)


def _ports_of(settled: Approved | Withheld, rules: JudgingRules, escalated: Escalated | None) -> PolicyPorts:
    """What the policy calls, by the record: its clock has given up what it gave up then, and it offers the same."""
    given_up = next((each for each in settled.degradations if each.stage == "policy"), None)
    suggestions: tuple[Suggestion, ...] = settled.suggestions if isinstance(settled, Withheld) else ()

    def required_degradation(answered: Drafted) -> Degradation | None:
        return given_up if given_up not in answered.degradations else None

    async def suggest(_: Drafted | Verified) -> tuple[Suggestion, ...]:
        return suggestions

    async def evaluate(answered: Drafted | Verified | Partial, is_provisional: bool) -> PolicyEvaluation:
        return await evaluate_answer(rules, answered, is_provisional)

    async def own_escalation(_: Verified) -> Escalated | None:
        return escalated

    return PolicyPorts(evaluate, required_degradation, suggest, own_escalation)


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
    if published.reason == "evidence_only":
        reason = "the switch to evidence-only decided it, which the receipt names"
        return _outcome(rid, published, verdict="not_derived", by="publisher", reason=reason)
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
        rid=rid,
        verdict="differs" if difference else verdict,
        decided_by=by,
        outcome=published.outcome,
        difference=difference,
        reason=reason,
    )


def _unlike(published: Published, first: Withheld | Replied) -> str:
    """Where what was published is not what the prefilter has left: nothing else decides then."""
    if (published.text, published.reason) == (first.text, first.reason):
        return ""
    return (
        f"published: {first.reason}: {first.text!r} was decided, {published.reason}: {published.text!r} was published"
    )


def _last(facts: Sequence[Message], kind: type[F]) -> F | None:
    return next((fact for fact in reversed(facts) if isinstance(fact, kind)), None)


def _read(stored: StoredMessage) -> Message | None:
    try:
        message: Message = decode(stored.data, *PIPELINE)
    except UnreadableError as error:
        raise UnreadableError(f"{stored.position}: {error.reason}") from error
    return message
