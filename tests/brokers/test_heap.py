"""Memory is given back when a process comes to rest after work, and not while it works."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.brokers.process.heap import RESTS_BELOW, WORKED_S, RestWatch, trimmed_at_rest

PERIOD_S = 5.0
A_LITTLE_S = RESTS_BELOW * PERIOD_S / 2
shares = st.floats(0.0, 1.0)


@given(st.lists(shares, max_size=40))
def test_memory_is_given_back_at_rest_alone_and_only_after_work(busy: list[float]) -> None:
    watch, used_s, trimmed_s = RestWatch(3.0), 3.0, 3.0
    for share in busy:
        used_s += share * PERIOD_S
        if watch.is_due(used_s, PERIOD_S):
            assert share < RESTS_BELOW + 1e-9
            assert used_s - trimmed_s >= WORKED_S
            trimmed_s = used_s


@given(st.floats(1.0, 1e6), st.floats(WORKED_S, 100.0))
def test_a_process_that_comes_to_rest_gives_back_once(began_s: float, worked_s: float) -> None:
    watch = RestWatch(began_s)
    used_s = began_s + max(worked_s, PERIOD_S * RESTS_BELOW) + 1e-3
    assert not watch.is_due(used_s, PERIOD_S)
    assert watch.is_due(used_s, PERIOD_S)
    assert not watch.is_due(used_s + A_LITTLE_S / 2, PERIOD_S)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.anyio
@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone is told to give memory back")
async def test_what_was_freed_between_what_is_kept_goes_back_to_the_system() -> None:
    async with trimmed_at_rest(0.05):
        blocks = [bytearray(100_000) for _ in range(1000)]
        kept = blocks[::20]
        began_s = time.process_time()
        while time.process_time() < began_s + 2 * WORKED_S:
            pass
        del blocks
        before = resident_bytes()
        async with asyncio.timeout(20):
            while resident_bytes() > before - 50_000_000:  # noqa: ASYNC110  the system tells nobody
                await asyncio.sleep(0.05)
        assert len(kept) == 50
