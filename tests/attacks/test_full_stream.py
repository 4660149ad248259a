"""A stream that is full for real: new work refused at once by name, accepted work kept, and all answered once it has
room, also across a restart of the server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from tests.attacks.test_full_disk import ask
from tests.support.gateway_site import Site, site
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.publisher import StreamFullError
from tidegate.brokers.process.background import running
from tidegate.brokers.room import is_out_of_room
from tidegate.brokers.servers.running import find_server_pid
from tidegate.brokers.topology.fill import NEAR, OF_REQUESTS, StreamFill
from tidegate.schemas import Asked
from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, ESCALATIONS, PIPE
from tidegate.services.fleet.stream_fills import find_fill_problems, keep_looking
from tidegate.services.gateway.room import StoreRoom

pytestmark = pytest.mark.anyio
ACCEPTED = 8
MIB = 1 << 20


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, http=True, server=True, grace_s=60.0) as opened:
        bus = bus_of(opened)
        async with running(keep_looking(lambda: bus.link.client, opened.ingress.room.look_at)):
            yield opened


def bus_of(opened: Site) -> JetStreamBus:
    assert isinstance(opened.bus, JetStreamBus)
    return opened.bus


async def set_limit(opened: Site, stream: str, max_bytes: int | None) -> None:
    """By hand, at the server: None leaves no room for one byte more."""
    client = bus_of(opened).link.client
    info = await api.call(client, f"STREAM.INFO.{stream}")
    held = max(1, info["state"]["bytes"]) if max_bytes is None else max_bytes
    await api.put_stream(client, {**info["config"], "max_bytes": held, "discard": "new"}, is_new=False)


async def readiness(opened: Site) -> dict[str, Any]:
    async with opened.client() as http:
        reply: dict[str, Any] = (await http.get("/readyz")).json()
        return reply


async def until(opened: Site, reason: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (seen := await readiness(opened)).get("reason", "") != reason:  # noqa: ASYNC110  from outside
            await asyncio.sleep(0.05)
        return seen


async def answered(http: httpx.AsyncClient, asking: list[asyncio.Task[httpx.Response]]) -> None:
    replies = await asyncio.gather(*asking)
    assert [reply.status_code for reply in replies] == [200] * len(asking)
    assert (await ask(http, "And now?", "later")).status_code == 200


@pytest.mark.parametrize(
    ("stream", "restarts"), [(ASKS, False), (PIPE, False), (ANSWERS, False), (ANSWERS, True)], ids=str
)
async def test_a_full_stream_costs_no_request_that_was_accepted(full: Site, stream: str, restarts: bool) -> None:
    async with full.client(timeout=90.0) as http:
        assert (await ask(http, "When do you open?", "before")).status_code == 200
        asking = [asyncio.create_task(ask(http, "wait here", f"r{n}")) for n in range(ACCEPTED)]
        for _ in asking:
            await full.arrivals.get()
        await set_limit(full, stream, None)
        seen = await until(full, "stream_full")
        assert seen["filling"][stream] >= 1.0
        labels = {"stream": stream, "when_full": "refuses"}
        assert REGISTRY.get_sample_value("tidegate_stream_fill_ratio", labels) == seen["filling"][stream]
        refused = (await ask(http, "And now?", "new")).json()["error"]
        assert refused["code"] == "unavailable"
        assert f"{stream} has no room" in refused["message"]
        known = await ask(http, "other words", "r0")
        assert known.json()["error"]["code"] == "rid_taken"  # what is stored is known all the same
        full.may_answer.set()
        await asyncio.sleep(1.0)
        assert all(task.done() for task in asking) == (stream == ASKS)
        if restarts:
            pid = find_server_pid(Path(full.settings.state_dir) / "nats")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.5)
            await until(full, "stream_full")
        await set_limit(full, stream, 64 * MIB)
        await until(full, "")
        await answered(http, asking)


async def test_a_poisoned_request_waits_for_room_among_the_dead_letters_and_ends_no_worker(full: Site) -> None:
    async with full.client(timeout=90.0) as http:
        asking = asyncio.create_task(ask(http, "wait here", "r0"))
        await full.arrivals.get()
        await set_limit(full, DEAD, None)
        dying = asyncio.create_task(full.ingress.submit(Asked(tenant="kiosk", text="die now", asker="ada")))
        await asyncio.sleep(1.5)
        assert not dying.done()
        await until(full, "stream_full")
        await set_limit(full, DEAD, 64 * MIB)
        assert getattr(await dying, "code", "") == "dead"
        full.may_answer.set()
        await until(full, "")
        await answered(http, [asking])


async def test_a_stream_at_its_limit_says_so_at_once_and_it_is_no_fault_of_the_message(full: Site) -> None:
    await set_limit(full, ASKS, 1)
    async with asyncio.timeout(5):
        with pytest.raises(StreamFullError) as refused:
            await full.bus.publish(Asked(tenant="kiosk", rid="r1", text="x"), id="r1", headers={})
    assert is_out_of_room(refused.value)
    assert "retention.sizes" in refused.value.hint


SIZES = st.integers(0, 1 << 40)


@given(most=st.integers(4, 1 << 40), held=SIZES, more=st.integers(0, 1 << 20))
@settings(max_examples=300, derandomize=True)
def test_what_is_full_stays_full_with_more_in_it_and_is_said_before_it_refuses(most: int, held: int, more: int) -> None:
    def fill(held: int, **fields: Any) -> StreamFill:
        return StreamFill(stream=ASKS, bytes=held, max_bytes=most, **fields)

    if fill(held).is_full:
        assert fill(held + more).is_full
        assert fill(held).is_near
    assert fill(most).is_full
    assert not fill(most // 2).is_full  # a quarter is kept free at most
    assert fill(held).is_near or fill(held).share < NEAR
    assert not fill(held, gives_up_oldest=True).is_near
    assert not StreamFill(stream=ASKS, bytes=held).is_near


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (StreamFill(stream=ESCALATIONS, bytes=99, max_bytes=100), "stream_full"),
        (StreamFill(stream=ANSWERS, messages=100, max_messages=100), "stream_full"),
        (StreamFill(stream="CORPUS", bytes=99, max_bytes=100), ""),
        (StreamFill(stream=PIPE, bytes=100, max_bytes=100, gives_up_oldest=True), ""),
    ],
    ids=lambda each: getattr(each, "stream", each),
)
def test_only_a_stream_that_a_request_needs_closes_the_door(tmp_path: Path, fill: StreamFill, reason: str) -> None:
    room = StoreRoom(tmp_path, 0)
    room.look_at([fill])
    assert (room.fault, room.may_store()) == (reason, not reason)
    assert bool(reason) == (fill.stream in OF_REQUESTS and fill.is_full)
    room.look_at([])
    assert (room.fault, room.may_store()) == ("", True)


def test_what_fills_up_is_a_problem_of_the_domain() -> None:
    near, full = (StreamFill(stream=ANSWERS, bytes=held, max_bytes=1 << 30) for held in (900 << 20, 1 << 30))
    assert find_fill_problems("site1", (StreamFill(stream=ASKS, bytes=1, max_bytes=1 << 30),)) == []
    [near_it, refuses] = find_fill_problems("site1", (near, full))
    assert near_it.startswith("site1: ANSWERS is 88% full; ")
    assert refuses.startswith("site1: ANSWERS is 100% full and refuses; ")
