"""Simulated time: nothing waits, all clocks agree, and what will never end is an error."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from tidegate.services.simulation.virtual_time import EPOCH_S, SimulationStuckError, run_simulated


def test_a_year_takes_no_time_and_every_clock_shows_it() -> None:
    async def main() -> tuple[float, float, float, float]:
        await asyncio.sleep(31_536_000.0)
        return asyncio.get_running_loop().time(), time.time() - EPOCH_S, time.monotonic(), time.perf_counter()

    clocks = (time.time, time.monotonic, time.perf_counter)
    assert run_simulated(main, 1) == pytest.approx((31_536_000.0,) * 4)
    assert (time.time, time.monotonic, time.perf_counter) == clocks, "the clocks were not put back"


def test_what_is_done_in_a_thread_is_done_at_once_and_its_error_is_the_caller_s() -> None:
    async def main() -> list[str]:
        done = [await asyncio.to_thread(str.upper, "a")]
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)
        return [*done, f"{asyncio.get_running_loop().time():g}"]

    assert run_simulated(main, 1) == ["A", "0"]


def test_a_limit_of_time_ends_what_takes_longer() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.sleep(1000)
        return asyncio.get_running_loop().time()

    assert run_simulated(main, 1) == pytest.approx(2.5)


def test_what_waits_for_nobody_is_an_error() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(SimulationStuckError):
        run_simulated(main, 1)


def test_the_generator_of_the_process_draws_by_the_seed_and_goes_on_where_it_was() -> None:
    async def main() -> float:
        return random.random()

    random.seed(99)
    expected = [random.random() for _ in range(2)]
    random.seed(99)
    first = random.random()
    drawn = [run_simulated(main, seed) for seed in (5, 6, 5)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert [first, random.random()] == expected
