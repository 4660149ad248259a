"""JetStream: the house of one domain on a NATS server, its durable plane and its core plane."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from nats.aio.msg import Msg

from brokers import obituary
from brokers.base import Delivery, report
from brokers.inbox import JetStreamInbox, consumer_info
from brokers.link import Interest, Link
from brokers.publisher import WRONG_LAST_SEQUENCE, NotStored, Publisher
from brokers.settings import Nats
from brokers.stage import Stage
from schemas import Message, encode, subjects

QUEUE = "tidegate"
PENDING_FRESH_S = 0.25
DIRECT_GET_TIMEOUT_S = 2.0


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
    async def open(cls, nats: Nats, domain: str, *, inbox_prefix: str = "") -> AsyncIterator[JetStreamHouse]:
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
            task = asyncio.create_task(reply_to(msg))
            self._answering.add(task)
            task.add_done_callback(self._answered)

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
