"""Policies written apart: the strictest of each rule acts, whoever looks, and the result says so."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import Dot, VectorClock
from tidegate.sync.rules.clock import NOTHING, clock_of, covers
from tidegate.sync.rules.strictness import PolicyVersion, PolicyWithoutVersionsError, StricterRule, resolve_policy

OLD, HUB, SITE = Dot("hub@1", 1), Dot("hub@1", 2), Dot("site1@1", 1)
BASE = PolicyVersion(dot=OLD, context=NOTHING, digest="old", rules={"advice": 1})


def version(dot: Dot, rules: dict[str, int] | None, context: VectorClock = NOTHING) -> PolicyVersion:
    return PolicyVersion(dot=dot, context=context, digest=f"{dot} {rules}", rules=rules)


def test_a_version_replaces_the_one_that_its_author_had_seen() -> None:
    newer = version(HUB, {"advice": 0}, clock_of([OLD]))
    resolved = resolve_policy((newer, BASE, newer))
    assert resolved.in_force == (newer,), "less strict on purpose: it was seen"
    assert not resolved.is_conflict
    assert not resolved.stricter


def test_of_versions_written_apart_the_stricter_rule_acts_and_is_named() -> None:
    hub = version(HUB, {"advice": 3, "confidence": 60}, clock_of([OLD]))
    site = version(SITE, {"advice": 1, "confidence": 80, "names": 1}, clock_of([OLD]))
    for order in permutations((BASE, hub, site)):
        resolved = resolve_policy(order)
        assert resolved.in_force == (hub, site)
        assert resolved.is_conflict
        assert resolved.stricter == (
            StricterRule(rule="advice", strictness=3, acts=(HUB,), overruled=(SITE,)),
            StricterRule(rule="confidence", strictness=80, acts=(SITE,), overruled=(HUB,)),
            StricterRule(rule="names", strictness=1, acts=(SITE,), overruled=(HUB,)),
        )


def test_a_policy_withdrawn_here_and_kept_there_is_kept() -> None:
    withdrawn, kept = version(HUB, None, clock_of([OLD])), version(SITE, {"advice": 2}, clock_of([OLD]))
    resolved = resolve_policy((withdrawn, kept))
    assert not resolved.is_withdrawn
    assert resolved.stricter == (StricterRule(rule="advice", strictness=2, acts=(SITE,), overruled=(HUB,)),)
    assert resolve_policy((withdrawn, BASE)).is_withdrawn


def test_without_any_version_nothing_is_in_force() -> None:
    with pytest.raises(PolicyWithoutVersionsError) as missing:
        resolve_policy(())
    assert "closed" in missing.value.hint


rules = st.none() | st.dictionaries(st.sampled_from(("advice", "names")), st.integers(0, 3))


@given(st.lists(rules, min_size=1, max_size=3))
def test_no_rule_is_ever_less_strict_than_in_any_version_that_is_in_force(written: list[dict[str, int] | None]) -> None:
    versions = tuple(version(Dot(f"site{number}@1", 1), each) for number, each in enumerate(written))
    resolved = resolve_policy(versions)
    for each in resolved.stricter:
        assert each.strictness == max((one.rules or {}).get(each.rule, 0) for one in versions)
        assert set(each.acts) | set(each.overruled) == {one.dot for one in versions}
    assert all(covers(resolved.clock, one.dot) for one in versions)
    assert resolve_policy(resolved.in_force) == resolved
