"""The verifier runs what avoids most harm for its time, keeps to its budget, and names what it did not run."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import Answer, Check
from tidegate.services.answering.verifier import (
    CheckCosts,
    CheckName,
    CheckOutcome,
    VerifierCheck,
    VerifierReport,
    verify,
    with_report,
)

NAMES: tuple[CheckName, ...] = get_args(CheckName)


class Bench:
    """Checks that take a known time and find what they are told to, and a clock that only they move."""

    def __init__(self, takes_ms: dict[CheckName, float], failing: frozenset[str] = frozenset()) -> None:
        self.now_ms = 0.0
        self.ran: list[str] = []
        self._takes_ms, self._failing = takes_ms, failing
        self.costs = CheckCosts()
        for name, ms in takes_ms.items():
            self.costs.observe(name, ms, failed=False)

    def check(self, name: CheckName) -> VerifierCheck:
        def run() -> CheckOutcome:
            self.ran.append(name)
            self.now_ms += self._takes_ms[name]
            is_right = name not in self._failing
            return CheckOutcome(is_right, float(is_right))

        return VerifierCheck(name, run)

    def verify(self, budget_ms: float) -> VerifierReport:
        return verify([self.check(name) for name in self._takes_ms], budget_ms, self.costs, lambda: self.now_ms)


TIMES = st.dictionaries(st.sampled_from(NAMES), st.floats(0.01, 50.0), min_size=1)


@given(takes_ms=TIMES, budget_ms=st.floats(-5, 120), failing=st.frozensets(st.sampled_from(NAMES)))
def test_each_check_is_run_or_named_and_none_is_begun_beyond_the_budget(
    takes_ms: dict[CheckName, float], budget_ms: float, failing: frozenset[str]
) -> None:
    bench = Bench(takes_ms, failing)
    report = bench.verify(budget_ms)
    assert bench.now_ms <= max(0.0, budget_ms) + 1e-6
    assert sorted([*bench.ran, *report.not_run]) == sorted(takes_ms)
    assert [each.name for each in report.checks] == bench.ran
    failed = [each.name for each in report.checks if not each.passed]
    assert ([report.failed] if report.failed else []) == failed
    assert failed in ([], bench.ran[-1:]), "the first failure decides, and nothing is run after it"
    if not failed:
        left_ms = budget_ms - bench.now_ms
        assert all(takes_ms[name] > left_ms - 1e-6 for name in report.not_run if name in takes_ms)


@pytest.mark.parametrize(
    ("takes_ms", "order"),
    [
        ({"schema": 1.0, "entailment": 1.0, "policy": 1.0}, ["policy", "entailment", "schema"]),
        ({"schema": 1.0, "entailment": 1.0, "policy": 10.0}, ["entailment", "schema", "policy"]),
        ({"schema": 0.1, "entailment": 1.0, "policy": 1.0}, ["schema", "policy", "entailment"]),
    ],
)
def test_the_order_is_harm_avoided_for_time(takes_ms: dict[CheckName, float], order: list[str]) -> None:
    bench = Bench(takes_ms)
    bench.verify(1000.0)
    assert bench.ran == order


def test_a_check_that_often_finds_something_comes_first() -> None:
    bench = Bench({"entailment": 1.0, "policy": 1.0})
    for _ in range(20):
        bench.costs.observe("entailment", 1.0, failed=True)
    bench.verify(1000.0)
    assert bench.ran == ["entailment", "policy"]


def test_a_report_takes_the_worse_of_two_scores_and_names_what_was_left_out() -> None:
    answer = Answer(text="x", checks=(Check("grounding", True, 1.0), Check("entailment", True, 1.0)))
    report = VerifierReport((Check("entailment", False, 0.5),), ("policy",), "entailment")
    found = with_report(answer, report)
    assert found.checks == (Check("grounding", True, 1.0), Check("entailment", False, 0.5))
    assert found.not_run == ("policy",)
    kept = with_report(found, VerifierReport((Check("entailment", True, 1.0),)))
    assert kept.checks[1] == Check("entailment", False, 0.5)
