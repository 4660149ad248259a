"""The in-memory twin of the house: the same bytes, the same verdicts, nothing outside this process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from brokers import obituary
from brokers.base import Delivery, Unreachable, report
from brokers.stage import ACK_WAIT_S, Stage
from schemas import Message, encode, subjects

LIVE = (subjects.ANSWERS, subjects.DEAD)


@dataclass(frozen=True)
class Stored:
    """A message in a stream."""

    stream: str
    sequence: int
    subject: str
    data: bytes
    headers: Mapping[str, str]
    stored_at_s: float


def place_of(stored: Stored) -> str:
    return f"{stored.stream}:{stored.sequence}"


class MemoryDelivery:
    """A message in a worker's hands; without a verdict within the ack wait it is delivered again."""

    def __init__(self, consumer: Consumer, stored: Stored, attempt: int) -> None:
        self.subject = stored.subject
        self.data = stored.data
        self.headers = stored.headers
        self.stored_at_s = stored.stored_at_s
        self.attempt = attempt
        self.place = place_of(stored)
        self.id = stored.headers.get("Nats-Msg-Id", self.place)
        self._consumer = consumer
        self._stored = stored

    async def ack(self) -> None:
        self._consumer.ended(self.place)

    async def term(self, reason: str) -> None:  # noqa: ARG002 - the dead letter says it
        self._consumer.ended(self.place)

    async def retry(self, after_s: float) -> None:
        self._consumer.deliver_again(self._stored, after_s)

    async def keep_alive(self) -> None:
        self._consumer.deliver_again(self._stored, self._consumer.ack_wait_s)

    def handed_out(self) -> MemoryDelivery:
        """The ack wait begins now."""
        self._consumer.deliver_again(self._stored, self._consumer.ack_wait_s)
        return self


class Consumer:
    """What a stage has still to do, over all its streams, in the order in which it came."""

    def __init__(self, stage: Stage, domain: str, ack_wait_s: float) -> None:
        self.sources = tuple(source for kind in stage.accepts for source in subjects.sources_of(kind, domain))
        self.ack_wait_s = ack_wait_s
        self.queue: asyncio.Queue[MemoryDelivery] = asyncio.Queue()
        self.current: dict[str, int] = {}
        """Place of every message that has no end yet → the attempt that is under way."""
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.idle = asyncio.Event()
        self.idle.set()

    def wants(self, stored: Stored) -> bool:
        return any(s.stream == stored.stream and matches(s.filter, stored.subject) for s in self.sources)

    def deliver(self, stored: Stored, attempt: int) -> None:
        delivery = MemoryDelivery(self, stored, attempt)
        self.current[delivery.place] = attempt
        self.idle.clear()
        self.queue.put_nowait(delivery)

    def deliver_again(self, stored: Stored, after_s: float) -> None:
        """Unless it came to its end; a verdict on an earlier attempt counts too, as on the server."""
        place = place_of(stored)
        if place not in self.current:
            return
        self._stop_waiting(place)
        if after_s > 0:
            loop = asyncio.get_running_loop()
            self._timers[place] = loop.call_later(after_s, self.deliver_again, stored, 0.0)
        else:
            self.deliver(stored, self.current[place] + 1)

    def ended(self, place: str) -> None:
        self._stop_waiting(place)
        self.current.pop(place, None)
        if not self.current:
            self.idle.set()

    def _stop_waiting(self, place: str) -> None:
        if timer := self._timers.pop(place, None):
            timer.cancel()


class MemoryInbox:
    """A stage's deliveries; nothing is taken in advance."""

    def __init__(self, consumer: Consumer) -> None:
        self._queue = consumer.queue

    async def next(self, wait_s: float = 0.2) -> MemoryDelivery | None:
        """The next delivery, or None."""
        if self._queue.empty():
            try:
                async with asyncio.timeout(wait_s):
                    return (await self._queue.get()).handed_out()
            except TimeoutError:
                return None
        return self._queue.get_nowait().handed_out()


@dataclass
class Hearer:
    """A listener, and what it has still to hear."""

    hear: Callable[[str, bytes], Awaitable[None]]
    unheard: deque[tuple[str, bytes]] = field(default_factory=deque)
    hearing: asyncio.Task[None] | None = None

    def tell(self, subject: str, data: bytes) -> None:
        self.unheard.append((subject, data))
        if self.hearing is None:
            self.hearing = asyncio.create_task(self._hear_all())

    async def _hear_all(self) -> None:
        while self.unheard:
            try:
                await self.hear(*self.unheard.popleft())
            except Exception as error:  # noqa: BLE001 - as JetStream's twin: reported, and the next one is heard
                report(error, "a message was not heard")
        self.hearing = None


