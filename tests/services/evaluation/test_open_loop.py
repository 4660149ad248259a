"""An open loop sends what is due whatever became of what was sent before, and hides neither the site's delays nor its
own."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scripted_stage import published
from tidegate.brokers.base import UnreachableError
from tidegate.schemas import Published, Refused, replace
from tidegate.services.evaluation.load_report import SHARES, percentiles_ms, summarise_load
from tidegate.services.evaluation.open_loop import LoadReply, LoadSample, arrivals, run_open_loop

pytestmark = pytest.mark.anyio

rates = st.floats(0.5, 500.0)


@given(rates, st.floats(0.1, 5.0), st.integers(0, 1 << 32))
def test_requests_are_due_in_order_within_the_time_and_again_by_the_seed(rate: float, for_s: float, seed: int) -> None:
    due = list(arrivals(rate, for_s, random.Random(seed)))
    assert due == sorted(due)
    assert all(0 < at_s < for_s for at_s in due)
    assert due == list(arrivals(rate, for_s, random.Random(seed)))
    longer = list(arrivals(rate, 2 * for_s, random.Random(seed)))
    assert longer[: len(due)] == due


def test_gaps_are_those_of_many_who_know_nothing_of_each_other() -> None:
    due = list(arrivals(50.0, 400.0, random.Random(1)))
    gaps = [later - earlier for earlier, later in itertools.pairwise(due)]
    assert statistics.fmean(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.05), "as long as their mean: exponential"
    assert sum(gap > 2 / 50 for gap in gaps) / len(gaps) == pytest.approx(0.135, abs=0.02)


async def test_a_slow_site_gets_no_relief_and_a_late_client_hides_nothing() -> None:
    under_way, most = 0, 0

    async def ask(number: int) -> LoadReply:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if number == 1:
            time.sleep(0.3)  # noqa: ASYNC251 - the client's own loop stands still
        await asyncio.sleep(0.5)
        under_way -= 1
        return LoadReply(answer(), first_s=0.1)

    samples: list[LoadSample] = []
    due = [0.01 * number for number in range(20)]
    assert await run_open_loop(ask, iter(due), samples.append, 5.0) == 0
    assert most == 20, "none waited for another"
    assert all(sample.final_s >= 0.5 for sample in samples)
    late = max(samples, key=lambda sample: sample.late_s)
    assert late.late_s >= 0.2
    assert late.final_s >= 0.5 + late.late_s - 0.01
    assert late.first_s == pytest.approx(late.late_s + 0.1)


async def test_what_has_no_end_is_counted_and_ended() -> None:
    async def ask(number: int) -> LoadReply:
        if number % 2:
            await asyncio.Event().wait()
        return LoadReply(answer())

    samples, before = list[LoadSample](), asyncio.all_tasks()
    assert await run_open_loop(ask, iter([0.0] * 6), samples.append, 0.2) == 3
    assert len(samples) == 3
    assert asyncio.all_tasks() == before


async def test_a_fault_of_the_program_is_raised_and_one_of_the_site_is_counted() -> None:
    async def ask(number: int) -> LoadReply:
        if number == 0:
            raise UnreachableError("nobody answers")
        raise KeyError(number)

    samples: list[LoadSample] = []
    with pytest.raises(KeyError):
        await run_open_loop(ask, iter([0.0, 0.0]), samples.append, 1.0)
    assert [(sample.became, sample.why) for sample in samples] == [("failed", "UnreachableError")]


async def test_the_report_counts_refusals_by_code_and_times_answers_alone() -> None:
    replies: list[Any] = [
        answer(),
        refused("busy"),
        refused("busy"),
        refused("too_long"),
        answer("withheld"),
        OSError(),
    ]

    async def ask(number: int) -> LoadReply:
        if isinstance(replies[number], OSError):
            raise replies[number]
        return LoadReply(replies[number], 0.0 if number == 0 else None)

    samples: list[LoadSample] = []
    await run_open_loop(ask, iter([0.0] * len(replies)), samples.append, 1.0)
    report = summarise_load(samples, 2, 5.0, 2.0)
    assert (report.sent, report.answered, report.unfinished) == (8, 2, 2)
    assert report.outcomes == {"answered": 1, "withheld": 1}
    assert report.refused == {"busy": 2, "too_long": 1}
    assert report.failed == {"OSError": 1}
    assert (report.sent_rate, report.answered_rate) == (4.0, 1.0)
    assert report.ttft_ms.keys() == report.final_ms.keys() == report.late_ms.keys() == SHARES.keys()


@given(st.lists(st.floats(0.0, 100.0), max_size=50))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(seconds: list[float]) -> None:
    found = percentiles_ms(seconds)
    if not seconds:
        assert found == {}
        return
    assert found["max"] == round(max(seconds) * 1000, 3)
    for name, share in SHARES.items():
        value = found[name]
        assert sum(round(each * 1000, 3) <= value for each in seconds) >= share * len(seconds)
        assert value in {round(each * 1000, 3) for each in seconds}


def answer(outcome: Any = "answered") -> Published:
    return replace(published("r1"), outcome=outcome)


def refused(code: str) -> Refused:
    return Refused(code=code, reason="why")
