"""What has to be done with an answer that passes: a notice to the asker, in the language of the question.

Pure. Promises that an obligation whose condition fails is met rather than left out. Next: evaluation.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tidegate.schemas import Decision
from tidegate.services.policies.case import Case
from tidegate.services.policies.conditions import Condition
from tidegate.services.policies.facts import ConditionFailedError

OBLIGATIONS = "obligations"
FALLBACK = "en"


@dataclass(frozen=True)
class Obligation:
    """A notice by languages, for the answers for which its condition holds; without one, for all."""

    name: str
    notice: Mapping[str, str]
    when: Condition | None = None

    def notice_in(self, language: str) -> str:
        """The notice in that language; else in English, else in the first that there is."""
        return self.notice.get(language) or self.notice.get(FALLBACK) or next(iter(self.notice.values()))

    def find_cause(self, case: Case) -> str:
        """Why the notice has to be given; empty where it has not."""
        if self.when is None:
            return "a notice is given"
        try:
            return "a notice is given: its condition holds" if self.when.holds(case.bound) else ""
        except ConditionFailedError as error:
            return f"a notice is given: its condition has failed: {error.reason}"


def find_notices(case: Case, obligations: Sequence[tuple[str, Obligation]]) -> Iterator[tuple[str, Decision]]:
    """The notices that the answer comes with, each with the decision; obligations come with the policy's id."""
    for policy_id, each in obligations:
        if cause := each.find_cause(case):
            yield each.notice_in(case.question.language), Decision(f"{policy_id}/{each.name}", "oblige", cause)