class MemoryHouse:
    """A house without a server. Messages are really encoded; ids, subjects held for ever, retries, ack waits and dead
    letters follow the same rules.

    `stages` declares consumers in advance, so that messages wait for stages that nobody serves yet; the others are
    declared when they are first subscribed to and see everything stored before.
    """

    def __init__(self, domain: str, stages: Iterable[Stage] = (), *, ack_wait_s: float = ACK_WAIT_S) -> None:
        self.domain = domain
        self._ack_wait_s = ack_wait_s
        self._streams: dict[str, list[Stored]] = {}
        self._ids: set[tuple[str, str]] = set()
        self._consumers: dict[str, Consumer] = {}
        self._responders: list[tuple[str, Callable[[bytes], Awaitable[bytes]]]] = []
        self._hearers: list[tuple[str, Hearer]] = []
        for stage in stages:
            self._consumer(stage)

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`; never raises `TimeoutError`."""
        subject = subjects.subject_of(message, self.domain)
        return self._store(subject, encode(message), {"Nats-Msg-Id": id, **headers})

    async def bury(self, delivery: Delivery, stage: str, error: BaseException) -> None:
        """See `Broker`."""
        headers = obituary.headers_of(delivery, stage, self.domain, error)
        self._store(subjects.dead_letter(stage, subjects.rid_of(delivery.subject)), delivery.data, headers)
        await delivery.term(headers["Dead-Reason"])

    def subscribe(self, stage: Stage) -> AbstractAsyncContextManager[MemoryInbox]:
        """See `Broker`; never raises `TopologyMissing`."""
        return self._subscribed(stage)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `Wire`."""
        hearers = self._tell(subject, data)
        answers = [answer for pattern, answer in self._responders if matches(pattern, subject)]
        if not answers and not hearers:
            raise Unreachable(f"nobody answers on {subject}")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(answers, data)
        except TimeoutError as error:
            raise Unreachable(f"no answer on {subject} within {timeout_s:g} s") from error

    async def respond(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """See `Wire`; of several peers the first answers."""
        self._responders.append((subject, answer))

    async def listen(self, subject: str, hear: Callable[[str, bytes], Awaitable[None]]) -> None:
        """See `Wire`."""
        self._hearers.append((subject, Hearer(hear)))

    async def last(self, stream: str, subject: str) -> bytes | None:
        """See `Wire`."""
        newest = next((kept for kept in reversed(self.stored(stream)) if kept.subject == subject), None)
        return None if newest is None else newest.data

    async def pending(self, stage: Stage) -> int:
        """See `Wire`."""
        return len(self._consumer(stage).current)

    def stored(self, stream: str) -> tuple[Stored, ...]:
        """Everything that was ever stored in the stream, oldest first."""
        return tuple(self._streams.get(stream, ()))

    async def settled(self) -> None:
        """Return when every message came to its end at every consumer that was declared."""
        while busy := [consumer for consumer in self._consumers.values() if consumer.current]:
            for consumer in busy:
                await consumer.idle.wait()

    def _consumer(self, stage: Stage) -> Consumer:
        if stage.name not in self._consumers:
            consumer = self._consumers[stage.name] = Consumer(stage, self.domain, self._ack_wait_s)
            for kept in sorted((kept for held in self._streams.values() for kept in held), key=_age):
                if consumer.wants(kept):
                    consumer.deliver(kept, 1)
        return self._consumers[stage.name]

    @contextlib.asynccontextmanager
    async def _subscribed(self, stage: Stage) -> AsyncIterator[MemoryInbox]:
        yield MemoryInbox(self._consumer(stage))

    def _store(self, subject: str, data: bytes, headers: Mapping[str, str]) -> bool:
        stream = subjects.stream_of(subject)
        kept = self._streams.setdefault(stream, [])
        is_taken = subjects.is_answered_once(subject) and any(other.subject == subject for other in kept)
        if is_taken or (stream, headers["Nats-Msg-Id"]) in self._ids:
            return False
        self._ids.add((stream, headers["Nats-Msg-Id"]))
        stored = Stored(stream, len(kept) + 1, subject, data, headers, time.time())
        kept.append(stored)
        for consumer in self._consumers.values():
            if consumer.wants(stored):
                consumer.deliver(stored, 1)
        if stream in LIVE:
            self._tell(f"live.{subject}", data)
        return True

    def _tell(self, subject: str, data: bytes) -> int:
        heard = [hearer for pattern, hearer in self._hearers if matches(pattern, subject)]
        for hearer in heard:
            hearer.tell(subject, data)
        return len(heard)

    async def _answer(self, answers: list[Callable[[bytes], Awaitable[bytes]]], data: bytes) -> bytes:
        """Raises nothing: who fails to answer is reported, and the asker waits in vain."""
        if answers:
            try:
                return await answers[0](data)
            except Exception as error:  # noqa: BLE001 - the error of another party, over there
                report(error, "a request was not answered")
        no_answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        return await no_answer


def _age(stored: Stored) -> float:
    return stored.stored_at_s


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS subject pattern covers the subject: `*` is one token, a last `>` is one or more."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))
