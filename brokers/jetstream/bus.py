"""JetStream: the house of one domain on a NATS server, its durable plane and its core plane."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager

from nats.aio.msg import Msg

from tidegate.brokers import obituary
from tidegate.brokers.base import Delivery, Overtaken, TopologyMissing, Unreachable, report
from tidegate.brokers.jetstream import history
from tidegate.brokers.jetstream.connection import NO_RESPONDERS, Interest, Link
from tidegate.brokers.jetstream.consumer import JetStreamInbox, consumer_info
from tidegate.brokers.jetstream.publisher import WRONG_LAST_SEQUENCE, NotStored, Publisher, Unserved
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.streams import tokens_stream
from tidegate.schemas import Message, encode, subjects

QUEUE = "tidegate"
PENDING_FRESH_S = 0.25
DIRECT_GET_TIMEOUT_S = 2.0
APPEND_WITHIN_S = 5.0
IN_USE = 10058  # such a stream exists with another configuration (nats-server, JSStreamNameExistErr): an operator's


class JetStreamHouse:
    """Both planes of one domain, over one connection that mends itself.

    `link` and `publisher` are for those who look after the streams themselves.
    """

    def __init__(self, domain: str, link: Link, publisher: Publisher) -> None:
        self.domain = domain
        self.link = link
        self.publisher = publisher
        self._interests: list[Interest] = []
        self._answering: set[asyncio.Task[None]] = set()
        self._pending: dict[str, tuple[float, int]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, nats: NatsSettings, domain: str, *, inbox_prefix: str = "") -> AsyncIterator[JetStreamHouse]:
        """Connect to the domain's server. Raises `Unreachable` when it is not there within ten seconds."""
        async with (
            Link.open(nats, inbox_prefix or subjects.inbox_of(domain)) as link,
            Publisher.open(link) as publisher,
        ):
            house = cls(domain, link, publisher)
            try:
                yield house
            finally:
                await house._close()

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`. Raises `NotStored` when the stream refuses it, `TimeoutError` after 30 seconds."""
        subject = subjects.subject_of(message, self.domain)
        outgoing = {"Nats-Msg-Id": id, **headers}
        if not subjects.is_answered_once(subject):
            return await self.publisher.publish(subject, encode(message), outgoing)
        outgoing["Nats-Expected-Last-Subject-Sequence"] = "0"
        try:
            return await self.publisher.publish(subject, encode(message), outgoing)
        except NotStored as error:
            if error.err_code == WRONG_LAST_SEQUENCE:  # answered already: by whom does not matter
                return False
            raise

    async def append(self, message: Message, *, after: int) -> int:
        """See `Broker`. Brings TOKENS back where a restarted server has lost it. Raises `NotStored`, `Unreachable` too,
        and `TimeoutError` after five seconds.
        """
        subject, sending = subjects.subject_of(message, self.domain), uuid.uuid4().hex
        try:
            return await self._append(subject, encode(message), sending, after)
        except NotStored as error:
            if error.err_code != WRONG_LAST_SEQUENCE:
                raise
        # The server looks at the sequence first and for duplicates then: what overtook us may be our own first sending.
        for stored in await history.messages(self.link.client, subjects.stream_of(subject), subject, after):
            if stored.headers.get("Nats-Msg-Id") == sending:
                return stored.sequence
        raise Overtaken(f"{subject} does not end at {after}")

    async def bury(self, delivery: Delivery, stage: str, error: BaseException) -> None:
        """See `Broker`. Raises `NotStored` or `TimeoutError`; the delivery is then not ended."""
        headers = obituary.headers_of(delivery, stage, self.domain, error)
        subject = subjects.dead_letter(stage, subjects.rid_of(delivery.subject))
        await self.publisher.publish(subject, delivery.data, headers)
        await delivery.term(headers["Dead-Reason"])

    def subscribe(self, stage: Stage) -> AbstractAsyncContextManager[JetStreamInbox]:
        """See `Broker`."""
        return JetStreamInbox.open(self.link, stage.name, self._streams_of(stage), stage.concurrency)

    async def request(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """See `Wire`."""
        reply = await self.link.request(subject, data, timeout_s=timeout_s)
        return bytes(reply.data)

    async def respond(self, subject: str, answer: Callable[[bytes], Awaitable[bytes]]) -> None:
        """See `Wire`. An error of `answer` goes to the loop's exception handler, and the asker waits in vain.

        What was published without an address for the answer is taken in all the same.
        """

        async def reply_to(msg: Msg) -> None:
            answered = await answer(msg.data)
            if msg.reply:
                await self.link.send(msg.reply, answered)

        async def hear(msg: Msg) -> None:
            self._answer_beside(reply_to(msg))

        self._interests.append(await self.link.subscribe(subject, hear, QUEUE))

    async def tell(self, subject: str, data: bytes) -> None:
        """See `Wire`."""
        await self.link.send(subject, data)

    async def request_many(self, subject: str, data: bytes, *, idle_s: float) -> AsyncGenerator[bytes, None]:
        """See `Wire`."""
        inbox, answers = self.link.new_inbox(), asyncio.Queue[Msg]()
        interest = await self.link.subscribe(inbox, answers.put)
        try:
            if not (self.link.is_up and await self.link.send(subject, data, inbox)):
                raise Unreachable(f"no connection to the server while asking {subject}")
            while True:
                try:
                    answer = await asyncio.wait_for(answers.get(), idle_s)
                except TimeoutError as error:
                    raise Unreachable(f"no answer on {subject} within {idle_s:g} s") from error
                if answer.headers and answer.headers.get("Status") == NO_RESPONDERS:
                    raise Unreachable(f"nobody answers on {subject}")
                yield bytes(answer.data)
        finally:
            await self.link.unsubscribe(interest)

    async def respond_many(self, subject: str, answers: Callable[[bytes], AsyncIterator[bytes]]) -> None:
        """See `Wire`. An error of `answers` goes to the loop's exception handler, and the asker waits in vain."""

        async def reply_to(msg: Msg) -> None:
            async for answer in answers(msg.data):
                await self.link.send(msg.reply, answer)

        async def hear(msg: Msg) -> None:
            if msg.reply:
                self._answer_beside(reply_to(msg))

        self._interests.append(await self.link.subscribe(subject, hear, QUEUE))

    async def listen(self, subject: str, hear: Callable[[str, bytes], Awaitable[None]]) -> None:
        """See `Wire`. An error of `hear` goes to the loop's exception handler; the next message is heard."""

        async def pass_on(msg: Msg) -> None:
            await hear(msg.subject, msg.data)

        self._interests.append(await self.link.subscribe(subject, pass_on))

    async def last(self, stream: str, subject: str) -> bytes | None:
        """See `Wire`. Raises `Unreachable`, also where the stream does not allow direct gets."""
        reply = await self.link.request(f"$JS.API.DIRECT.GET.{stream}.{subject}", timeout_s=DIRECT_GET_TIMEOUT_S)
        is_missing = reply.headers is not None and reply.headers.get("Status") == "404"
        return None if is_missing else bytes(reply.data)

    async def read(self, stream: str, subject: str, after: int = 0) -> list[tuple[int, bytes]]:
        """See `Wire`. TOKENS is lost with its server, and empty until the next line brings it back."""
        if not self.link.is_up:
            raise Unreachable(f"no connection to the server while reading {stream}")
        try:
            found = await history.messages(self.link.client, stream, subject, after)
        except TopologyMissing:
            if stream != subjects.TOKENS:
                raise
            return []
        return [(stored.sequence, stored.data) for stored in found]

    async def pending(self, stage: Stage) -> int:
        """See `Wire`; at most a quarter of a second old. Raises `TopologyMissing`, `Unreachable`."""
        asked_at_s, count = self._pending.get(stage.name, (0.0, 0))
        if time.monotonic() - asked_at_s > PENDING_FRESH_S:
            infos = [await consumer_info(self.link, stream, stage.name) for stream in self._streams_of(stage)]
            count = sum(info.num_pending + info.num_ack_pending for info in infos)
            self._pending[stage.name] = (time.monotonic(), count)
        return count

    def _streams_of(self, stage: Stage) -> tuple[str, ...]:
        sources = (source for kind in stage.accepts for source in subjects.sources_of(kind, self.domain))
        return tuple(dict.fromkeys(source.stream for source in sources))

    async def _append(self, subject: str, data: bytes, sending: str, after: int) -> int:
        headers = {"Nats-Msg-Id": sending, "Nats-Expected-Last-Subject-Sequence": str(after)}
        try:
            return await self.publisher.append(subject, data, headers, APPEND_WITHIN_S)
        except Unserved:
            if subjects.stream_of(subject) != subjects.TOKENS:
                raise
            await self._bring_back_tokens()
            return await self.publisher.append(subject, data, headers, APPEND_WITHIN_S)

    async def _bring_back_tokens(self) -> None:
        declared = json.dumps(tokens_stream()).encode()
        reply = await self.link.request(f"$JS.API.STREAM.CREATE.{subjects.TOKENS}", declared)
        fault = json.loads(reply.data).get("error")
        if fault and fault.get("err_code") != IN_USE:
            raise NotStored(subjects.TOKENS, fault.get("description", ""), fault.get("err_code", 0))

    def _answer_beside(self, answering: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(answering)
        self._answering.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._answering.discard(task)
        if not task.cancelled() and (error := task.exception()):
            report(error, "a request was not answered")

    async def _close(self) -> None:
        for interest in self._interests:
            await self.link.unsubscribe(interest)
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)
