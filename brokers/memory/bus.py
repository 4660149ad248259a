"""The in-memory message bus: the same bytes, the same acknowledgements, nothing outside this process.

Next: consumer.py; ../jetstream/bus.py keeps the same promises on a server."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import time
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from operator import attrgetter

from tidegate.brokers.base import (
    Acknowledged,
    Delivery,
    SequenceConflictError,
    StoredMessage,
    StoreOutcome,
    UnreachableError,
    report,
)
from tidegate.brokers.dead_letters import dead_letter_headers, dead_letter_subject, is_kept
from tidegate.brokers.memory.consumer import Consumer, MemoryInbox, matches
from tidegate.brokers.service import MicroService, RunningService, ServiceEndpoint
from tidegate.brokers.stage import ACK_WAIT_S, Stage
from tidegate.schemas import Message, encode, subjects

LIVE = (subjects.ANSWERS, subjects.DEAD, subjects.TOKENS)
Responder = Callable[[str, bytes], Awaitable[bytes]]


@dataclass
class Listener:
    """A subscription, and the messages that it has still to handle."""

    handle: Callable[[str, bytes], Awaitable[None]]
    queued: deque[tuple[str, bytes]] = field(default_factory=deque)
    handling: asyncio.Task[None] | None = None

    def put(self, subject: str, data: bytes) -> None:
        self.queued.append((subject, data))
        if self.handling is None:
            self.handling = asyncio.create_task(self._handle_all())

    async def _handle_all(self) -> None:
        while self.queued:
            try:
                await self.handle(*self.queued.popleft())
            except Exception as error:  # noqa: BLE001 - as on NATS: reported, and the next one is handled
                report(error, "a message was not handled")
        self.handling = None


class MemoryBus:
    """A bus without a server. Messages are really encoded; ids, subjects held for ever, retries, ack waits and dead
    letters follow the same rules.

    `stages` declares consumers in advance, so that messages wait for stages that nobody serves yet; the others are
    declared when they are first subscribed to and see everything stored before.
    """

    def __init__(self, domain: str, stages: Iterable[Stage] = (), *, ack_wait_s: float = ACK_WAIT_S) -> None:
        self.domain = domain
        self._ack_wait_s = ack_wait_s
        self._streams: dict[str, list[StoredMessage]] = {}
        self._ids: set[tuple[str, str]] = set()
        self._sequences: Counter[str] = Counter()
        self._consumers: dict[str, Consumer] = {}
        self._responders: list[tuple[str, Responder]] = []
        self._listeners: list[tuple[str, Listener]] = []
        for stage in stages:
            self._consumer(stage)

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`; never raises `TimeoutError`."""
        return (await self.store(message, id=id, headers=headers)).is_new

    async def store(self, message: Message, *, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        """See `Broker`; never raises `TimeoutError`."""
        subject = subjects.subject_of(message, self.domain)
        is_new = self._store(subject, encode(message), {"Nats-Msg-Id": id, **headers})
        return StoreOutcome(is_new, self._streams[subjects.stream_of(subject)][-1].position if is_new else "")

    def id_of(self, name: str) -> str:
        """See `Broker`; here an id is its name."""
        return name

    async def publish_again(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`; here an id is its name."""
        return await self.publish(message, id=id, headers=headers)

    async def append(self, message: Message, *, after: int) -> int:
        """See `Broker`; never raises `TimeoutError`."""
        subject = subjects.subject_of(message, self.domain)
        stream = subjects.stream_of(subject)
        last = max((kept.sequence for kept in self.stored(stream) if kept.subject == subject), default=0)
        if last != after:
            raise SequenceConflictError(f"{subject} does not end at {after}")
        self._store(subject, encode(message), {"Nats-Msg-Id": uuid.uuid4().hex})
        return self._streams[stream][-1].sequence

    async def dead_letter(self, delivery: Delivery, stage: str, error: BaseException) -> None:
        """See `Broker`."""
        headers = dead_letter_headers(delivery, stage, self.domain, error)
        data = delivery.data if is_kept(error) else b""
        self._store(dead_letter_subject(delivery, stage, error), data, headers)
        if not is_kept(error):
            stream = subjects.stream_of(delivery.subject)
            self._streams[stream] = [kept for kept in self.stored(stream) if kept.position != delivery.position]
        await delivery.term(headers["Dead-Reason"])

    @contextlib.asynccontextmanager
    async def subscribe(self, stage: Stage) -> AsyncIterator[MemoryInbox]:
        """See `Broker`; never raises `TopologyMissingError`."""
        inbox = MemoryInbox(self._consumer(stage))
        try:
            yield inbox
        finally:
            await inbox.hand_back()

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `CoreClient`."""
        listening = self._send_core(subject, data)
        answers = [answer for pattern, answer in self._responders if matches(pattern, subject)]
        if not answers and not listening:
            raise UnreachableError(f"nobody answers on {subject}")
        try:
            async with asyncio.timeout(timeout_s):
                return await self._answer(answers, subject, data)
        except TimeoutError as error:
            raise UnreachableError(f"no answer on {subject} within {timeout_s:g} s") from error

    async def respond(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """See `CoreClient`; of several peers the first answers."""
        self._responders.append((subject, lambda _, data: answer(data)))

    async def respond_by_subject(self, subject: str, answer: Responder) -> None:
        """See `CoreClient`; of several peers the first answers."""
        self._responders.append((subject, answer))

    async def listen(self, subject: str, handle: Callable[[str, bytes], Awaitable[None]]) -> None:
        """See `CoreClient`."""
        self._listeners.append((subject, Listener(handle)))

    async def publish_core(self, subject: str, data: bytes) -> None:
        """See `CoreClient`."""
        self._send_core(subject, data)

    async def serve(self, service: MicroService) -> None:
        """See `CoreClient`; of several peers the first answers."""
        running = RunningService(service, "memory")
        for endpoint in service.endpoints:
            self._responders.append((endpoint.subject, functools.partial(_first_reply, running, endpoint)))
        for subject, describe in running.control_subjects():
            self._responders.append((subject, functools.partial(_describe, describe)))

    async def last(self, stream: str, subject: str) -> bytes | None:
        """See `CoreClient`."""
        newest = next((kept for kept in reversed(self.stored(stream)) if kept.subject == subject), None)
        return None if newest is None else newest.data

    async def read(self, stream: str, subject: str, after: int = 0) -> list[tuple[int, bytes]]:
        """See `CoreClient`; never raises `TopologyMissingError`."""
        found = (kept for kept in self.stored(stream) if kept.subject == subject and kept.sequence > after)
        return [(kept.sequence, kept.data) for kept in found]

    async def pending(self, stage: Stage) -> int:
        """See `CoreClient`."""
        return len(self._consumer(stage).current)

    async def acknowledged(self, source: subjects.Source, consumer: str, after: int | None, most: int) -> Acknowledged:  # noqa: ARG002
        """See `CoreClient`: nothing here goes over a leaf."""
        return Acknowledged((), after or 0, after or 0)

    def stored(self, stream: str) -> tuple[StoredMessage, ...]:
        """Everything that was ever stored in the stream, oldest first."""
        return tuple(self._streams.get(stream, ()))

    def _consumer(self, stage: Stage) -> Consumer:
        if stage.name not in self._consumers:
            consumer = self._consumers[stage.name] = Consumer(stage, self.domain, self._ack_wait_s)
            for kept in sorted(itertools.chain(*self._streams.values()), key=attrgetter("stored_at_s")):
                if consumer.wants(kept):
                    consumer.deliver(kept, 1)
        return self._consumers[stage.name]

    def _store(self, subject: str, data: bytes, headers: Mapping[str, str]) -> bool:
        stream = subjects.stream_of(subject)
        kept = self._streams.setdefault(stream, [])
        is_taken = subjects.is_answered_once(subject) and any(other.subject == subject for other in kept)
        if is_taken or (stream, headers["Nats-Msg-Id"]) in self._ids:
            return False
        self._ids.add((stream, headers["Nats-Msg-Id"]))
        self._sequences[stream] += 1
        stored = StoredMessage(stream, self._sequences[stream], time.time(), subject, headers, data)
        kept.append(stored)
        for consumer in self._consumers.values():
            if consumer.wants(stored):
                consumer.deliver(stored, 1)
        if stream in LIVE:
            self._send_core(f"live.{subject}", data)
        return True

    def _send_core(self, subject: str, data: bytes) -> int:
        found = [listener for pattern, listener in self._listeners if matches(pattern, subject)]
        for listener in found:
            listener.put(subject, data)
        return len(found)

    async def _answer(self, answers: list[Responder], subject: str, data: bytes) -> bytes:
        """Raises nothing: an error in a responder is reported, and the requester waits until its timeout."""
        if answers:
            try:
                return await answers[0](subject, data)
            except Exception as error:  # noqa: BLE001 - the error of another party, over there
                report(error, "a request was not answered")
        no_answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        return await no_answer


async def _first_reply(running: RunningService, endpoint: ServiceEndpoint, subject: str, data: bytes) -> bytes:
    async with aclosing(running.answer(endpoint, subject, data)) as replies:
        return (await anext(replies)).data


async def _describe(describe: Callable[[], bytes], _: str, __: bytes) -> bytes:
    return describe()
