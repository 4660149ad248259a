"""Evaluates an answer under every policy in force: what blocks it, what falls short, what is changed in it.

Pure. All policies hold together: what any one of them refuses does not pass. Next: policy.py, versions.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import msgspec

from tidegate.schemas import Answer, Artefact, Decision
from tidegate.services.policies.case import Case
from tidegate.services.policies.crossings import explain_stay, find_crossings, name_refusal
from tidegate.services.policies.evidence_only import RULE, keep_to_evidence
from tidegate.services.policies.facts import ConditionFailedError
from tidegate.services.policies.high_risk import judge_risk
from tidegate.services.policies.obligations import find_notices
from tidegate.services.policies.policy import FindPersonal, Policy
from tidegate.services.policies.sources import judge_sources
from tidegate.services.policies.versions import explain_versions

_VERBS: dict[str, Literal["allow", "abstain", "block"]] = {
    "": "allow",
    "abstained": "abstain",
    "policy_block": "block",
    "unsupported_language": "block",
}


@dataclass(frozen=True)
class PolicyEvaluation:
    """The answer as it may pass, the rules that acted, and what the asker has to be told; or, with a `refusal` (the
    reason's code), why it may not."""

    answer: Answer
    policies: tuple[Artefact, ...]
    decisions: tuple[Decision, ...] = ()
    refusal: str = ""
    notices: tuple[str, ...] = ()


def evaluate(case: Case, policies: Sequence[Policy], find_personal: FindPersonal) -> PolicyEvaluation:
    """A block weighs more than an abstention; without a policy nothing passes. A provisional answer, which can be
    taken back, need reach no threshold.

    Where versions of a policy were written apart, a decision says which of them is the stricter.
    """
    answer = case.answer
    if not case.here.is_evidence_only:
        found = _evaluate(case, policies, find_personal)
    elif (quoted := keep_to_evidence(answer)) is not None:
        found = _evaluate(replace(case, answer=quoted[0]), policies, find_personal)
        found = replace(found, decisions=(quoted[1], *found.decisions))
    else:
        refused = Decision(RULE, "abstain", "only quotations may be given now, and it holds none")
        found = PolicyEvaluation(answer, _artefacts_of(policies), (refused,), "abstained")
    verb = _VERBS[found.refusal]
    notes = [Decision(f"{name}/versions", verb, note) for name, note in explain_versions(policies).items()]
    return replace(found, decisions=(*found.decisions, *notes)) if notes else found


def _artefacts_of(policies: Sequence[Policy]) -> tuple[Artefact, ...]:
    return tuple(Artefact("policy", policy.id, policy.version, policy.epoch) for policy in policies)


def _evaluate(case: Case, policies: Sequence[Policy], find_personal: FindPersonal) -> PolicyEvaluation:
    versions, answer = _artefacts_of(policies), case.answer
    blocked = (*find_crossings(case, policies), *find_blocks(case, policies))
    if blocked or not policies:
        return PolicyEvaluation(answer, versions, blocked, name_refusal(blocked))
    allowed, refused = find_permissions(case, policies)
    if refused:
        if answer.fields:  # they are shown with the abstention
            answer = name_unsure(answer, policies)
            answer, _ = transform(replace(case, answer=answer), policies, find_personal)
        return PolicyEvaluation(answer, versions, refused, "abstained")
    passed, changes = transform(case, policies, find_personal)
    owed = tuple(find_notices(case, [(policy.id, each) for policy in policies for each in policy.obligations]))
    decisions = (*allowed, *explain_stay(case, policies), *changes, *(decision for _, decision in owed))
    notices = tuple(dict.fromkeys(notice for notice, _ in owed))
    return PolicyEvaluation(passed, versions, decisions, notices=notices)


def find_blocks(case: Case, policies: Sequence[Policy]) -> Iterator[Decision]:
    """What forbids the answer, and what could not be found out: a condition that fails forbids it too. No answer is not
    forbidden: it is abstained from, and the nearest passages may be offered."""
    if not case.answer.text.strip():
        return
    for policy in policies:
        yield from _find_failures(case, policy)
        for name, verb in policy.block.items():
            if not (verb.applies(case.here.is_provisional) and is_asked(case, policy, f"block/{name}")):
                continue
            if reason := verb.rule(case.question, case.answer):
                yield Decision(f"{policy.id}/{name}", "block", reason)
        for rule, failure in policy.stated_under("block").find_acting(case):
            yield Decision(f"{policy.id}/{rule.name}", "block", _explain(failure) or rule.reason)


def _find_failures(case: Case, policy: Policy) -> Iterator[Decision]:
    """The conditions by which no rule acts that fail: those of our rules, and the policy's own of what passes."""
    for name, condition in policy.when.items():
        try:
            condition.holds(case.bound)
        except ConditionFailedError as error:
            yield Decision(f"{policy.id}/{name.partition('/')[2]}", "block", _explain(error.reason))
    for rule, failure in policy.stated_under("allow").find_acting(case):
        if failure:
            yield Decision(f"{policy.id}/{rule.name}", "block", _explain(failure))


def _explain(failure: str) -> str:
    return failure and f"its condition has failed: {failure}"


def is_asked(case: Case, policy: Policy, name: str) -> bool:
    """Whether one of our rules is asked about the case at all; a condition that fails has blocked it before."""
    condition = policy.when.get(name)
    try:
        return condition is None or condition.holds(case.bound)
    except ConditionFailedError:
        return True


def name_unsure(answer: Answer, policies: Sequence[Policy]) -> Answer:
    """An extraction with the fields named as unsure that keep it below the confidence that a policy asks for."""
    least = max((policy.abstain_thresholds.get("confidence", (None, 0.0))[1] for policy in policies), default=0.0)
    if answer.confidence >= least or any(field.problem for field in answer.fields):
        return answer
    doubtful = max(least, min(field.confidence for field in answer.fields) + 1e-9)
    unsure = msgspec.structs.replace
    fields = (unsure(field, problem="unsure") if field.confidence < doubtful else field for field in answer.fields)
    return msgspec.structs.replace(answer, fields=tuple(fields))


def find_permissions(case: Case, policies: Sequence[Policy]) -> tuple[tuple[Decision, ...], tuple[Decision, ...]]:
    """The decisions by which the answer passes, and those by which it falls short."""
    if not case.answer.text.strip():
        return (), (Decision("answer", "abstain", "there is no answer"),)
    found: list[Decision] = [*_judge_draft(case), *judge_risk(case, policies)]
    for policy in policies:
        found += _judge_permissions(case, policy)
        for name, (threshold, least) in policy.thresholds_for(case.question).items():
            if not threshold.applies(case.here.is_provisional):
                continue
            score = threshold.rule(case.answer)
            if score is None or not score >= least:
                finding = "was not measured" if score is None else f"{score:.3f} is below {least:g}"
                found.append(Decision(f"{policy.id}/{name}", "abstain", f"{name} {finding}"))
    allowed, refused = ([each for each in found if each.verb == verb] for verb in ("allow", "abstain"))
    return tuple(allowed), tuple(refused)


def _judge_draft(case: Case) -> Iterator[Decision]:
    """An edge's draft that its verifier found not borne out, and that the hub could not be asked about, is no answer,
    whatever thresholds the policies have. JSON is held to its schema instead."""
    if case.here.route != "edge" or case.here.is_provisional or case.answer.format == "json":
        return
    for check in case.answer.checks:
        if check.name == "entailment" and not check.passed:
            yield Decision("verifier/entailment", "abstain", f"what it cites does not bear it out ({check.score:.3f})")


def _judge_permissions(case: Case, policy: Policy) -> Iterator[Decision]:
    """What the `allow` rules and those of sources decide."""
    for name, verb in policy.allow.items():
        if verb.applies(case.here.is_provisional) and is_asked(case, policy, f"allow/{name}"):
            yield _decide(f"{policy.id}/{name}", *verb.rule(case.answer))
    stated = policy.stated_under("allow")
    unmet = {rule.name for rule, _ in stated.find_acting(case)}
    for rule in stated.rules:
        is_met = rule.name not in unmet
        yield _decide(f"{policy.id}/{rule.name}", is_met, "its condition holds" if is_met else rule.reason)
    if policy.sources.rule and case.answer.citations:
        yield _decide(f"{policy.id}/{policy.sources.rule}", *judge_sources(policy.sources, case.answer.citations))


def _decide(rule: str, passed: bool, reason: str) -> Decision:
    return Decision(rule, "allow" if passed else "abstain", reason)


def transform(
    case: Case, policies: Sequence[Policy], find_personal: FindPersonal
) -> tuple[Answer, tuple[Decision, ...]]:
    """The answer after every transform, and what each of them changed."""
    answer, changes = case.answer, []
    for policy in policies:
        for name, verb in policy.transform.items():
            if not (verb.applies(case.here.is_provisional) and is_asked(case, policy, f"transform/{name}")):
                continue
            answer, reason = verb.rule(answer, find_personal)
            if reason:
                changes.append(Decision(f"{policy.id}/{name}", "transform", reason))
    return answer, tuple(changes)
