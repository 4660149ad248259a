"""Policy versions that were written apart: all of them are in force, which is the stricter of each rule, and says so.

No policy is ever merged into a text that nobody signed. Whether a rule is stricter is the policy language's to say: it
gives each a number. Next: resolve.py, for documents."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from tidegate.schemas.clocks import Dot, VectorClock
from tidegate.schemas.errors import TidegateError
from tidegate.sync.rules.clock import clock_of, compare_versions, merge


class PolicyWithoutVersionsError(TidegateError):
    """There is no version of the policy at all: nothing may be served under it."""

    hint = "publish the policy at the hub; until it arrives the site is closed"


class PolicyVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A signed version of a policy: its dot and context, its digest, and its rules by name with how strict each is.

    A higher number refuses whatever a lower one refuses. A rule that a version does not have is 0, the least strict;
    `rules` is None where the version withdraws the policy.
    """

    dot: Dot
    context: VectorClock
    digest: str
    rules: Mapping[str, int] | None


class StricterRule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule on which versions in force differ: the strictest of them acts, at `strictness`, and the others do not."""

    rule: str
    strictness: int
    acts: tuple[Dot, ...]
    overruled: tuple[Dot, ...]


class PolicyResolution(msgspec.Struct, frozen=True, kw_only=True):
    """The versions in force, by dot, all together; `stricter` is what an audit shows of their differences.

    `is_withdrawn`: every version withdraws the policy. `clock` is the context of the version that settles it.
    """

    in_force: tuple[PolicyVersion, ...]
    clock: VectorClock
    stricter: tuple[StricterRule, ...] = ()
    is_withdrawn: bool = False

    @property
    def is_conflict(self) -> bool:
        """Whether a person has to settle it, by a version that replaces these."""
        return len({version.digest for version in self.in_force}) > 1


def resolve_policy(versions: tuple[PolicyVersion, ...]) -> PolicyResolution:
    """What is in force of these versions, in any order, repeated or not. One that withdraws the policy while another,
    written apart, keeps it is overruled: it is the less strict. Raises `PolicyWithoutVersionsError`."""
    if not versions:
        raise PolicyWithoutVersionsError("no version of the policy is there")
    pairs = {version.dot: (version.dot, version.context) for version in versions}
    latest = {
        version.dot: version
        for version in versions
        if not any(compare_versions(pairs[version.dot], other) == "before" for other in pairs.values())
    }
    in_force = tuple(latest[dot] for dot in sorted(latest))
    return PolicyResolution(
        in_force=in_force,
        clock=merge((clock_of(pairs), *(version.context for version in versions))),
        stricter=tuple(_stricter(in_force)),
        is_withdrawn=all(version.rules is None for version in in_force),
    )


def _stricter(versions: tuple[PolicyVersion, ...]) -> list[StricterRule]:
    found = []
    for rule in sorted({rule for version in versions for rule in version.rules or ()}):
        levels = {version.dot: (version.rules or {}).get(rule, 0) for version in versions}
        strictest = max(levels.values())
        acts = tuple(dot for dot, level in levels.items() if level == strictest)
        overruled = tuple(dot for dot, level in levels.items() if level < strictest)
        if overruled:
            found.append(StricterRule(rule=rule, strictness=strictest, acts=acts, overruled=overruled))
    return found
