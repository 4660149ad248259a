"""The message bus of one domain on a NATS server: JetStream for what is stored, core NATS for the rest.

Next: connection.py, publisher.py and consumer.py, of which it is made."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager

from nats.aio.msg import Msg

from tidegate.brokers.base import (
    Acknowledged,
    Delivery,
    SequenceConflictError,
    StoreOutcome,
    TopologyMissingError,
    UnreachableError,
    report,
)
from tidegate.brokers.dead_letters import dead_letter_headers, dead_letter_subject, is_kept
from tidegate.brokers.jetstream import history
from tidegate.brokers.jetstream.acknowledged import read_acknowledged
from tidegate.brokers.jetstream.connection import DurableSubscription, Link, MessageHandler
from tidegate.brokers.jetstream.consumer import JetStreamInbox, consumer_info
from tidegate.brokers.jetstream.erasing import erase
from tidegate.brokers.jetstream.publisher import WRONG_LAST_SEQUENCE, NoStreamError, NotStoredError, Publisher
from tidegate.brokers.message_ids import NAMES, MessageIds
from tidegate.brokers.service import MicroService, RunningService, ServiceEndpoint
from tidegate.brokers.settings import NatsSettings, RetentionSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.streams import DEFAULT, stream_in_memory
from tidegate.schemas import Message, RejectError, encode, subjects

QUEUE = "tidegate"
PENDING_FRESH_S = 0.25
DIRECT_GET_TIMEOUT_S = 2.0
APPEND_WITHIN_S = 5.0
IN_MEMORY = (subjects.TOKENS, subjects.CLAIMS)
IN_USE = 10058  # such a stream exists with another configuration (nats-server, JSStreamNameExistErr): an operator's


class JetStreamBus:
    """JetStream and core NATS of one domain, over one connection that recovers by itself.

    `link`, `publisher` and `ids` are for those who look after the streams themselves.
    """

    def __init__(
        self,
        domain: str,
        link: Link,
        publisher: Publisher,
        ids: MessageIds = NAMES,
        retention: RetentionSettings = DEFAULT,
    ) -> None:
        self.domain = domain
        self.link = link
        self.publisher = publisher
        self.ids = ids
        self.retention = retention
        self._subscriptions: list[DurableSubscription] = []
        self._answering: set[asyncio.Task[None]] = set()
        self._pending: dict[str, tuple[float, int]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, nats: NatsSettings, domain: str, ids: MessageIds = NAMES, retention: RetentionSettings = DEFAULT
    ) -> AsyncIterator[JetStreamBus]:
        """Connect to the domain's server. What stores facts is given the `ids` of the domain; streams that were lost
        are made again with this retention.

        Raises `UnreachableError` when the server is not there within ten seconds.
        """
        async with Link.open(nats, subjects.inbox_of(domain)) as link, Publisher.open(link) as publisher:
            bus = cls(domain, link, publisher, ids, retention)
            try:
                yield bus
            finally:
                await bus._close()

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`. Raises `NotStoredError` when the stream refuses it, `NotAcknowledgedError` after 30 seconds."""
        return (await self.store(message, id=id, headers=headers)).is_new

    async def store(self, message: Message, *, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        """See `Broker`. Raises as `publish` does."""
        return await self._store(message, self.id_of(id), headers)

    def id_of(self, name: str) -> str:
        """See `Broker`."""
        return self.ids.of(name)

    async def publish_again(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`. Raises as `publish` does."""
        return (await self._store(message, id, headers)).is_new

    async def append(self, message: Message, *, after: int) -> int:
        """See `Broker`. Declares a stream in memory anew where a restarted server has lost it.

        Raises `NotStoredError`, `UnreachableError` too, and `NotAcknowledgedError` after five seconds.
        """
        subject, sending = subjects.subject_of(message, self.domain), uuid.uuid4().hex
        try:
            return await self._append(subject, encode(message), sending, after)
        except NotStoredError as error:
            if error.err_code != WRONG_LAST_SEQUENCE:
                raise
        # The server looks at the sequence before it looks for duplicates: the message may be our own first sending.
        for stored in await history.messages(self.link.client, subjects.stream_of(subject), subject, after):
            if stored.headers.get("Nats-Msg-Id") == sending:
                return stored.sequence
        raise SequenceConflictError(f"{subject} does not end at {after}")

    async def dead_letter(self, delivery: Delivery, stage: str, error: BaseException) -> None:
        """See `Broker`. Raises `NotStoredError`, `NotAcknowledgedError`, and what erasing raises; then the delivery is
        not ended."""
        headers = dead_letter_headers(delivery, stage, self.domain, error)
        headers["Nats-Msg-Id"] = self.ids.of(headers["Nats-Msg-Id"])
        subject = dead_letter_subject(delivery, stage, error)
        await self.publisher.publish(subject, delivery.data if is_kept(error) else b"", headers)
        if not is_kept(error):
            await erase(self.link.client, delivery.position)
        await delivery.term(headers["Dead-Reason"])

    def subscribe(self, stage: Stage) -> AbstractAsyncContextManager[JetStreamInbox]:
        """See `Broker`."""
        return JetStreamInbox.open(self.link, stage.name, self._streams_of(stage), stage.concurrency)

    def open_inbox(self, stream: str, durable: str, most: int) -> AbstractAsyncContextManager[JetStreamInbox]:
        """The deliveries of one declared consumer, about `most` at a time in hand. Raises `TopologyMissingError`."""
        return JetStreamInbox.open(self.link, durable, (stream,), most)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `CoreClient`."""
        reply = await self.link.request(subject, data, timeout_s=timeout_s)
        return bytes(reply.data)

    async def respond(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """See `CoreClient`. An error of `answer` goes to the loop's exception handler; the requester gets no reply.

        What was published without a reply subject is handled all the same.
        """

        await self.respond_by_subject(subject, lambda _, data: answer(data))

    async def respond_by_subject(self, subject: str, answer: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        """See `CoreClient`, and `respond`."""

        async def reply_to(msg: Msg) -> None:
            await self._reply(msg, await answer(msg.subject, msg.data))

        await self._answer(subject, reply_to)

    async def publish_core(self, subject: str, data: bytes) -> None:
        """See `CoreClient`."""
        await self.link.send(subject, data)

    async def serve(self, service: MicroService) -> None:
        """See `CoreClient`. An error of an endpoint goes to the loop's exception handler.

        What was published to an endpoint without a reply subject is handled all the same.
        """
        running = RunningService(service, QUEUE)

        async def reply_to(endpoint: ServiceEndpoint, msg: Msg) -> None:
            async with contextlib.aclosing(running.answer(endpoint, msg.subject, msg.data)) as replies:
                async for reply in replies:
                    await self._reply(msg, reply.data, reply.headers)

        async def describe(description: Callable[[], bytes], msg: Msg) -> None:
            await self._reply(msg, description())

        for endpoint in service.endpoints:
            await self._answer(endpoint.subject, functools.partial(reply_to, endpoint))
        for subject, description in running.control_subjects():  # without a queue group: every instance answers
            await self._subscribe(subject, functools.partial(describe, description))

    async def listen(self, subject: str, handle: Callable[[str, bytes], Awaitable[None]]) -> None:
        """See `CoreClient`. An error of `handle` goes to the loop's exception handler; the next message is handled."""

        async def pass_on(msg: Msg) -> None:
            await handle(msg.subject, msg.data)

        await self._subscribe(subject, pass_on)

    async def last(self, stream: str, subject: str) -> bytes | None:
        """See `CoreClient`. Raises `UnreachableError`, also where the stream does not allow direct gets."""
        reply = await self.link.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout_s=DIRECT_GET_TIMEOUT_S)
        is_missing = reply.headers is not None and reply.headers.get("Status") == "404"
        return None if is_missing else bytes(reply.data)

    async def read(self, stream: str, subject: str, after: int = 0) -> list[tuple[int, bytes]]:
        """See `CoreClient`. A stream in memory is lost with its server, and empty until an append declares it anew."""
        if not self.link.is_up:
            raise UnreachableError(f"no connection to the server while reading {stream}")
        try:
            found = await history.messages(self.link.client, stream, subject, after)
        except TopologyMissingError:
            if stream not in IN_MEMORY:
                raise
            return []
        return [(stored.sequence, stored.data) for stored in found]

    async def acknowledged(self, source: subjects.Source, consumer: str, after: int | None, most: int) -> Acknowledged:
        """See `CoreClient`."""
        return await read_acknowledged(self.link, source, consumer, after, most)

    async def pending(self, stage: Stage) -> int:
        """See `CoreClient`; at most a quarter of a second old. Raises `TopologyMissingError`, `UnreachableError`."""
        asked_at_s, count = self._pending.get(stage.name, (0.0, 0))
        if time.monotonic() - asked_at_s > PENDING_FRESH_S:
            infos = [await consumer_info(self.link, stream, stage.name) for stream in self._streams_of(stage)]
            count = sum(info.num_pending + info.num_ack_pending for info in infos)
            self._pending[stage.name] = (time.monotonic(), count)
        return count

    def _streams_of(self, stage: Stage) -> tuple[str, ...]:
        return tuple(dict.fromkeys(source.stream for source in stage.sources(self.domain)))

    async def _store(self, message: Message, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        subject = subjects.subject_of(message, self.domain)
        outgoing = {"Nats-Msg-Id": id, **headers}
        if subjects.is_answered_once(subject):
            outgoing["Nats-Expected-Last-Subject-Sequence"] = "0"
        try:
            return await self.publisher.publish_once(subject, encode(message), outgoing)
        except NotStoredError as error:
            if error.err_code == WRONG_LAST_SEQUENCE:  # answered already: by whom does not matter
                return StoreOutcome(is_new=False)
            raise

    async def _append(self, subject: str, data: bytes, sending: str, after: int) -> int:
        headers = {"Nats-Msg-Id": sending, "Nats-Expected-Last-Subject-Sequence": str(after)}
        try:
            return await self.publisher.append(subject, data, headers, APPEND_WITHIN_S)
        except NoStreamError:
            stream = subjects.stream_of(subject)
            if stream not in IN_MEMORY:
                raise
            await self._redeclare(stream)
            return await self.publisher.append(subject, data, headers, APPEND_WITHIN_S)

    async def _redeclare(self, stream: str) -> None:
        declared = json.dumps(stream_in_memory(stream, self.retention)).encode()
        reply = await self.link.request(f"$JS.API.STREAM.CREATE.{stream}", declared)
        fault = json.loads(reply.data).get("error")
        if fault and fault.get("err_code") != IN_USE:
            raise NotStoredError(stream, fault.get("description", ""), fault.get("err_code", 0))

    async def _subscribe(self, subject: str, handle: MessageHandler, queue: str = "") -> None:
        self._subscriptions.append(await self.link.subscribe(subject, handle, queue))

    async def _answer(self, subject: str, answer: Callable[[Msg], Coroutine[None, None, None]]) -> None:
        """Answer requests beside each other, shared with peers."""

        async def receive(msg: Msg) -> None:
            task = asyncio.create_task(answer(msg))
            self._answering.add(task)
            task.add_done_callback(self._on_answered)

        await self._subscribe(subject, receive, QUEUE)

    async def _reply(self, msg: Msg, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        if not msg.reply:
            return
        if not may_answer_at(msg.subject, msg.reply, self.domain):
            raise RejectError(f"{msg.subject} is not answered at {msg.reply}: another site's, or no inbox")
        await self.link.send(msg.reply, data, headers=headers)

    def _on_answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and (error := task.exception()):
            report(error, "a request was not answered")

    async def _close(self) -> None:
        for subscription in self._subscriptions:
            await self.link.unsubscribe(subscription)
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)


def may_answer_at(subject: str, reply: str, domain: str) -> bool:
    """Whether `domain` sends the answer to a request there: what a site asks the hub is answered to that site alone,
    since no server looks at the reply subject of a request. Pure."""
    if not subjects.is_at_hub(subject):
        return True
    return any(reply.startswith(f"{subjects.inbox_of(each)}.") for each in (domain, subjects.site_of(subject)))
