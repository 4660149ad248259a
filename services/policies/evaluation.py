"""Evaluates an answer under every policy in force: what blocks it, what falls short, what is changed in it.

Pure. All policies hold together: what any one of them refuses does not pass. Next: policy.py, versions.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import msgspec

from tidegate.schemas import Answer, Artefact, Decision, Question
from tidegate.services.policies.evidence_only import RULE, keep_to_evidence
from tidegate.services.policies.policy import FindPersonal, Policy
from tidegate.services.policies.sources import judge_sources
from tidegate.services.policies.versions import explain_versions

_VERBS: dict[str, Literal["allow", "abstain", "block"]] = {"": "allow", "abstained": "abstain", "policy_block": "block"}


@dataclass(frozen=True)
class PolicyEvaluation:
    """The answer as it may pass and the rules that acted; or, with a `refusal` (the reason's code), why it may not."""

    answer: Answer
    policies: tuple[Artefact, ...]
    decisions: tuple[Decision, ...] = ()
    refusal: str = ""


def evaluate(
    question: Question,
    answer: Answer,
    *,
    policies: Sequence[Policy],
    find_personal: FindPersonal,
    is_provisional: bool = False,
    is_evidence_only: bool = False,
) -> PolicyEvaluation:
    """A block weighs more than an abstention; without a policy nothing passes. A provisional answer, which can be
    taken back, need reach no threshold. `is_evidence_only`: nothing but quotations may be given.

    Where versions of a policy were written apart, a decision says which of them is the stricter.
    """
    asked = partial(_evaluate, question, policies=policies, find_personal=find_personal, is_provisional=is_provisional)
    if not is_evidence_only:
        found = asked(answer)
    elif (quoted := keep_to_evidence(answer)) is not None:
        found = asked(quoted[0])
        found = replace(found, decisions=(quoted[1], *found.decisions))
    else:
        refused = Decision(RULE, "abstain", "only quotations may be given now, and it holds none")
        found = PolicyEvaluation(answer, _artefacts_of(policies), (refused,), "abstained")
    verb = _VERBS[found.refusal]
    notes = [Decision(f"{name}/versions", verb, note) for name, note in explain_versions(policies).items()]
    return replace(found, decisions=(*found.decisions, *notes)) if notes else found


def _artefacts_of(policies: Sequence[Policy]) -> tuple[Artefact, ...]:
    return tuple(Artefact("policy", policy.id, policy.version, policy.epoch) for policy in policies)


def _evaluate(
    question: Question,
    answer: Answer,
    *,
    policies: Sequence[Policy],
    find_personal: FindPersonal,
    is_provisional: bool,
) -> PolicyEvaluation:
    versions = _artefacts_of(policies)
    blocked = tuple(find_blocks(question, answer, policies, is_provisional=is_provisional))
    if blocked or not policies:
        return PolicyEvaluation(answer, versions, blocked, "policy_block")
    allowed, refused = find_permissions(question, answer, policies, is_provisional=is_provisional)
    if refused:
        if answer.fields:  # they are shown with the abstention
            answer = name_unsure(answer, policies)
            answer, _ = transform(answer, policies, find_personal, is_provisional=is_provisional)
        return PolicyEvaluation(answer, versions, refused, "abstained")
    passed, changes = transform(answer, policies, find_personal, is_provisional=is_provisional)
    return PolicyEvaluation(passed, versions, (*allowed, *changes))


def find_blocks(
    question: Question, answer: Answer, policies: Sequence[Policy], *, is_provisional: bool = False
) -> Iterator[Decision]:
    """What forbids the answer."""
    for policy in policies:
        for name, verb in policy.block.items():
            if verb.applies(is_provisional) and (reason := verb.rule(question, answer)):
                yield Decision(f"{policy.id}/{name}", "block", reason)


def name_unsure(answer: Answer, policies: Sequence[Policy]) -> Answer:
    """An extraction with the fields named as unsure that keep it below the confidence that a policy asks for."""
    least = max((policy.abstain_thresholds.get("confidence", (None, 0.0))[1] for policy in policies), default=0.0)
    if answer.confidence >= least or any(field.problem for field in answer.fields):
        return answer
    doubtful = max(least, min(field.confidence for field in answer.fields) + 1e-9)
    unsure = msgspec.structs.replace
    fields = (unsure(field, problem="unsure") if field.confidence < doubtful else field for field in answer.fields)
    return msgspec.structs.replace(answer, fields=tuple(fields))


def find_permissions(
    question: Question, answer: Answer, policies: Sequence[Policy], *, is_provisional: bool = False
) -> tuple[tuple[Decision, ...], tuple[Decision, ...]]:
    """The decisions by which the answer passes, and those by which it falls short."""
    if not answer.text.strip():
        return (), (Decision("answer", "abstain", "there is no answer"),)
    allowed: list[Decision] = []
    refused: list[Decision] = []
    for policy in policies:
        for name, verb in policy.allow.items():
            if not verb.applies(is_provisional):
                continue
            passed, reason = verb.rule(answer)
            (allowed if passed else refused).append(
                Decision(f"{policy.id}/{name}", "allow" if passed else "abstain", reason)
            )
        if policy.sources.rule and answer.citations:
            passed, reason = judge_sources(policy.sources, answer.citations)
            decision = Decision(f"{policy.id}/{policy.sources.rule}", "allow" if passed else "abstain", reason)
            (allowed if passed else refused).append(decision)
        for name, (threshold, least) in policy.thresholds_for(question).items():
            if not threshold.applies(is_provisional):
                continue
            score = threshold.rule(answer)
            if score is None or not score >= least:
                finding = "was not measured" if score is None else f"{score:.3f} is below {least:g}"
                refused.append(Decision(f"{policy.id}/{name}", "abstain", f"{name} {finding}"))
    return tuple(allowed), tuple(refused)


def transform(
    answer: Answer, policies: Sequence[Policy], find_personal: FindPersonal, *, is_provisional: bool = False
) -> tuple[Answer, tuple[Decision, ...]]:
    """The answer after every transform, and what each of them changed."""
    changes: list[Decision] = []
    for policy in policies:
        for name, verb in policy.transform.items():
            if not verb.applies(is_provisional):
                continue
            answer, reason = verb.rule(answer, find_personal)
            if reason:
                changes.append(Decision(f"{policy.id}/{name}", "transform", reason))
    return answer, tuple(changes)
