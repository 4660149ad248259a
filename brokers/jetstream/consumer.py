"""The inbox: a stage's deliveries, requested in advance and handed out one by one.

Next: ../worker.py, which takes from the inbox."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import msgspec
from nats.aio.msg import Msg

from tidegate.brokers.base import Delivery, SettleOnArrival, TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream.connection import NO_RESPONDERS, Link
from tidegate.brokers.jetstream.publisher import JetStreamFault

EXPIRES_S = 30
HEARTBEAT_S = 1.0
SILENCE_S = 3 * HEARTBEAT_S
UNSERVED_WAIT_S = 0.1
MIN_BATCH, MAX_BATCH = 8, 256
NANOSECONDS = 1_000_000_000
NO_STREAM, NO_CONSUMER = 10059, 10014  # nats-server, JSStreamNotFoundErr and JSConsumerNotFoundErr
V1_TOKENS = 9


class ConsumerPosition(msgspec.Struct, frozen=True):
    """How far a consumer is in its stream."""

    stream_seq: int = 0


class ConsumerInfo(msgspec.Struct, frozen=True):
    """The state of a consumer, as the server reports it."""

    num_pending: int = 0
    num_ack_pending: int = 0
    ack_floor: ConsumerPosition = ConsumerPosition()
    """Everything up to there is acknowledged."""
    error: JetStreamFault | None = None


_read_info = msgspec.json.Decoder(ConsumerInfo).decode


async def consumer_info(link: Link, stream: str, durable: str) -> ConsumerInfo:
    """The state of a declared consumer. Raises `TopologyMissingError` where there is none, `UnreachableError`."""
    info = _read_info((await link.request(f"$JS.API.CONSUMER.INFO.{stream}.{durable}")).data)
    if info.error is None:
        return info
    if info.error.err_code in (NO_STREAM, NO_CONSUMER):
        what = f"stream {stream}" if info.error.err_code == NO_STREAM else f"consumer {durable} on stream {stream}"
        raise TopologyMissingError(f"{what} was never declared")
    raise UnreachableError(f"{stream}/{durable}: {info.error.description}")


class JetStreamDelivery:
    """A message of a stream, held by this worker.

    Its acknowledgements are sent and not confirmed: JetStream does not make them durable, so a lost one means a
    redelivery, which every stage tolerates, and a confirmation would cost a round trip for nothing.
    """

    __slots__ = ("_link", "_reply", "attempt", "data", "headers", "id", "position", "stored_at_s", "subject")

    def __init__(self, link: Link, msg: Msg) -> None:
        tokens = msg.reply.split(".")
        at = 2 if len(tokens) == V1_TOKENS else 4  # later servers put domain and account before the stream
        stream, _, attempt, sequence, _, stored_at_ns = tokens[at : at + 6]
        self._link = link
        self._reply = msg.reply
        self.subject = msg.subject
        self.data = msg.data
        self.headers: Mapping[str, str] = msg.headers or {}
        self.attempt = int(attempt)
        self.stored_at_s = int(stored_at_ns) / NANOSECONDS
        self.position = f"{stream}:{sequence}"
        self.id = self.headers.get("Nats-Msg-Id", self.position)

    async def stored(self) -> str:
        return self.position

    async def ack(self) -> None:
        self._link.send_soon(self._reply, b"+ACK")

    async def retry(self, after_s: float) -> None:
        delay = b' {"delay":%d}' % (after_s * NANOSECONDS) if after_s > 0 else b""
        await self._link.send(self._reply, b"-NAK" + delay)

    async def keep_alive(self) -> None:
        await self._link.send(self._reply, b"+WPI")

    async def term(self, reason: str) -> None:
        await self._link.send(self._reply, b"+TERM " + reason.encode())


class StandingPull:
    """One consumer's deliveries: a pull request that is topped up before it is used up, so that none waits for one.

    Requests die with the connection, or with the server, silently; missing heartbeats and the link reveal it.
    """

    def __init__(self, link: Link, stream: str, durable: str, batch: int, on_ready: Callable[[], None]) -> None:
        self.settle: SettleOnArrival = lambda _: None
        self.ready: deque[JetStreamDelivery] = deque()
        self.missing: TopologyMissingError | None = None
        self._link = link
        self._stream, self._durable = stream, durable
        self._batch = batch
        self._on_ready = on_ready
        self._inbox = link.new_inbox()
        self._generation = 0
        self._outstanding = 0
        self._received_at_s = 0.0
        self._is_leaving = False

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[StandingPull]:
        """Pull until left; then hand back what came and was not taken. Raises `TopologyMissingError`."""
        await consumer_info(self._link, self._stream, self._durable)
        interest = await self._link.subscribe(f"{self._inbox}.*", self._receive)
        self._link.on_reconnect.append(self._restart)
        await self._restart()
        watchdog = asyncio.create_task(self._watch())
        try:
            yield self
        finally:
            watchdog.cancel()
            self._link.on_reconnect.remove(self._restart)
            self._is_leaving = True
            # First no more interest: as long as the server knows of the pull, it gives it what is handed back.
            await self._link.unsubscribe(interest)
            while self.ready:
                await self.ready.popleft().retry(0.0)

    async def top_up(self, taking: int = 0) -> None:
        """Ask for more when half of the batch is used up; `taking` deliveries are about to leave."""
        held = self._outstanding + len(self.ready) - taking
        if held * 2 > self._batch or self._is_leaving:
            return
        wanted = self._batch - held
        request = {
            "batch": wanted,
            "expires": EXPIRES_S * NANOSECONDS,
            "idle_heartbeat": int(HEARTBEAT_S * NANOSECONDS),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._durable}"
        if await self._link.send(subject, json.dumps(request).encode(), f"{self._inbox}.{self._generation}"):
            self._outstanding += wanted

    async def _restart(self) -> None:
        """Forget what was asked for and ask anew."""
        self._generation += 1
        self._outstanding = 0
        self._received_at_s = time.monotonic()
        await self.top_up()

    async def _receive(self, msg: Msg) -> None:
        self._received_at_s = time.monotonic()
        if not msg.reply.startswith("$JS.ACK."):
            await self._receive_status(msg)
            return
        self._outstanding = max(0, self._outstanding - 1)
        delivery = JetStreamDelivery(self._link, msg)
        settling = self.settle(delivery)
        if settling is not None:
            await settling
            await self.top_up()
            return
        self.ready.append(delivery)
        self._on_ready()

    async def _receive_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status = headers.get("Status", "")
        # A delivery keeps its own subject; only a status comes under the inbox and tells which request it ends.
        if status == "100" or msg.subject != f"{self._inbox}.{self._generation}":
            return
        self._outstanding = max(0, self._outstanding - int(headers.get("Nats-Pending-Messages", self._batch)))
        if status == NO_RESPONDERS or status == "409":
            await asyncio.sleep(UNSERVED_WAIT_S)  # the server shuts down, or reads its streams: do not hammer it
            await self._check_consumer()
        await self.top_up()

    async def _check_consumer(self) -> None:
        try:
            await consumer_info(self._link, self._stream, self._durable)
        except TopologyMissingError as error:
            self.missing = error
            self._on_ready()
        except UnreachableError:
            return  # the link, or the next request's status, brings us here again

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            for delivery in tuple(self.ready):
                await delivery.keep_alive()
            if not self._link.is_up:
                continue
            if self._outstanding and time.monotonic() - self._received_at_s > SILENCE_S:
                await self._check_consumer()
                await self._restart()
            else:
                await self.top_up()


class JetStreamInbox:
    """The deliveries of a stage from all its streams, one from each in turn, and what is put beside them."""

    def __init__(self) -> None:
        self._pulls: deque[StandingPull] = deque()
        self._put: deque[Delivery] = deque()
        self._is_puts_turn = True
        self._waiter: asyncio.Future[None] | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, link: Link, durable: str, streams: Sequence[str], concurrency: int
    ) -> AsyncIterator[JetStreamInbox]:
        """Bind to the stage's consumers. Raises `TopologyMissingError`."""
        inbox = cls()
        batch = min(MAX_BATCH, max(MIN_BATCH, concurrency))
        async with contextlib.AsyncExitStack() as stack:
            for stream in streams:
                pull = StandingPull(link, stream, durable, batch, inbox._wake)
                inbox._pulls.append(await stack.enter_async_context(pull.open()))
            stack.push_async_callback(inbox._hand_back)
            yield inbox

    def put(self, delivery: Delivery) -> None:
        """See `Inbox`."""
        self._put.append(delivery)
        self._wake()

    def on_arrival(self, settle: SettleOnArrival) -> None:
        """See `ArrivalInbox`."""
        for pull in self._pulls:
            pull.settle = settle

    async def next(self, wait_s: float = 0.2) -> Delivery | None:
        """The next delivery, or None. Raises `TopologyMissingError` when a consumer was deleted."""
        has_ready = any(pull.ready or pull.missing for pull in self._pulls)
        if not has_ready and not self._put:
            await self._wait(wait_s)
        if self._put and (self._is_puts_turn or not has_ready):
            self._is_puts_turn = False
            return self._put.popleft()
        self._is_puts_turn = True
        for _ in range(len(self._pulls)):
            pull = self._pulls[0]
            self._pulls.rotate(-1)
            if pull.missing:
                raise pull.missing
            if pull.ready:
                await pull.top_up(taking=1)  # before taking: who is cancelled here has taken nothing
                return pull.ready.popleft()
        return None

    async def _hand_back(self) -> None:
        while self._put:
            await self._put.popleft().retry(0.0)

    async def _wait(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(wait_s, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
