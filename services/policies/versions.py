"""Versions of one policy that were written apart, by authors that did not know of each other: all of them hold.

None is merged into a text that nobody signed: the stricter of each rule acts, and every decision says so. Next:
sync/rules/strictness.py, which compares; evaluation.py, writing.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tidegate.schemas.clocks import Dot, VectorClock
from tidegate.services.policies.measures import measure_boundaries, measure_conditions
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.sources import REQUIRE_SIGNED, TRUSTED_SIGNERS, SourceRules
from tidegate.sync.rules.strictness import PolicyVersion, resolve_policy

MICRO = 1_000_000
"""Thresholds are compared as whole millionths."""


def group_versions(policies: Sequence[Policy]) -> dict[str, list[Policy]]:
    """The policies in force by their ids: more than one where versions were written apart."""
    found: dict[str, list[Policy]] = {}
    for policy in policies:
        found.setdefault(policy.id, []).append(policy)
    return found


def choose_one_of_each(policies: Sequence[Policy]) -> Iterator[tuple[Policy, ...]]:
    """Every way to have one version of each policy in force; just one where none was written apart."""
    yield from itertools.product(*group_versions(policies).values())


def explain_versions(policies: Sequence[Policy]) -> dict[str, str]:
    """For each policy of which versions are in force that differ: which of them acts, rule by rule."""
    found = {}
    for name, versions in group_versions(policies).items():
        if len({policy.version for policy in versions}) == 1:  # as a rule; measuring takes longer than judging
            continue
        resolution = resolve_policy(tuple(_version_of(policy, versions) for policy in versions))
        if not resolution.is_conflict:
            continue
        names = ", ".join(_name(policy.part, policy.epoch) for policy in versions)
        acts = [
            f"{each.rule} by {' and '.join(_name(dot.actor.partition('@')[0], dot.counter - 1) for dot in each.acts)}"
            for each in resolution.stricter
        ]
        stricter = f"the stricter acts: {', '.join(acts)}" if acts else "they are equally strict"
        found[name] = f"written apart, and all in force: {names}; {stricter}"
    return found


def measure_strictness(policy: Policy, versions: Sequence[Policy]) -> dict[str, int]:
    """How strict each rule of a policy is; of classes and signers those count that any of its versions names."""
    rules = {**measure_conditions(policy, versions), **measure_boundaries(policy, versions)}
    rules |= {name: round(least * MICRO) for name, (_, least) in policy.abstain_thresholds.items()}
    for name in sorted({name for version in versions for name in version.class_thresholds}):
        own = {**policy.abstain_thresholds, **policy.class_thresholds.get(name, {})}
        rules |= {f"{name}/{score}": round(least * MICRO) for score, (_, least) in own.items()}
    rules |= {f"no_suggestions/{name}": 1 for name in policy.no_suggestions}
    rules |= {f"high_risk/{name}": 1 for name in policy.high_risk}
    for key in sorted({key for version in versions for key in version.writing}):
        listed = {name for version in versions for name in version.writing.get(key, ())}
        rules |= {f"not {key}/{name}": 1 for name in sorted(listed - policy.writing.get(key, frozenset()))}
    return rules | _measure_sources(policy.sources, frozenset().union(*(each.sources.trusted for each in versions)))


def _measure_sources(sources: SourceRules, named: frozenset[str]) -> dict[str, int]:
    """Whoever trusts some signers only asks for a signature too, and refuses all others, also those that nobody
    names."""
    rules = {REQUIRE_SIGNED: 1} if sources.rule else {}
    if sources.trusted:
        rules |= {TRUSTED_SIGNERS: 1}
        rules |= {f"not {TRUSTED_SIGNERS}/{name}": 1 for name in sorted(named - sources.trusted)}
    return rules


def _version_of(policy: Policy, versions: Sequence[Policy]) -> PolicyVersion:
    """Its part stands for its author: nobody publishes two policies under one name."""
    dot = Dot(f"{policy.part}@1", policy.epoch + 1)
    return PolicyVersion(
        dot=dot, context=VectorClock(), digest=policy.version, rules=measure_strictness(policy, versions)
    )


def _name(part: str, epoch: int) -> str:
    return f"{part} (epoch {epoch})" if epoch else part
