"""Which level of load counts at a size, and how sizes are compared."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from loadtests.size.scale import main, read_sizes
from loadtests.size.scale_report import LoadLevel, ScalePoint, find_best, level_of, rows_of
from tidegate.services.evaluation.open_loop import LoadSample

LEVELS = st.builds(
    LoadLevel,
    at_once=st.integers(1, 64),
    per_s=st.floats(0, 500),
    p95_ms=st.floats(0, 5_000),
    failed=st.integers(0, 2),
)


@given(st.lists(LEVELS), st.integers(1, 5_000))
def test_the_best_level_answers_all_within_the_budget_and_none_of_those_does_more(
    levels: list[LoadLevel], budget_ms: int
) -> None:
    able = [level for level in levels if level.p95_ms <= budget_ms and level.failed == 0 and level.per_s > 0]
    best = find_best(levels, budget_ms)
    assert (best is None) == (not able)
    assert best is None or (best in able and all(best.per_s >= level.per_s for level in able))


def test_a_level_counts_answers_alone() -> None:
    samples = [LoadSample(late_s=0, final_s=0.1 * n, became="answered") for n in range(1, 21)]
    refused = LoadSample(late_s=0, final_s=9.0, became="refused", why="busy")
    assert level_of([*samples, refused], 4.0, 8) == LoadLevel(at_once=8, per_s=5.0, p95_ms=1900.0, failed=1)


def test_each_curve_is_compared_with_its_own_first_point() -> None:
    def point(curve: str, count: int, per_s: float) -> ScalePoint:
        best = LoadLevel(at_once=4, per_s=per_s, p95_ms=90.0) if per_s else None
        return ScalePoint(curve=curve, count=count, best=best, site_mib=1, cpu_ms=1, stored_bytes=1)  # type: ignore[arg-type]

    rows = rows_of([point("workers", 1, 10), point("workers", 2, 15), point("sites", 1, 8), point("sites", 2, 0)])
    assert [row[5] for row in rows] == ["1.00", "1.50", "1.00", "-"]


def test_sizes_are_numbers_with_commas() -> None:
    option = next(each for each in main.params if each.name == "sites")
    context = click.Context(main)
    assert read_sizes(context, option, "1, 2,8") == (1, 2, 8)
    assert read_sizes(context, option, "") == ()
    for wrong in ("0", "1;2", "-1", "two"):
        with pytest.raises(click.BadParameter, match="no sizes"):
            read_sizes(context, option, wrong)
    assert CliRunner().invoke(main, ["--sites", "none"]).exit_code == 2
