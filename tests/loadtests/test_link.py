"""The link is as far away, as uneven and as narrow as it was set, and loses nothing."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import statistics
import time
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loadtests.link.link import HOST, Link, Step
from loadtests.link.pipes import WINDOW, LinkConditions
from tests.support.link_ends import BOTH_LOOPS, client, echo, far, round_trip_ms, until

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20


@pytest.fixture(params=BOTH_LOOPS, ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def test_a_round_trip_takes_what_was_set_and_a_longer_one_takes_longer() -> None:
    async with far(echo) as link, client(link) as ends:
        medians = []
        for rtt_ms in (10, 50, 200):
            link.set(rtt_ms=rtt_ms)
            took_ms = [await round_trip_ms(*ends) for _ in range(5)]
            assert min(took_ms) >= rtt_ms
            medians.append(statistics.median(took_ms))
        assert medians == sorted(medians)
        assert medians[0] < 50, "ten milliseconds are not fifty, even on a busy machine"


async def test_each_way_is_as_slow_as_it_was_set_alone() -> None:
    async with far(echo) as link, client(link) as ends:
        link.up.set(delay_ms=60)
        assert await round_trip_ms(*ends) >= 60
        link.up.set(delay_ms=0)
        link.down.set(delay_ms=90)
        assert await round_trip_ms(*ends) >= 90


async def test_jitter_delays_by_at_most_itself_and_the_same_seed_gives_the_same() -> None:
    same = [Link(HOST, 1, seed=7) for _ in range(2)]
    other = Link(HOST, 1, seed=8)
    drawn = []
    for link in (*same, other):
        link.set(rtt_ms=20, jitter_ms=10)
        drawn.append([link.up.due_s(1, 100.0) for _ in range(50)])
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(100.010 <= due_s <= 100.015 for due_s in drawn[0])
    assert max(drawn[0]) - min(drawn[0]) > 0.002


async def test_a_rate_is_kept_by_all_connections_together() -> None:
    async with far(echo) as link, client(link) as one, client(link) as two:
        link.up.set(rate=400_000)
        began_s = time.monotonic()
        await asyncio.gather(round_trip_ms(*one, b"a" * 100_000), round_trip_ms(*two, b"b" * 100_000))
        assert time.monotonic() - began_s >= 200_000 / 400_000


async def test_bytes_are_counted_each_way() -> None:
    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(1000) * 2)
        writer.close()

    async with far(twice) as link, client(link) as (reader, writer):
        writer.write(b"x" * 1000)
        await reader.readexactly(2000)
        assert (link.up.entered, link.up.left) == (1000, 1000)
        assert (link.down.entered, link.down.left) == (2000, 2000)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(1, 200_000) | st.integers(1, 20), max_size=40),
    rtt_ms=st.sampled_from((0.0, 3.0)),
    jitter_ms=st.sampled_from((0.0, 6.0)),
    rate=st.sampled_from((0.0, 3e7)),
)
async def test_a_megabyte_arrives_both_ways_as_it_was_sent_whatever_its_pieces(
    sizes: list[int], rtt_ms: float, jitter_ms: float, rate: float
) -> None:
    sent = random.Random(len(sizes)).randbytes(MEGABYTE)
    received = hashlib.sha256()
    is_received = asyncio.Event()

    async def swallow_and_say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        saying = asyncio.create_task(say(writer, sent[::-1], sizes[::-1]))
        while data := await reader.read(65536):
            received.update(data)
        is_received.set()
        await saying
        writer.close()

    async with far(swallow_and_say) as link, client(link) as (reader, writer):
        link.set(rtt_ms=rtt_ms, jitter_ms=jitter_ms, rate=rate)
        _, heard = await asyncio.gather(say(writer, sent, sizes), reader.read(-1))
        await is_received.wait()  # the far end may have said all before it has heard all
        assert received.digest() == hashlib.sha256(sent).digest()
        assert heard == sent[::-1]


async def say(writer: asyncio.StreamWriter, data: bytes, sizes: Sequence[int]) -> None:
    """All of the data, first in pieces of these sizes and then in larger ones, and no more."""
    start = 0
    for size in itertools.chain(sizes, itertools.repeat(65_536)):
        if start >= len(data):
            break
        writer.write(data[start : start + size])
        await writer.drain()
        start += size
    writer.write_eof()


async def test_a_sender_is_made_to_wait_when_the_link_is_full() -> None:
    async with far(echo) as link, client(link) as (_, writer):
        link.stall()

        async def flood() -> None:
            while True:
                writer.write(bytes(MEGABYTE))
                await writer.drain()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(flood(), 0.5)
        assert WINDOW < link.up.entered < 2 * WINDOW, "the window, and what was read at once"
        assert link.up.left == 0


@pytest.mark.parametrize(("delay_ms", "rate", "bytes_"), [(100, 1e6, 200_000), (0, 1e3, 4 * 4096), (100, 0, WINDOW)])
def test_the_window_is_bandwidth_times_delay_and_a_little(delay_ms: float, rate: float, bytes_: int) -> None:
    assert LinkConditions(delay_ms=delay_ms, rate=rate).window == bytes_


async def test_a_trace_is_followed_in_time() -> None:
    async with far(echo) as link, client(link) as ends:
        began_s = time.monotonic()
        trace = (
            Step(at_s=0.0, rtt_ms=30.0, jitter_ms=2.0),
            Step(at_s=0.2, state="stalled"),
            Step(at_s=0.4, state="up"),
        )
        playing = asyncio.create_task(link.play(trace))
        await until(lambda: link.down.conditions.delay_ms == 15.0)
        assert await round_trip_ms(*ends) >= 30
        await until(lambda: link.state == "stalled")
        await round_trip_ms(*ends)
        assert time.monotonic() - began_s >= 0.4
        await playing
        assert link.down.conditions == LinkConditions(delay_ms=15.0, jitter_ms=1.0)
