"""What one simulated process sees of its domain: a bus that is slow, full, unsure or gone, and ends with the process.

Promises that a process which was killed changes nothing any more, whatever its tasks still do. Next: process.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from tidegate.brokers.base import Acknowledged, Delivery, StoreOutcome, StoreStuckError
from tidegate.brokers.memory.bus import Listener, Responder
from tidegate.brokers.memory.consumer import MemoryDelivery, MemoryInbox
from tidegate.brokers.service import MicroService
from tidegate.brokers.stage import Stage
from tidegate.schemas import Message
from tidegate.schemas.subjects import Source, is_at_hub, subject_of
from tidegate.services.simulation.domain import SimulatedDomain
from tidegate.services.simulation.draws import FaultDraws
from tidegate.services.simulation.journal import Journal, PublishedEvent, SettledEvent, Settlement

STUCK_S = 2.0
"""How long a publisher waits for a stream that stores nothing."""
UNSURE_S = 5.0
"""How long a publisher waits for a confirmation that never comes."""


class Life(Protocol):
    """Whether a process still runs; it may end at every await."""

    is_dead: bool

    async def pause(self) -> None:
        """An await of the process. Where it ends here, nothing returns."""


class ToHub(Protocol):
    """The link, as a site's process uses it."""

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes: ...
    def send(self, from_domain: str, subject: str, data: bytes) -> None: ...


class ProcessDelivery:
    """A delivery in the hands of one process; what it settles once the process is dead is settled by nobody."""

    def __init__(self, inner: MemoryDelivery, stage: str, bus: ProcessBus) -> None:
        self.id, self.subject, self.data, self.headers = inner.id, inner.subject, inner.data, inner.headers
        self.attempt, self.stored_at_s, self.position = inner.attempt, inner.stored_at_s, inner.position
        self._inner = inner
        self._stage = stage
        self._bus = bus
        self._number = bus.journal.next()

    async def stored(self) -> str:
        return self.position

    async def ack(self) -> None:
        await self._bus.life.pause()
        if self._settles("ack") and not self._bus.draws.loses_ack():
            await self._inner.ack()

    async def term(self, reason: str) -> None:
        if self._settles("term"):
            await self._inner.term(reason)

    async def retry(self, after_s: float) -> None:
        if self._settles("retry"):
            await self._inner.retry(after_s)

    async def keep_alive(self) -> None:
        if not self._bus.life.is_dead:
            await self._inner.keep_alive()

    def _settles(self, how: Settlement) -> bool:
        if self._bus.life.is_dead:
            return False
        journal, domain = self._bus.journal, self._bus.domain
        journal.settled.append(SettledEvent(journal.next(), domain, self._stage, self.position, self._number, how))
        return True


class ProcessInbox:
    """A stage's deliveries, as a process takes them."""

    def __init__(self, inner: MemoryInbox, stage: str, bus: ProcessBus) -> None:
        self._inner = inner
        self._stage = stage
        self._bus = bus

    def put(self, delivery: Delivery) -> None:
        """See `Inbox`."""
        self._inner.put(delivery)

    async def next(self, wait_s: float = 0.2) -> Delivery | None:
        """See `Inbox`."""
        found = await self._inner.next(wait_s)
        if found is None or self._bus.life.is_dead:
            return None
        delivery = ProcessDelivery(found, self._stage, self._bus) if isinstance(found, MemoryDelivery) else found
        await self._bus.life.pause()
        return delivery

    async def hand_back(self) -> None:
        """Give up what was put and not taken."""
        await self._inner.hand_back()


