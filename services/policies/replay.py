"""Puts answers that were recorded to other policies than those that judged them, and says which would be other ones.

Pure: what the policy stage read and what it left behind are values, and nothing is written. Next: decision_log.py;
services/cli/policy_diff.py, which reads the record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from tidegate.schemas import Approved, Decision, Drafted, Verified, Withheld
from tidegate.services.policies.case import Case
from tidegate.services.policies.circumstances import describe_circumstances
from tidegate.services.policies.decision_log import PolicyResult, PolicyVerdict, decide
from tidegate.services.policies.policy import FindPersonal, Policy

JUDGED = frozenset({"abstained", "policy_block", "unsupported_language"})
"""Reasons of a refusal that policies have given; others (a deadline, a lost link) no policy changes."""


class RecordedJudgement(NamedTuple):
    """What the policy stage read of a request, and what it left behind at that Unix time."""

    answered: Drafted | Verified
    settled: Approved | Withheld
    at_s: float


class AnswerChange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A past answer that would be another one: how it was judged, how it would be, and the rules that act then."""

    rid: str
    tenant: str
    site: str
    at_s: float
    question: str
    was: PolicyResult
    becomes: PolicyResult
    rules: tuple[str, ...]


class PolicyDiff(msgspec.Struct, frozen=True, kw_only=True):
    """How many past answers were judged anew, and how many would change, by verbs (`allow > block`). Of the changes
    no more are listed than were asked for. `skipped`: why others were not judged anew."""

    judged: int
    changed: int
    verbs: dict[str, int]
    skipped: dict[str, int]
    changes: tuple[AnswerChange, ...]


@dataclass
class DiffCounter:
    """Takes recorded judgements one after the other, and keeps `most` of the changes."""

    policies: dict[str, tuple[Policy, ...]]
    """By tenant."""
    find_personal: FindPersonal
    most: int
    judged: int = 0
    verbs: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    changes: list[AnswerChange] = field(default_factory=list)

    def take(self, recorded: RecordedJudgement) -> None:
        """Judge it anew, and count what comes of it."""
        settled = recorded.settled
        if isinstance(settled, Withheld) and settled.reason not in JUDGED:
            self.skip(f"withheld for another reason: {settled.reason}")
            return
        if settled.tenant not in self.policies:
            self.skip(f"of a tenant that is not declared: {settled.tenant}")
            return
        self.judged += 1
        change = find_change(recorded, self.policies[settled.tenant], self.find_personal)
        if change is None:
            return
        self.verbs[f"{change.was.verb} > {change.becomes.verb}"] += 1
        if len(self.changes) < self.most:
            self.changes.append(change)

    def skip(self, why: str) -> None:
        """Count one that cannot be judged anew."""
        self.skipped[why] += 1

    def result(self) -> PolicyDiff:
        """What has come of all of them."""
        return PolicyDiff(
            judged=self.judged,
            changed=self.verbs.total(),
            verbs=dict(self.verbs),
            skipped=dict(self.skipped),
            changes=tuple(self.changes),
        )


def find_change(
    recorded: RecordedJudgement, policies: Sequence[Policy], find_personal: FindPersonal
) -> AnswerChange | None:
    """How the answer would be another one under these policies; None where it would be the same to the asker."""
    answered, settled, at_s = recorded
    case = Case(answered.question, answered.answer, describe_circumstances(answered, is_provisional=False))
    was, becomes = recall_result(settled), decide(case, policies, find_personal)
    if was.reason == becomes.reason and was.text == becomes.text and was.notices == becomes.notices:
        return None
    acting = {each.rule for each in becomes.decisions if each.verb != "allow"}
    acted = {each.rule for each in was.decisions if each.verb != "allow"}
    return AnswerChange(
        rid=settled.rid,
        tenant=settled.tenant,
        site=settled.site,
        at_s=at_s,
        question=answered.question.text,
        was=was,
        becomes=becomes,
        rules=tuple(sorted(acting ^ acted)),
    )


def recall_result(settled: Approved | Withheld) -> PolicyResult:
    """What was decided then."""
    if isinstance(settled, Approved):
        verb: PolicyVerdict = "transform" if _any_transform(settled.decisions) else "allow"
        text, notices = settled.answer.text, settled.notices
        return PolicyResult(verb=verb, text=text, notices=notices, decisions=settled.decisions)
    verb = "abstain" if settled.reason == "abstained" else "block"
    return PolicyResult(verb=verb, reason=settled.reason, decisions=settled.decisions)


def _any_transform(decisions: Sequence[Decision]) -> bool:
    return any(each.verb == "transform" for each in decisions)


def replace_policies(in_force: Sequence[Policy], by: Sequence[Policy]) -> tuple[Policy, ...]:
    """The policies in force with these in the place of their namesakes, or beside them."""
    replaced = {policy.id for policy in by}
    return (*(policy for policy in in_force if policy.id not in replaced), *by)
