"""What a soak asks, how it reads processes, and what it finds wrong."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.size.processes import ProcessUsage, read_usage
from loadtests.size.questions import UniqueQuestions, pick_texts, vary_question
from loadtests.size.soak_report import (
    READINGS,
    SoakReport,
    compare_tenths,
    count_faults,
    summarise_drift,
)
from tidegate.schemas import replace
from tidegate.services.cli.options import find_default_pack
from tidegate.services.evaluation.load_report import summarise_load
from tidegate.services.evaluation.open_loop import LoadSample
from tidegate.services.packs.load import load_questions

WARM = ProcessUsage(rss_mib=120.0, pss_mib=100.0, handles=40, cpu_s=10.0)


def answered(final_s: float) -> LoadSample:
    return LoadSample(late_s=0.0, final_s=final_s, became="answered")


def report(**more: Any) -> SoakReport:
    """A run in which nothing is wrong, but for `more`."""
    load = summarise_load([answered(0.1)] * 10, 0, 1.0, 10.0)
    parts: dict[str, Any] = {"load": load, "p50_ms": (100.0, 110.0), "slowdown": 1.1, "processes": {}}
    return SoakReport(**{**parts, "lost": 0, "doubled": 0, **more})


def test_fifty_thousand_questions_of_the_pack_are_all_different() -> None:
    texts = pick_texts(load_questions(Path(find_default_pack())))
    assert len({vary_question(texts, number) for number in range(50_000)}) == 50_000
    assert all(len(vary_question(texts, number)) < 1_000 for number in range(0, 50_000, 997))


@given(st.integers(1, 5), st.sets(st.integers(0, 10_000), min_size=2, max_size=50))
def test_no_two_numbers_are_the_same_question_under_the_same_id(count: int, numbers: set[int]) -> None:
    questions = UniqueQuestions([f"What does {letter} cost?" for letter in "abcde"[:count]], "kiosk", 1000)
    asked = [questions.asked(number) for number in numbers]
    assert len({each.text for each in asked}) == len({each.rid for each in asked}) == len(numbers)
    assert [each.rid for each in asked] == [questions.rid_of(number) for number in numbers]


def test_what_a_process_uses_grows_when_it_takes_more() -> None:
    before = read_usage(os.getpid())
    taken = bytearray(b"x") * (64 << 20)
    with Path(__file__).open(encoding="utf-8"):
        after = read_usage(os.getpid())
    assert after.handles == before.handles + 1
    assert after.pss_mib - before.pss_mib > 32 < after.rss_mib - before.rss_mib
    assert 0 < before.cpu_s <= after.cpu_s
    assert len(taken) == 64 << 20


def test_a_process_that_is_gone_has_no_usage() -> None:
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        read_usage(2**22 + 1)


@given(st.floats(0.5, 3.0), st.integers(READINGS, 50_000), st.floats(0.1, 50.0))
def test_growth_is_of_the_last_readings_to_the_first_and_work_is_of_each_request(
    times: float, requests: int, worked_ms: float
) -> None:
    each_s = worked_ms / 1000 * requests / READINGS
    readings = [
        {"site1/all": replace(WARM, pss_mib=100.0 * (times if n > READINGS / 2 else 1.0), cpu_s=10.0 + n * each_s)}
        for n in range(READINGS + 1)
    ]
    at_rest = [readings[0], {"site1/all": replace(WARM, handles=47)}]
    drift = summarise_drift(readings, at_rest, requests)["site1/all"]
    assert drift.growth == pytest.approx(times, abs=1e-3)
    assert drift.handles == (40, 47)
    assert drift.cpu_ms == pytest.approx((worked_ms, worked_ms), abs=0.02)


def test_one_reading_that_swings_at_an_end_decides_nothing() -> None:
    readings = [{"site1/all": WARM} for _ in range(READINGS)]
    readings[-1] = {"site1/all": replace(WARM, pss_mib=900.0)}
    assert summarise_drift(readings, readings, 1000)["site1/all"].growth == 1.0
    with pytest.raises(ValueError, match="5 readings"):
        summarise_drift(readings[:5], readings, 1000)


def test_the_last_tenth_is_held_against_the_first() -> None:
    samples = [answered(0.1)] * 10 + [answered(9.0)] * 80 + [answered(0.2)] * 10
    refused = [LoadSample(late_s=0.0, final_s=5.0, became="refused", why="busy")] * 50
    assert compare_tenths([*refused, *samples, *refused]) == (100.0, 200.0)
    with pytest.raises(ValueError, match="nothing"):
        compare_tenths(refused)


@given(st.sets(st.integers(0, 50)), st.sets(st.integers(0, 50)), st.integers(0, 5))
def test_what_was_not_stored_is_lost_unless_it_was_refused(stored: set[int], twice: set[int], refused: int) -> None:
    counts = Counter(map(str, stored)) + Counter(map(str, twice)) + Counter({"of another run": 2})
    lost, doubled = count_faults([str(number) for number in range(51)], refused, counts)
    assert lost == max(0, 51 - len(stored | twice) - refused)
    assert doubled == len(stored & twice)


def test_each_bar_that_does_not_hold_is_named() -> None:
    assert report().find_broken() == []
    steady = summarise_drift([{"a": WARM}] * 6, [{"a": WARM}] * 2, 100)["a"]
    refused = summarise_load(
        [answered(0.1), LoadSample(late_s=0, final_s=0, became="refused", why="busy")], 3, 1.0, 1.0
    )
    broken = report(
        load=refused,
        slowdown=1.2,
        processes={"site1/all": replace(steady, growth=1.03), "site1/sync": replace(steady, growth=1.02)},
        lost=1,
        doubled=2,
        restarted=("hub/all",),
    ).find_broken()
    assert broken == [
        "site1/all grew 1.030 times",
        "the last tenth took 1.20 times as long as the first",
        "1 lost",
        "2 doubled",
        "3 without an end",
        "1 refused as busy",
        "hub/all ended and was started again",
    ]