class ProcessBus:
    """The `Bus` of one process."""

    def __init__(self, shared: SimulatedDomain, life: Life, draws: FaultDraws, journal: Journal, link: ToHub) -> None:
        self.domain = shared.domain
        self.life = life
        self.draws = draws
        self.journal = journal
        self._shared = shared
        self._link = link
        self._listeners: list[tuple[str, Listener]] = []
        self._responders: list[tuple[str, Responder]] = []

    def close(self) -> None:
        """The process has ended: nothing listens or answers for it."""
        self._shared.remove(self._listeners, self._responders)

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`. Raises `StoreStuckError` while the disk is full."""
        return (await self.store(message, id=id, headers=headers)).is_new

    async def store(self, message: Message, *, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        """See `Broker`. Raises as `publish`."""
        await self.life.pause()
        await self._reach_disk()
        is_unsure = self.draws.loses_confirmation()
        if not is_unsure or self.draws.is_stored_unconfirmed():
            outcome = await self._shared.store(message, id=id, headers=headers)
        if is_unsure:
            await asyncio.sleep(UNSURE_S)
            raise TimeoutError("the stream has not confirmed it")
        subject, cause = subject_of(message, self.domain), headers.get("Tidegate-Cause", "")
        self.journal.published.append(
            PublishedEvent(self.journal.next(), self.domain, subject, id, cause, outcome.is_new)
        )
        await self.life.pause()
        return outcome

    def id_of(self, name: str) -> str:
        """See `Broker`; here an id is its name."""
        return name

    async def publish_again(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`."""
        return await self.publish(message, id=id, headers=headers)

    async def append(self, message: Message, *, after: int) -> int:
        """See `Broker`. TOKENS is a stream in memory: no disk holds it up."""
        await self.life.pause()
        sequence = await self._shared.append(message, after=after)
        await self.life.pause()
        return sequence

    async def dead_letter(self, delivery: Delivery, stage: str, error: BaseException) -> None:
        """See `Broker`."""
        await self.life.pause()
        await self._reach_disk()
        await self._shared.dead_letter(delivery, stage, error)

    @asynccontextmanager
    async def subscribe(self, stage: Stage) -> AsyncIterator[ProcessInbox]:
        """See `Broker`."""
        await self.life.pause()
        inbox = ProcessInbox(self._shared.inbox(stage), stage.name, self)
        try:
            yield inbox
        finally:
            await inbox.hand_back()

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `CoreClient`; what is at the hub is asked over the link."""
        await self.life.pause()
        if is_at_hub(subject):
            return await self._link.request(subject, data, timeout_s)
        return await self._shared.request(subject, data, timeout_s=timeout_s)

    async def respond(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """See `CoreClient`."""
        await self.respond_by_subject(subject, lambda _, data: answer(data))

    async def respond_by_subject(self, subject: str, answer: Responder) -> None:
        """See `CoreClient`."""
        entry = (subject, answer)
        self._responders.append(entry)
        self._shared.add_responder(entry)

    async def listen(self, subject: str, handle: Callable[[str, bytes], Awaitable[None]]) -> None:
        """See `CoreClient`."""

        async def while_alive(subject: str, data: bytes) -> None:
            if not self.life.is_dead:
                await handle(subject, data)

        entry = (subject, Listener(while_alive))
        self._listeners.append(entry)
        self._shared.add_listener(entry)

    async def publish_core(self, subject: str, data: bytes) -> None:
        """See `CoreClient`."""
        await self.life.pause()
        if is_at_hub(subject):
            self._link.send(self.domain, subject, data)
        else:
            self._shared.send(subject, data)

    async def serve(self, service: MicroService) -> None:
        """See `CoreClient`: nothing that is simulated does."""
        await self._shared.serve(service)

    async def last(self, stream: str, subject: str) -> bytes | None:
        """See `CoreClient`."""
        await self.life.pause()
        return await self._shared.last(stream, subject)

    async def read(self, stream: str, subject: str, after: int = 0) -> list[tuple[int, bytes]]:
        """See `CoreClient`."""
        await self.life.pause()
        return await self._shared.read(stream, subject, after)

    async def acknowledged(self, source: Source, consumer: str, after: int | None, most: int) -> Acknowledged:
        """See `CoreClient`."""
        return await self._shared.acknowledged(source, consumer, after, most)

    async def pending(self, stage: Stage) -> int:
        """See `CoreClient`."""
        return await self._shared.pending(stage)

    async def _reach_disk(self) -> None:
        if self.draws.disk_is_full(self.domain):
            await asyncio.sleep(STUCK_S)
            raise StoreStuckError("the stream stores nothing")
        if taken_s := self.draws.store_s(self.domain):
            await asyncio.sleep(taken_s)
            await self.life.pause()
