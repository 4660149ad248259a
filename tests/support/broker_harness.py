"""Two houses behind one door: in memory, and on a nats-server of its own for every test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from tidegate.brokers.base import House
from tidegate.brokers.jetstream.bus import JetStreamHouse
from tidegate.brokers.memory.bus import MemoryHouse, Stored
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import Nats
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology import plan as topology

SITE = "site1"
WAIT_S = 10.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as it holds; fail after ten seconds."""
    async with asyncio.timeout(WAIT_S):
        while not await holds():  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0.005)


class MemoryRig:
    """The twin."""

    def __init__(self, house: MemoryHouse) -> None:
        self.house = house

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[House]:
        """The house as another process sees it."""
        yield self.house

    async def put(self, subject: str, data: bytes, id: str) -> None:
        """Store bytes as a foreign publisher would."""
        self.house._store(subject, data, {"Nats-Msg-Id": id})

    async def stored(self, stream: str) -> tuple[Stored, ...]:
        """Everything in the stream."""
        return self.house.stored(stream)


class JetStreamRig:
    """A server, and a client of the test's own that looks into it."""

    def __init__(self, server: Server, house: JetStreamHouse, client: Client) -> None:
        self.server = server
        self.house = house
        self.client = client

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[House]:
        async with JetStreamHouse.open(Nats(url=self.server.url), SITE) as house:
            yield house

    async def put(self, subject: str, data: bytes, id: str) -> None:
        await self.client.jetstream().publish(subject, data, headers={"Nats-Msg-Id": id})

    async def stored(self, stream: str) -> tuple[Stored, ...]:
        jetstream = self.client.jetstream()
        count = (await jetstream.stream_info(stream)).state.last_seq
        messages = [await jetstream.get_msg(stream, sequence) for sequence in range(1, count + 1)]
        return tuple(Stored(stream, m.seq, m.subject, m.data or b"", m.headers or {}, 0.0) for m in messages)


async def declare(client: Client, stages: Sequence[Stage], ack_wait_s: float) -> None:
    """A site's own topology, with another ack wait."""
    declared = topology.of_site(SITE, stages)
    for stage in stages:
        for name, config in declared.consumers.items():
            if name.endswith(f"/{stage.name}"):
                config["ack_wait"] = int(ack_wait_s * 1e9)
    await topology.apply(client, topology.plan(SITE, declared, await topology.look(client)))


Rig = MemoryRig | JetStreamRig
OpenRig = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


@contextlib.asynccontextmanager
async def memory(_: Path, *stages: Stage, ack_wait_s: float = 30.0) -> AsyncIterator[MemoryRig]:
    yield MemoryRig(MemoryHouse(SITE, stages, ack_wait_s=ack_wait_s))


@contextlib.asynccontextmanager
async def on_jetstream(directory: Path, *stages: Stage, ack_wait_s: float = 30.0) -> AsyncIterator[JetStreamRig]:
    settings = conf.plain(SITE)
    del settings["jetstream"]["sync_interval"]  # what a killed server wrote is still there; no power cut is played here
    server = Server(SITE, directory, settings)
    server.start()
    try:
        client = await nats.connect(server.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1)
        await declare(client, stages, ack_wait_s)
        async with JetStreamHouse.open(Nats(url=server.url), SITE) as house:
            yield JetStreamRig(server, house, client)
        await client.close()
    finally:
        server.kill()
