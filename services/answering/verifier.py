"""The verifier of an answer that the edge has made: checks in the order of the harm that they avoid for their time.

Promises that no check is begun for which there is no time, that what was not run is named, and that the first failure
decides. Pure but for the clock that it is given. Next: services/stages/drafter, which escalates by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec

from tidegate.schemas import Answer, Check

CheckName = Literal["schema", "entailment", "policy"]
"""The white paper's three reasons to escalate, and the codes of the escalation."""
HARM: dict[CheckName, float] = {"policy": 1.0, "entailment": 0.6, "schema": 0.3}
"""How bad an answer is that should have failed, from an answer that may not be given to one that cannot be read."""
PRIOR_MS = 1.0
PRIOR_FAILED, PRIOR_RUN = 1.0, 20.0
"""What a check is taken for before it was run: one in twenty answers fails it."""
WEIGHT = 1 / 8
"""Of a new measurement, as RFC 6298 weighs round trips."""


class CheckOutcome(NamedTuple):
    """What a check found; the score is in 0…1."""

    passed: bool
    score: float


class VerifierCheck(NamedTuple):
    """One check of one answer."""

    name: CheckName
    run: Callable[[], CheckOutcome]


class VerifierReport(NamedTuple):
    """The checks that were run, those that were not, and the one that failed; empty: none did."""

    checks: tuple[Check, ...] = ()
    not_run: tuple[str, ...] = ()
    failed: CheckName | Literal[""] = ""


@dataclass
class CheckCosts:
    """What each check takes and how often it fails, as this process has seen it."""

    ms: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    run: dict[str, float] = field(default_factory=dict)

    def observe(self, name: CheckName, ms: float, *, failed: bool) -> None:
        """Learn from one run."""
        known = self.ms.get(name)
        self.ms[name] = ms if known is None else known + WEIGHT * (ms - known)
        self.failed[name] = self.failed.get(name, 0.0) + failed
        self.run[name] = self.run.get(name, 0.0) + 1

    def expected_ms(self, name: CheckName) -> float:
        """How long it takes."""
        return self.ms.get(name, PRIOR_MS)

    def worth(self, name: CheckName) -> float:
        """The harm that it avoids in a millisecond: how bad what it finds is, by how often it finds something."""
        rate = (self.failed.get(name, 0.0) + PRIOR_FAILED) / (self.run.get(name, 0.0) + PRIOR_RUN)
        return HARM[name] * rate / max(1e-3, self.expected_ms(name))


def verify(
    checks: Sequence[VerifierCheck], budget_ms: float, costs: CheckCosts, clock_ms: Callable[[], float]
) -> VerifierReport:
    """Run what there is time for, the most worth first, until one fails. A check that is too long for what is left
    makes room for a shorter one."""
    began_ms = clock_ms()
    made: list[Check] = []
    skipped: list[str] = []
    failed: CheckName | Literal[""] = ""
    for check in sorted(checks, key=lambda each: (-costs.worth(each.name), each.name)):
        if failed or clock_ms() - began_ms + costs.expected_ms(check.name) > budget_ms:
            skipped.append(check.name)
            continue
        since_ms = clock_ms()
        passed, score = check.run()
        costs.observe(check.name, clock_ms() - since_ms, failed=not passed)
        made.append(Check(check.name, passed, score))
        failed = "" if passed else check.name
    return VerifierReport(tuple(made), tuple(skipped), failed)


def with_report(answer: Answer, report: VerifierReport) -> Answer:
    """The answer with what the verifier found: of a check that it had, the worse of both."""
    known = {each.name: each for each in answer.checks}
    for found in report.checks:
        before = known.get(found.name, found)
        known[found.name] = Check(found.name, before.passed and found.passed, min(before.score, found.score))
    return msgspec.structs.replace(answer, checks=tuple(known.values()), not_run=report.not_run)
