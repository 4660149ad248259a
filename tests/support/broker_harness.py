"""Two buses under one harness: in memory, and on a nats-server of its own for every test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from tidegate.brokers.base import Bus, StoredMessage
from tidegate.brokers.jetstream import declare as topology
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.plan import plan, site_topology

SITE = "site1"
WAIT_S = 30.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as it holds; fail after thirty seconds."""
    async with asyncio.timeout(WAIT_S):
        while not await holds():  # noqa: ASYNC110 - the server has no event to wait for
            await asyncio.sleep(0.005)


class MemoryRig:
    """The bus in memory."""

    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[Bus]:
        """The bus as another process sees it."""
        yield self.bus

    async def put(self, subject: str, data: bytes, id: str) -> None:
        """Store bytes as a foreign publisher would."""
        self.bus._store(subject, data, {"Nats-Msg-Id": id})

    async def stored(self, stream: str) -> tuple[StoredMessage, ...]:
        """Everything in the stream."""
        return self.bus.stored(stream)


class JetStreamRig:
    """A server, and a client of the test's own that looks into it."""

    def __init__(self, server: Server, bus: JetStreamBus, client: Client) -> None:
        self.server = server
        self.bus = bus
        self.client = client

    @contextlib.asynccontextmanager
    async def peer(self) -> AsyncIterator[Bus]:
        async with JetStreamBus.open(self.server.nats, SITE) as bus:
            yield bus

    async def put(self, subject: str, data: bytes, id: str) -> None:
        await self.client.jetstream().publish(subject, data, headers={"Nats-Msg-Id": id})

    async def stored(self, stream: str) -> tuple[StoredMessage, ...]:
        jetstream = self.client.jetstream()
        count = (await jetstream.stream_info(stream)).state.last_seq
        messages = [await jetstream.get_msg(stream, sequence) for sequence in range(1, count + 1)]
        return tuple(
            StoredMessage(stream, m.seq or 0, 0.0, m.subject or "", m.headers or {}, m.data or b"") for m in messages
        )


async def declare(client: Client, stages: Sequence[Stage], ack_wait_s: float) -> None:
    """A site's own topology, with another ack wait."""
    declared = site_topology(SITE, stages)
    for stage in stages:
        for name, config in declared.consumers.items():
            if name.endswith(f"/{stage.name}"):
                config["ack_wait"] = int(ack_wait_s * 1e9)
    await topology.apply(client, plan(SITE, declared, await topology.read_topology(client)))


Rig = MemoryRig | JetStreamRig
OpenRig = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


@contextlib.asynccontextmanager
async def memory(_: Path, *stages: Stage, ack_wait_s: float = 30.0) -> AsyncIterator[MemoryRig]:
    yield MemoryRig(MemoryBus(SITE, stages, ack_wait_s=ack_wait_s))


@contextlib.asynccontextmanager
async def on_jetstream(directory: Path, *stages: Stage, ack_wait_s: float = 30.0) -> AsyncIterator[JetStreamRig]:
    settings = conf.plain(SITE)
    del settings["jetstream"]["sync_interval"]  # what a killed server wrote is still there; no power cut is played here
    server = Server(SITE, directory, settings)
    await server.start()
    try:
        client = await nats.connect(server.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1)
        await declare(client, stages, ack_wait_s)
        async with JetStreamBus.open(server.nats, SITE) as bus:
            yield JetStreamRig(server, bus, client)
        await client.close()
    finally:
        server.kill()
