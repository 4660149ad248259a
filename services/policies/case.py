"""One answer to be judged, with all that rules may ask about it. Next: facts.py, conditions.py, evaluation.py."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from tidegate.schemas import Answer, Question
from tidegate.services.policies.conditions import BoundFacts, bind
from tidegate.services.policies.facts import Circumstances, gather_facts


@dataclass(frozen=True)
class Case:
    """A question, an answer to it, and where and for whom it is judged."""

    question: Question
    answer: Answer
    here: Circumstances

    @cached_property
    def bound(self) -> BoundFacts:
        """The facts, for conditions to be asked of. Raises `ConditionFailedError`."""
        return bind(gather_facts(self.question, self.answer, self.here))
