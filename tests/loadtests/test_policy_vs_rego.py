"""The bench of policies asks both engines the same, and times nothing where they say otherwise."""

from __future__ import annotations

import importlib.util

import pytest

from loadtests.bench.entries import ENTRIES
from loadtests.bench.measure import MeasurementError
from loadtests.bench.policy_rules import RULES, make_cases, make_rules
from loadtests.bench.policy_vs_rego import POLICY_VS_REGO, check_agreement, find_lacking, ours, rego, time_cases
from tidegate.services.policies.case import Case

CASES = list(make_cases(300, 5))
HAS_REGO = importlib.util.find_spec("regopy") is not None


def test_ours_decides_all_rules_and_every_kind_of_them_acts() -> None:
    decide = ours()
    acting = [decide(case) for case in CASES]
    assert {int(name.removeprefix("rule_")) % 5 for names in acting for name in names} == set(range(5))
    assert len({rule.name for rule in make_rules()}) == RULES
    for case, names in zip(CASES, acting, strict=True):
        expected = {f"rule_{n}" for n in range(RULES) if n % 5 == 4 and acts_by_route(case, n)}
        assert {name for name in names if int(name.removeprefix("rule_")) % 5 == 4} == expected


def acts_by_route(case: Case, n: int) -> bool:
    stale = sum(not each.is_fresh for each in case.answer.citations)
    return case.here.route == "cloud" and stale > n % 4 and case.question.intent == f"class{n % 60}"


def test_nothing_is_timed_where_the_sides_differ_or_no_rule_acts() -> None:
    decide = ours()
    assert check_agreement((decide, decide), CASES) > 0
    with pytest.raises(MeasurementError, match=r"case 0 is decided otherwise: \['other'\]"):
        check_agreement((decide, lambda case: decide(case) | {"other"}), CASES)
    with pytest.raises(MeasurementError, match="no rule acted"):
        check_agreement((lambda _: frozenset(),) * 2, CASES)
    assert {name: len(each) for name, each in time_cases(decide, CASES).samples.items()} == {
        "a case": 300, "a case, CPU": 300,
    }  # fmt: skip


@pytest.mark.skipif(not HAS_REGO, reason="regopy is of the extra `bench`")
def test_rego_says_the_same_of_every_case() -> None:
    assert check_agreement((ours(), rego()), CASES) > 0


def test_it_is_a_line_of_the_bench_where_the_peer_is_installed() -> None:
    assert POLICY_VS_REGO in ENTRIES
    assert find_lacking() == ("" if HAS_REGO else "no regopy (pip install 'tidegate[bench]')")
