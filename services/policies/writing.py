"""How answers of a class may be written, by all policies in force together.

Pure; next: services/policies/language.py, which reads the lists; services/stages/router, which plans by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from tidegate.schemas import Question, Workload, Writing
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.versions import choose_one_of_each

GROUNDED, FREE, EGRESS = "grounded", "free", "egress"
WRITING = (GROUNDED, FREE, EGRESS)
"""Keys of a policy that list intents and workloads: whose answers a model may write in its own words, each sentence
checked; whose it may write unchecked; and whose questions may go to such a model at all."""


def may_be_written(policies: Sequence[Policy]) -> bool:
    """Whether there is any class of questions whose answers the policies let a model write in its own words."""
    listed = {name for policy in policies for names in policy.writing.values() for name in names}
    for intent in ("", *sorted(listed - {*get_args(Workload)})):  # nothing but `assist` is written
        question = Question(text="", language="", intent=intent, intent_confidence=1.0)
        if choose_writing(question, policies) != "quote":
            return True
    return False


def choose_writing(question: Question, policies: Sequence[Policy]) -> Writing:
    """The freest way that a policy allows for the question's intent or workload; `quote` where none says anything.

    A policy that lists classes under a key speaks for all others too: who is not in it is not allowed, whatever another
    policy says. `free` takes an `egress` permit of the same class besides. Versions written apart must all allow it.
    """
    ways = (_choose_writing(question, chosen) for chosen in choose_one_of_each(policies))
    return min(ways, key=get_args(Writing).index)


def _choose_writing(question: Question, policies: Sequence[Policy]) -> Writing:
    classes = {question.intent, question.workload}

    def allows(key: str) -> bool:
        listed = [policy.writing[key] for policy in policies if policy.writing.get(key)]
        return bool(listed) and all(classes & each for each in listed)

    if allows(FREE) and allows(EGRESS):
        return "free"
    return "grounded" if allows(GROUNDED) else "quote"
