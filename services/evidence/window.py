"""What a window of a site's record comes to when it is decided again, and what other policies would make of it. Pure.

Promises memory for the differences that are listed, however long the window is. Next: replay.py, one request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.schemas import PIPELINE, Approved, Drafted, UnreadableError, Verified, Withheld, decode
from tidegate.services.evidence.replay import ReplayOutcome
from tidegate.services.policies.replay import DiffCounter, PolicyDiff, RecordedJudgement

POLICY = "policy"


class WindowReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A window: the Unix times that it lies between, and how many requests were answered in it and decided again, by
    verdict. `outcomes` are those that are not identical, as many as were asked for; `reasons` why others were not
    derived. `diff` is what the other policies would change, where there are any."""

    from_s: float
    to_s: float
    requests: int
    identical: int
    differs: int
    not_derived: int
    reasons: dict[str, int]
    outcomes: tuple[ReplayOutcome, ...]
    diff: PolicyDiff | None = None


@dataclass
class WindowCounter:
    """Takes one request after the other, and keeps `most` of the differences. `diff` judges by other policies."""

    from_s: float
    to_s: float
    most: int
    diff: DiffCounter | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    outcomes: list[ReplayOutcome] = field(default_factory=list)

    def take(self, outcome: ReplayOutcome, stored: Sequence[StoredMessage]) -> None:
        """Count what became of a request, and judge what is stored of it by the other policies."""
        self.verdicts[outcome.verdict] += 1
        if outcome.verdict == "not_derived":
            self.reasons[outcome.reason] += 1
        if outcome.verdict == "differs" and len(self.outcomes) < self.most:
            self.outcomes.append(outcome)
        if self.diff is not None:
            judgement = find_judgement(stored)
            if judgement is None:
                self.diff.skip("the policy stage did not judge it, or what it judged is gone")
            else:
                self.diff.take(judgement)

    def skip(self, rid: str, error: UnreadableError) -> None:
        """Count a request of which something cannot be read."""
        reason = f"it is of another version: {error.reason}"
        self.take(ReplayOutcome(rid=rid, verdict="not_derived", reason=reason[:120]), ())

    def result(self) -> WindowReport:
        """What has come of all of them."""
        return WindowReport(
            from_s=self.from_s,
            to_s=self.to_s,
            requests=self.verdicts.total(),
            identical=self.verdicts["identical"],
            differs=self.verdicts["differs"],
            not_derived=self.verdicts["not_derived"],
            reasons=dict(self.reasons),
            outcomes=tuple(self.outcomes),
            diff=None if self.diff is None else self.diff.result(),
        )


def find_judgement(stored: Sequence[StoredMessage]) -> RecordedJudgement | None:
    """What the policy stage had read of a request, and what it made of that. Raises `UnreadableError`."""
    facts = [(decode(each.data, *PIPELINE), each.stored_at_s) for each in stored]
    made = [pair for pair in facts if isinstance(pair[0], (Approved, Withheld)) and _is_of_policy(pair[0])]
    if not made:
        return None
    settled, at_s = made[-1]
    assert isinstance(settled, (Approved, Withheld))
    kind: type[Drafted | Verified] = Verified if settled.route == "cloud" else Drafted
    read = [fact for fact, _ in facts if isinstance(fact, kind)]
    return RecordedJudgement(read[-1], settled, at_s) if read else None


def _is_of_policy(fact: Approved | Withheld) -> bool:
    return isinstance(fact, Approved) or fact.stage == POLICY
