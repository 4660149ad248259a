"""Two houses behind one door: in memory, and on a nats-server of its own for every test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import nats
from nats.js.api import ConsumerConfig, RePublish, StreamConfig

from brokers.base import House
from brokers.jetstream import JetStreamHouse
from brokers.memory import MemoryHouse, Stored
from brokers.settings import Nats
from brokers.stage import Stage
from schemas import subjects

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

    def __init__(self, server: Server, house: JetStreamHouse, client: Any) -> None:
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


class Server:
    """A nats-server that can be killed and comes back on the same port with the same store."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = -1
        self.start()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        binary = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or "nats-server"
        config = self.directory / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\nports_file_dir: "{self.directory}"\n'
            f'jetstream {{ store_dir: "{self.directory}", domain: {SITE} }}\n'
        )
        self.process = subprocess.Popen([binary, "-c", str(config)], stderr=subprocess.DEVNULL)
        ports = self.directory / f"nats-server_{self.process.pid}.ports"
        for _ in range(1000):
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                self.port = int(json.loads(ports.read_text())["nats"][0].rpartition(":")[2])
                return
            time.sleep(0.005)
        raise TimeoutError("nats-server did not start")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def declare(jetstream: Any, stages: Iterable[Stage], ack_wait_s: float) -> None:
    for name in subjects.SITE_STREAMS:
        live = RePublish(src=f"{name.lower()}.>", dest=f"live.{name.lower()}.>")
        config = StreamConfig(name=name, subjects=[f"{name.lower()}.>"], allow_direct=True, duplicate_window=120.0)
        config.republish = live if name in (subjects.ANSWERS, subjects.DEAD) else None
        await jetstream.add_stream(config)
    for stage in stages:
        sources = [source for kind in stage.accepts for source in subjects.sources_of(kind, SITE)]
        for stream in {source.stream for source in sources}:
            filters = [source.filter for source in sources if source.stream == stream]
            await jetstream.add_consumer(
                stream,
                ConsumerConfig(
                    durable_name=stage.name,
                    filter_subjects=filters,
                    ack_policy="explicit",
                    ack_wait=ack_wait_s,
                    max_deliver=stage.retry.attempts + 1,
                ),
            )


Rig = MemoryRig | JetStreamRig
OpenRig = Callable[..., contextlib.AbstractAsyncContextManager[Any]]


@contextlib.asynccontextmanager
async def memory(_: Path, *stages: Stage, ack_wait_s: float = 30.0) -> AsyncIterator[MemoryRig]:
    yield MemoryRig(MemoryHouse(SITE, stages, ack_wait_s=ack_wait_s))


@contextlib.asynccontextmanager
async def on_jetstream(directory: Path, *stages: Stage, ack_wait_s: float = 30.0) -> AsyncIterator[JetStreamRig]:
    server = Server(directory)
    try:
        client = await nats.connect(server.url, reconnect_time_wait=0.05, max_reconnect_attempts=-1)
        await declare(client.jetstream(), stages, ack_wait_s)
        async with JetStreamHouse.open(Nats(url=server.url), SITE) as house:
            yield JetStreamRig(server, house, client)
        await client.close()
    finally:
        server.kill()
