"""How strict the parts of a policy are that the white paper has not: conditions, boundaries, obligations. Pure.

A higher number refuses whatever a lower one refuses. What cannot be compared (two conditions, two lists) is taken
apart until it can: each condition, language, tool and class is a rule of its own. Next: versions.py, which asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tidegate.services.policies.boundaries import OTHERS
from tidegate.services.policies.policy import Policy


def measure_conditions(policy: Policy, versions: Sequence[Policy]) -> dict[str, int]:
    """Rules by name and condition. One without a condition is as strict as any version's condition on it."""
    rules: dict[str, int] = {}
    for part in ("allow", "transform", "block"):
        for name in getattr(policy, part):
            own = policy.when.get(f"{part}/{name}")
            rules |= {f"{part}/{name}": 1} if own is None else {}
            named = {each.source for version in versions if (each := version.when.get(f"{part}/{name}")) is not None}
            rules |= {f"{part}/{name} when {each}": 1 for each in sorted(named) if own is None or own.source == each}
        rules |= {f"{part}/{rule.name} when {rule.cases}": 1 for rule in policy.stated_under(part).rules}
    rules |= {f"oblige/{each.name} when {each.when.source if each.when else 'any'}": 1 for each in policy.obligations}
    return rules


def measure_boundaries(policy: Policy, versions: Sequence[Policy]) -> dict[str, int]:
    """What is kept out, by name; of names those count that any version has."""
    own, all_of_them = policy.boundaries, [version.boundaries for version in versions]
    rules: dict[str, int] = {}
    if own.languages:
        rules["not languages/other"] = 1
        rules |= _keep_out("languages", (name for each in all_of_them for name in each.languages), own.languages)
    if own.tools is not None:
        rules["not tools/other"] = 1
        rules |= _keep_out("tools", (name for each in all_of_them for name in each.tools or ()), own.tools)
    for name in sorted({OTHERS, *(name for each in all_of_them for name in each.residency)}):
        kept = own.residency.get(name, own.residency.get(OTHERS, "hub"))
        rules |= {f"residency/{name}": 1} if kept == "site" else {}
    return rules


def _keep_out(what: str, named: Iterable[str], allowed: frozenset[str]) -> dict[str, int]:
    return {f"not {what}/{name}": 1 for name in sorted({*named} - allowed)}
