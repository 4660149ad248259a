"""A leaf behind the link: as far away as it was told to be, and back after either kind of outage."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from tests.support.link_ends import BOTH_LOOPS, PATIENCE_S, until
from tidegate.brokers.jetstream.api import connect
from tidegate.schemas import subjects

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BOTH_LOOPS, ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def ping_ms(site: Client, timeout_s: float = PATIENCE_S) -> float:
    began_s = time.monotonic()
    await site.request(subjects.ping("site1"), b"x", timeout=timeout_s)
    return (time.monotonic() - began_s) * 1e3


async def wait_until_back(site: Client) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(nats.errors.NoRespondersError, nats.errors.TimeoutError):
                await ping_ms(site, 0.5)
                return
            await asyncio.sleep(0.02)


async def check_distance(site: Client, link: Link) -> None:
    medians = []
    for rtt_ms in (10, 50, 200):
        link.set(rtt_ms=rtt_ms)
        await ping_ms(site)
        took_ms = [await ping_ms(site) for _ in range(5)]
        assert min(took_ms) >= rtt_ms
        medians.append(statistics.median(took_ms))
    assert medians == sorted(medians)


async def test_a_leaf_is_as_far_from_its_hub_as_the_link_and_comes_back_after_either_outage(tmp_path: Path) -> None:
    async def pong(message: Msg) -> None:
        await message.respond(message.data)

    async with (
        linked_servers(tmp_path, ["site1"]) as (servers, links),
        connect(servers.hub.nats, subjects.HUB) as hub,
        connect(servers.sites["site1"].nats, "site1") as site,
    ):
        link = links["site1"]
        await hub.subscribe(subjects.ping("*"), cb=pong)
        await hub.flush()
        await wait_until_back(site)
        await check_distance(site, link)
        link.set(rtt_ms=10)
        link.stall()
        with pytest.raises(nats.errors.TimeoutError):
            await ping_ms(site, 0.3)
        link.heal()
        await wait_until_back(site)
        link.cut()
        await until(lambda: not link.connections)
        with pytest.raises((nats.errors.NoRespondersError, nats.errors.TimeoutError)):
            await ping_ms(site, 0.3)
        link.heal()
        await wait_until_back(site)
        assert link.up.entered > 0
        assert link.down.entered > 0
