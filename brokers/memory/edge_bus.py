"""The bus of the in-process runtime: in memory, but what is at the hub is reached over a NATS connection.

Promises that a hub that is away, at the start or later, costs an `UnreachableError` and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from tidegate.brokers.base import CoreClient, UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Stage
from tidegate.schemas import subjects

CONNECT_WITHIN_S = 2.0
"""How long opening waits for the hub; after that the connection is made in the background, whenever it can be."""
RETRY_S = 1.0

Handle = Callable[[str, bytes], Awaitable[None]]


class EdgeBus(MemoryBus):
    """A `MemoryBus` in which no stage has a queue, linked to a hub where there is one."""

    def __init__(self, site: str) -> None:
        super().__init__(site)
        self._hub: CoreClient | None = None
        self._from_hub: list[tuple[str, Handle]] = []
        self._is_linked = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, site: str, hub: NatsSettings | None = None) -> AsyncIterator[EdgeBus]:
        """The bus; with `hub`, linked to that server as soon as it can be reached.

        Raises what a credential that is none raises.
        """
        bus = cls(site)
        if hub is None:
            yield bus
            return
        linking, linked = asyncio.create_task(bus._link(hub)), asyncio.create_task(bus._is_linked.wait())
        try:
            await asyncio.wait([linking, linked], timeout=CONNECT_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
            if linking.done():
                await linking  # it never ends but by an error, such as a seed that is none
            yield bus
        finally:
            await end_tasks(linked, linking)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `CoreClient`. Raises `UnreachableError` at once without a connection to the hub."""
        if not subjects.is_at_hub(subject):
            return await super().request(subject, data, timeout_s=timeout_s)
        if self._hub is None:
            raise UnreachableError(f"there is no connection to the hub, which answers on {subject}")
        return await self._hub.request(subject, data, timeout_s=timeout_s)

    async def listen(self, subject: str, handle: Handle) -> None:
        """See `CoreClient`."""
        if not subjects.is_at_hub(subject):
            await super().listen(subject, handle)
            return
        self._from_hub.append((subject, handle))
        if self._hub is not None:
            await self._hub.listen(subject, handle)

    async def pending(self, stage: Stage) -> int:  # noqa: ARG002 - whatever the stage
        """See `CoreClient`: in process, a stage is called and nothing waits for it."""
        return 0

    def forget(self, rid: str) -> None:
        """Drop everything that is stored of this request."""
        for stream, kept in self._streams.items():
            gone = [message for message in kept if subjects.rid_of(message.subject) == rid]
            self._ids.difference_update((stream, message.headers["Nats-Msg-Id"]) for message in gone)
            self._streams[stream] = [message for message in kept if subjects.rid_of(message.subject) != rid]

    async def _link(self, nats: NatsSettings) -> None:
        while True:
            with contextlib.suppress(UnreachableError):
                async with JetStreamBus.open(nats, self.domain) as hub:
                    for subject, handle in self._from_hub:
                        await hub.listen(subject, handle)
                    self._hub = hub
                    self._is_linked.set()
                    await asyncio.get_running_loop().create_future()  # until it is cancelled; the link repairs itself
            await asyncio.sleep(RETRY_S)
