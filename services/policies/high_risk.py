"""Questions of high risk: which they are, how sure an answer to one must be, and that it was verified.

The classes are shipped (services/languages/risk_words.py); a policy adds intents and workloads (`high_risk`), and says
for any of them what it takes instead (`class_thresholds`). Pure. Next: evaluation.py, stages/drafter, which ask."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tidegate.schemas import Decision, Question
from tidegate.schemas.vault_token import without_tokens
from tidegate.services.languages.risk_words import RISK_CLASSES, find_risks
from tidegate.services.policies.case import Case
from tidegate.services.policies.policy import Policy

LEAST_CONFIDENCE = 0.908
"""What an answer to a question of high risk must reach where no policy says otherwise: from there on at most 2.5 % of
questions are answered wrongly, by 3 981 questions over held documents (decision 0060). `tidegate pack calibrate` finds
the one that holds `STRICTER` of the stated risk for a pack's own questions."""
STRICTER = 0.5
"""The share of the risk of other questions that those of high risk may have."""
RULE = "high_risk"
CHECK: Final = "entailment"
"""The check of the site's verifier without which an answer of the edge counts as unverified."""


def risks_of(question: Question, policies: Sequence[Policy]) -> tuple[str, ...]:
    """The classes of high risk that a question is of: shipped ones by its words, an intent or workload that a policy
    lists. None for what asks for no answer in words."""
    if question.workload != "assist" and not _is_listed(question.workload, policies):
        return ()
    listed = [name for name in (question.intent, question.workload) if _is_listed(name, policies)]
    return (*sorted(find_risks(without_tokens(question.text), question.language)), *listed)


def least_confidence(question: Question, policies: Sequence[Policy]) -> float:
    """What an answer must reach for the risk of its question; 0.0 where there is none."""
    return max((_threshold_of(risk, policies) for risk in risks_of(question, policies)), default=0.0)


def judge_risk(case: Case, policies: Sequence[Policy]) -> Iterator[Decision]:
    """Why an answer to a question of high risk may not pass: it is too unsure, or was made at the edge and not
    verified."""
    if case.here.is_provisional:
        return
    answer = case.answer
    for risk in risks_of(case.question, policies):
        least = _threshold_of(risk, policies)
        yield from _judge_scores(risk, case, policies)
        if not answer.confidence >= least:
            finding = f"for {risk} the confidence {answer.confidence:.3f} is below {least:g}"
            yield Decision(f"{RULE}/{risk}", "abstain", finding)
        elif case.here.route == "edge" and answer.format != "json" and not _is_verified(case):
            yield Decision(f"{RULE}/{risk}", "abstain", f"for {risk} nothing unverified passes")


def _judge_scores(risk: str, case: Case, policies: Sequence[Policy]) -> Iterator[Decision]:
    """The other scores that a policy asks for in a shipped class; those of intents are asked for anyway."""
    for policy in policies if risk in RISK_CLASSES else ():
        for name, (threshold, least) in policy.class_thresholds.get(risk, {}).items():
            score = threshold.rule(case.answer)
            if name != "confidence" and (score is None or not score >= least):
                finding = "was not measured" if score is None else f"{score:.3f} is below {least:g}"
                yield Decision(f"{policy.id}/{name}", "abstain", f"for {risk} {name} {finding}")


def _is_listed(name: str, policies: Sequence[Policy]) -> bool:
    return any(name in policy.high_risk for policy in policies)


def _is_verified(case: Case) -> bool:
    """Whether the check was made and passed."""
    passed = [check.passed for check in case.answer.checks if check.name == CHECK]
    return bool(passed) and all(passed) and CHECK not in case.answer.not_run


def _threshold_of(risk: str, policies: Sequence[Policy]) -> float:
    """The highest that a policy asks for; where none says anything of the class, what is shipped."""
    stated = [policy.class_thresholds[risk] for policy in policies if risk in policy.class_thresholds]
    asked = [each["confidence"][1] for each in stated if "confidence" in each]
    return max(asked, default=LEAST_CONFIDENCE)
