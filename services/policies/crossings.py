"""Judges what boundaries say, of all policies in force together: what one of them keeps out is out.

Pure. Promises that a tool which no policy lists is not allowed. Next: boundaries.py; evaluation.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tidegate.schemas import Decision, Question
from tidegate.services.policies.boundaries import LANGUAGES, RESIDENCY, TOOLS
from tidegate.services.policies.case import Case
from tidegate.services.policies.policy import Policy

UNSUPPORTED = "unsupported_language"


def find_crossings(case: Case, policies: Sequence[Policy]) -> Iterator[Decision]:
    """What an answer, its question or its making has crossed; each blocks it, whatever it says."""
    question, here = case.question, case.here
    for policy in policies:
        own = policy.boundaries
        if own.languages and question.language not in own.languages:
            spoken = ", ".join(sorted(own.languages))
            yield Decision(f"{policy.id}/{LANGUAGES}", "block", f"{question.language or 'no language'}, not {spoken}")
        if here.route == "cloud" and own.residence_of(question) == "site":
            reason = "it was answered at the hub, and its question may not leave the site"
            yield Decision(f"{policy.id}/{RESIDENCY}", "block", reason)
    for tool in here.tools:
        for policy in policies:
            if policy.boundaries.tools is not None and tool not in policy.boundaries.tools:
                yield Decision(f"{policy.id}/{TOOLS}", "block", f"the tool {tool} is not allowed")
    if here.tools and all(policy.boundaries.tools is None for policy in policies):
        yield Decision(f"no_policy/{TOOLS}", "block", f"no policy allows any tool, and {here.tools[0]} was used")


def explain_stay(case: Case, policies: Sequence[Policy]) -> Iterator[Decision]:
    """Which policies kept the question at its site."""
    for policy in policies:
        if policy.boundaries.residence_of(case.question) == "site":
            yield Decision(f"{policy.id}/{RESIDENCY}", "allow", "its question stayed at the site")


def find_reason_to_stay(question: Question, policies: Sequence[Policy]) -> str:
    """Why the hub may not be asked; empty where it may."""
    keeping = [policy.id for policy in policies if policy.boundaries.residence_of(question) == "site"]
    return f"the policy {keeping[0]} keeps such questions at the site" if keeping else ""


def name_refusal(blocked: Sequence[Decision]) -> str:
    """The code of the refusal: that of a language where nothing else blocks."""
    is_language = bool(blocked) and all(each.rule.endswith(f"/{LANGUAGES}") for each in blocked)
    return UNSUPPORTED if is_language else "policy_block"
