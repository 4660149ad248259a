"""The classes of answers by which the planner learns; next: learned_times.py and draft_ledger.py."""

from __future__ import annotations

from typing import NamedTuple

from tidegate.schemas import ForecastBasis, Plan, Question, Where

EVIDENCE_FROM = (0.05, 0.12, 0.2, 0.3, 0.45)
"""Confidences of a site at which another band of evidence begins. How much the hub reads follows from it."""
BANDS = range(1, len(EVIDENCE_FROM) + 2)


class AnswerClass(NamedTuple):
    """Answers that are expected to take alike: made where, for whom, by which model, written how, to what kind of
    question (`name`: its intent, or its workload where it is no question; empty: of any kind), with how much evidence
    at the site (the number of a band of its confidence; 0: not known).

    The tenant is part of it, so that no tenant's answers tell anything of another's.
    """

    where: Where
    tenant: str
    model: str
    writing: str
    name: str = ""
    evidence: int = 0

    @property
    def wider(self) -> tuple[AnswerClass, ...]:
        """The classes that this one is part of, the widest first: of every kind of question, with any evidence; with
        this evidence."""
        widest = self._replace(name="", evidence=0)
        return tuple(dict.fromkeys(each for each in (widest, self._replace(name="")) if each != self))


def name_class(question: Question) -> str:
    """What policies call the class of a question, as one name."""
    return question.intent if question.workload == "assist" else question.workload


def class_at(where: Where, tenant: str, plan: Plan, basis: ForecastBasis) -> AnswerClass:
    """The class of what a plan leads to at the edge or in the cloud; the edge only ever quotes."""
    if where == "edge":
        return AnswerClass(where, tenant, plan.model, "quote", basis.class_name)
    return AnswerClass(where, tenant, basis.model, plan.writing, basis.class_name, basis.evidence)


def band_of(confidence: float) -> int:
    """Which band of evidence a site's confidence lies in, from 1."""
    return 1 + sum(confidence >= edge for edge in EVIDENCE_FROM)
