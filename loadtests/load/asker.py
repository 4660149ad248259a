"""The client of every side: stores a request, receives its answer on the core plane, and measures the time between."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from tidegate.brokers.settings import NatsSettings
from tidegate.schemas.subjects import rid_of

PATIENCE_S = 30.0
_numbers = itertools.count()


async def connect_as_operator(settings: NatsSettings) -> Client:
    """A plain connection. Raises as `nats.connect`."""
    return await nats.connect(settings.url, nkeys_seed=settings.nkey_seed_file or None, max_reconnect_attempts=0)


class Asker:
    """One connection of its own. `entrance(rid)` is the subject and the bytes of a request."""

    def __init__(self, client: Client, entrance: Callable[[str], tuple[str, bytes]]) -> None:
        self._client = client
        self.stream = client.jetstream()
        self._entrance = entrance
        self._waiting: dict[str, asyncio.Future[float]] = {}
        self._run = f"{time.time_ns():x}"

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str, entrance: Callable[[str], tuple[str, bytes]], answers: str) -> AsyncIterator[Asker]:
        """`answers` is the core subject under which a stored answer is announced."""
        client = await nats.connect(url, max_reconnect_attempts=0)
        try:
            asker = cls(client, entrance)
            await client.subscribe(answers, cb=asker._hear)
            await client.flush()
            yield asker
        finally:
            await client.close()

    async def ask(self) -> float:
        """Milliseconds from the request's publication to its stored answer. Raises `TimeoutError`."""
        rid = f"{self._run}-{next(_numbers)}"
        future: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[rid] = future
        subject, data = self._entrance(rid)
        began_s = time.perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.stream.publish(subject, data, headers={"Nats-Msg-Id": rid}, timeout=PATIENCE_S)
                return (await future - began_s) * 1e3
        finally:
            del self._waiting[rid]

    async def _hear(self, msg: Msg) -> None:
        future = self._waiting.get(rid_of(msg.subject))
        if future is not None and not future.done():
            future.set_result(time.perf_counter())

    async def median_ms(self, requests: int) -> float:
        """One request at a time: the median of their times."""
        return statistics.median([await self.ask() for _ in range(requests)])

    async def rate(self, requests: int, in_flight: int) -> float:
        """Requests answered per second with always `in_flight` under way."""
        left = iter(range(requests))

        async def keep_asking() -> None:
            for _ in left:
                await self.ask()

        began_s = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(keep_asking())
        return requests / (time.perf_counter() - began_s)
