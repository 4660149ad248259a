"""The link when it stalls, is cut, or one of its ends goes: nothing is lost, made up, or left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time

import pytest

from loadtests.link.link import HOST, linked
from tests.support.link_ends import BOTH_LOOPS, client, close, echo, far, round_trip_ms, until

pytestmark = pytest.mark.anyio

MEGABYTE = 1 << 20


@pytest.fixture(params=BOTH_LOOPS, ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def test_a_stalled_link_keeps_what_it_was_given_and_tells_nobody() -> None:
    async with far(echo) as link, client(link) as (reader, writer):
        await round_trip_ms(reader, writer)
        link.stall()
        writer.write(b"held back")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.read(1)
        async with client(link) as (_, late):
            late.write(b"a connection that is made meanwhile stands as well")
            link.heal()
            assert await reader.readexactly(9) == b"held back"
        assert await round_trip_ms(reader, writer) >= 0


async def test_what_was_held_back_takes_its_time_again() -> None:
    async with far(echo) as link, client(link) as (reader, writer):
        link.set(rtt_ms=80)
        link.stall()
        writer.write(b"x")
        await asyncio.sleep(0.1)
        healed_s = time.monotonic()
        link.heal()
        assert await reader.readexactly(1) == b"x"
        assert (time.monotonic() - healed_s) * 1e3 >= 80


async def test_a_cut_resets_both_ends_and_every_new_connection_until_it_is_healed() -> None:
    ended: asyncio.Queue[Exception | None] = asyncio.Queue()

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(-1)
            ended.put_nowait(None)
        except ConnectionResetError as error:
            ended.put_nowait(error)
        writer.close()

    async with far(watch) as link, client(link) as (reader, _):
        await until(lambda: bool(link.connections) and all(each.far.transport for each in link.connections))
        link.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)
        assert isinstance(await ended.get(), ConnectionResetError)
        async with client(link) as (again, _):
            with pytest.raises(ConnectionResetError):
                await again.read(1)
        await until(lambda: not link.connections)
        link.heal()
        async with client(link) as (_, writer):
            writer.write_eof()
            assert await ended.get() is None


async def test_half_a_connection_can_be_closed_and_a_peers_reset_is_passed_on() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all of " + await reader.read(-1))
        writer.close()

    async with far(answer_at_the_end) as link, client(link) as (reader, writer):
        writer.write(b"it")
        writer.write_eof()
        assert await reader.read(-1) == b"all of it"

    async def leave_rudely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(bytes(8 * MEGABYTE))  # a reset because the writer goes with bytes unsent
        writer.transport.abort()

    async with far(leave_rudely) as link, client(link) as (reader, writer):
        writer.write(b"xx")
        with contextlib.suppress(ConnectionResetError):
            await reader.read(-1)
        await close(writer)
        await until(lambda: not link.connections)


async def test_a_server_that_is_not_there_resets_who_asks_for_it() -> None:
    async with linked(HOST, 1) as link, client(link) as (reader, _):
        with pytest.raises(ConnectionResetError):
            await reader.read(1)


async def test_leaving_closes_every_socket_and_leaves_no_task_and_no_noise() -> None:
    noise: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context))
    before = asyncio.all_tasks()
    async with far(echo) as link:
        link.set(rtt_ms=400, rate=1e5)
        open_ = [await asyncio.open_connection(HOST, link.port) for _ in range(5)]
        for _, writer in open_:
            writer.write(bytes(50_000))
        await asyncio.sleep(0.05)
        open_.append(await asyncio.open_connection(HOST, link.port))  # may still be on its way to the far end
    assert not link.connections
    assert not link.up.pipes
    assert not link.down.pipes
    for reader, writer in open_:
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        await close(writer)
    await until(lambda: asyncio.all_tasks() == before)  # the far end hears of it a moment later
    gc.collect()
    assert noise == []
