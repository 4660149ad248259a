"""What holds the event loop of a process is measured, and named where it does so for long."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from tests.support.nats_fleet import until
from tidegate.brokers.process.loop_watch import watched_loop
from tidegate.brokers.process.telemetry import Telemetry

HELD = "tidegate_loop_held_seconds"
LONGEST = "tidegate_loop_longest_hold_seconds"
EVERY_S = 0.01
HOLD_S = 0.3
"""Processor time: a probe that is sent within it waits for the rest, however busy the machine."""

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return ("asyncio", {"loop_factory": request.param})


def spin() -> None:
    began_s = time.thread_time()
    while time.thread_time() - began_s < HOLD_S:
        sum(range(1000))


async def hold_once(hold: Callable[[], None], limit_s: float) -> tuple[float, float, list[dict[str, Any]]]:
    """A hold in a task named `drafter`: the longest and the mean wait of all probes in seconds, and the log."""
    output = io.BytesIO()
    telemetry = Telemetry("site1", output=output)

    async def work() -> None:
        hold()

    def value(name: str) -> float:
        return telemetry.registry.get_sample_value(name) or 0.0

    def probed(times: int) -> Callable[[], Awaitable[bool]]:
        least = value(f"{HELD}_count") + times

        async def is_probed() -> bool:
            return value(f"{HELD}_count") >= least

        return is_probed

    with watched_loop(telemetry, limit_s, EVERY_S):
        await until(probed(1))
        await asyncio.create_task(work(), name="drafter")
        await until(probed(3))  # the second of them may be the one that waited for the hold
        longest_s, mean_s = value(LONGEST), value(f"{HELD}_sum") / value(f"{HELD}_count")
    assert telemetry.registry.get_sample_value(LONGEST) is None, "the metrics go with the watch"
    return longest_s, mean_s, [json.loads(line) for line in output.getvalue().splitlines()]


async def test_a_long_hold_is_measured_and_its_task_and_line_are_named() -> None:
    longest_s, mean_s, [line] = await hold_once(spin, HOLD_S / 3)
    assert longest_s >= HOLD_S / 3
    assert mean_s < longest_s, "the others waited for nothing"
    assert line["action"] == "loop_held"
    assert line["task"] == "drafter"
    assert line["where"].startswith(f"{__name__}:")
    assert " spin" in line["where"]
    assert line["held_ms"] >= line["processor_ms"] >= HOLD_S / 3 * 1e3 * 0.5


async def test_a_hold_that_waits_is_told_from_one_that_works() -> None:
    _, _, [line] = await hold_once(lambda: time.sleep(HOLD_S), HOLD_S / 3)
    assert line["held_ms"] >= HOLD_S / 3 * 1e3
    assert line["processor_ms"] < line["held_ms"] / 2


async def test_below_the_limit_nothing_is_logged() -> None:
    longest_s, _, lines = await hold_once(spin, 60.0)
    assert longest_s >= HOLD_S / 3
    assert not lines


async def test_a_watch_can_be_left_while_a_probe_waits() -> None:
    telemetry = Telemetry("site1", output=io.BytesIO())
    began_s = time.perf_counter()
    for pause_s in (0.0, 0.0005, 0.001, 0.002, 0.005) * 4:
        with watched_loop(telemetry, 10.0, 0.0005):
            hold_for(pause_s)
    assert time.perf_counter() - began_s < 10.0, "each that waited for its probe would take that long"


def hold_for(seconds: float) -> None:
    time.sleep(seconds)
