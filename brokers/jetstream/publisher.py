"""The publisher: many messages in flight to their streams at once, each stored once.

Next: bus.py, which publishes by it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from nats.aio.msg import Msg

from tidegate.brokers.base import StoreOutcome, StoreStuckError
from tidegate.brokers.jetstream.connection import NO_RESPONDERS, Link
from tidegate.schemas import TidegateError

WINDOW = 1024
RESEND_S = 2.0
UNSERVED_RESEND_S = 0.25
GIVE_UP_S = 30.0
SWEEP_S = 0.25
NO_ANSWER = "no answer"
NO_ROOM = (10023, 10047, 10077)
"""Errors of nats-server: JSInsufficientResourcesErr, JSStorageResourcesExceededErr, JSStreamStoreFailedF."""
FULL = ("maximum bytes exceeded", "maximum messages exceeded")
"""What JSStreamStoreFailedF says of a stream that has reached a limit: sending again at once would not help."""
WRONG_LAST_SEQUENCE = 10071  # the subject holds a message already (nats-server, JSStreamWrongLastSequenceErrF)
WRONG_LAST_ID = 10070  # another message is the last one of the stream (nats-server, JSStreamWrongLastMsgIDErrF)


class NotStoredError(TidegateError, RuntimeError):
    """The stream refused the message; sending it again would not help."""

    hint = "see the limits of the stream: `tidegate topology plan` shows what differs from what is declared"

    def __init__(self, subject: str, reason: str, err_code: int) -> None:
        super().__init__(f"{subject} was not stored: {reason} (NATS error {err_code})")
        self.err_code = err_code


class NotAcknowledgedError(TidegateError, TimeoutError):
    """The stream did not answer in time: the message may or may not be stored."""

    hint = "publish it again under the same id, which is stored once; see whether the server runs and has room"


class NotStoringError(NotAcknowledgedError, StoreStuckError):
    """The stream is there and stores nothing, and says so or says nothing at all, as after its disk was full."""

    hint = StoreStuckError.hint


class StreamFullError(NotStoringError):
    """The stream has reached its limit and refuses what comes, until something of it goes or the limit is raised."""

    hint = "raise `retention.sizes` of the stream and run `tidegate topology apply`, or archive more of it"


class NoStreamError(NotStoredError):
    """No stream holds the subject now."""

    hint = "run `tidegate topology apply`"

    def __init__(self, subject: str) -> None:
        super().__init__(subject, "no stream holds this subject", 0)


class JetStreamFault(msgspec.Struct, frozen=True):
    """The error of a JetStream answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later: no leader yet, storage full, shutting down."""
        return self.code >= 500


class PubAck(msgspec.Struct, frozen=True):
    """A stream's answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: JetStreamFault | None = None


@dataclass(slots=True, eq=False)
class PendingPublish:
    """A message that waits for its stream's acknowledgement."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    reply: str
    give_up_s: float
    waits_for_stream: bool = True
    """Whether a subject that no stream holds may get one before it gives up."""
    acked: asyncio.Future[PubAck] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    sendings: int = 0
    resend_at_s: float = 0.0
    give_up_at_s: float = 0.0
    last_fault: str = NO_ANSWER
    is_out_of_room: bool = True
    """Whether, as far as is known, a store without room is the cause: nats-server does not answer at all then."""

    @property
    def token(self) -> str:
        """What the answer is known by: the last token of the subject that it comes under."""
        return self.reply.rpartition(".")[2]


class OutgoingMessage(NamedTuple):
    """A message to be stored."""

    subject: str
    data: bytes
    headers: Mapping[str, str]


class Publisher:
    """Pipelined publishing over one inbox.

    nats-py's own futures never fail on a disconnection, and its awaited publish is a round trip each. Here a message is
    sent again under the same `Nats-Msg-Id` after every reconnection and every `RESEND_S`, until the stream answers.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._inbox = link.new_inbox()
        self._numbers = itertools.count()
        self._window = asyncio.Semaphore(WINDOW)
        self._pending: dict[str, PendingPublish] = {}
        self._read = msgspec.json.Decoder(PubAck).decode

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, link: Link) -> AsyncIterator[Publisher]:
        """Publish until left."""
        publisher = cls(link)
        subscription = await link.subscribe(f"{publisher._inbox}.*", publisher._receive)
        link.on_reconnect.append(publisher._resend_all)
        sweeper = asyncio.create_task(publisher._sweep())
        try:
            yield publisher
        finally:
            sweeper.cancel()
            link.on_reconnect.remove(publisher._resend_all)
            await link.unsubscribe(subscription)

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str]) -> bool:
        """Return True when the message is stored, False when its `Nats-Msg-Id` was stored before this call.

        Raises `NotStoredError`; `NotAcknowledgedError` after 30 seconds without an answer.
        """
        return (await self.publish_once(subject, data, headers)).is_new

    async def publish_once(self, subject: str, data: bytes, headers: Mapping[str, str]) -> StoreOutcome:
        """As `publish`, and where the message is stored."""
        pending = PendingPublish(subject, data, headers, self._new_reply(), GIVE_UP_S)
        ack = await self._await_ack(pending)
        is_new = not ack.duplicate or pending.sendings > 1  # the duplicate of a resent message is its own first sending
        return StoreOutcome(is_new, f"{ack.stream}:{ack.seq}" if is_new else "")

    async def store(self, subject: str, data: bytes, headers: Mapping[str, str]) -> int:
        """Return the sequence under which the message is stored, now or under its `Nats-Msg-Id` before.

        Raises as `publish` does.
        """
        pending = PendingPublish(subject, data, headers, self._new_reply(), GIVE_UP_S)
        return (await self._await_ack(pending)).seq

    async def append(self, subject: str, data: bytes, headers: Mapping[str, str], give_up_s: float) -> int:
        """Return the sequence under which the message is stored.

        Raises as `publish` does, after `give_up_s`, and `NoStreamError` at once where that waits for the stream.
        """
        pending = PendingPublish(subject, data, headers, self._new_reply(), give_up_s, waits_for_stream=False)
        return (await self._await_ack(pending)).seq

    async def append_all(self, messages: Sequence[OutgoingMessage], give_up_s: float) -> list[int | TidegateError]:
        """Send messages one behind the other without waiting in between, and return what became of each: the sequence
        under which it is stored, or what `publish` would raise, after `give_up_s` at the latest.

        The order is kept but for reconnections: headers that expect the sequence before keep it whatever happens.
        """
        sent: list[PendingPublish] = []
        try:
            for subject, data, headers in messages:
                pending = PendingPublish(subject, data, headers, self._new_reply(), give_up_s)
                pending.give_up_at_s = time.monotonic() + give_up_s
                self._pending[pending.token] = pending
                sent.append(pending)
                await self._send(pending)
            acks = await asyncio.gather(*(pending.acked for pending in sent), return_exceptions=True)
        finally:
            for pending in sent:
                del self._pending[pending.token]
        return [_outcome_of(pending, ack) for pending, ack in zip(sent, acks, strict=True)]

    def _new_reply(self) -> str:
        return f"{self._inbox}.{next(self._numbers)}"

    async def _await_ack(self, pending: PendingPublish) -> PubAck:
        async with self._window:
            pending.give_up_at_s = time.monotonic() + pending.give_up_s
            self._pending[pending.token] = pending
            try:
                await self._send(pending)
                ack = await pending.acked
            finally:
                del self._pending[pending.token]
        if ack.error is not None:
            raise NotStoredError(pending.subject, ack.error.description, ack.error.err_code)
        return ack

    async def _send(self, pending: PendingPublish) -> None:
        pending.resend_at_s = time.monotonic() + RESEND_S
        if await self._link.send(pending.subject, pending.data, pending.reply, pending.headers):
            pending.sendings += 1

    async def _receive(self, msg: Msg) -> None:
        pending = self._pending.get(msg.subject.rpartition(".")[2])
        if pending is None or pending.acked.done():
            return
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS:
            if not pending.waits_for_stream:
                pending.acked.set_exception(NoStreamError(pending.subject))
                return
            pending.last_fault, pending.is_out_of_room = "no stream holds this subject", False
            pending.resend_at_s = time.monotonic() + UNSERVED_RESEND_S  # as it is while the server reads its streams
            return
        ack = self._read(msg.data)
        if ack.error is not None and ack.error.description in FULL:
            pending.acked.set_exception(StreamFullError(f"{pending.subject} was not stored: {ack.error.description}"))
            return
        if ack.error is not None and ack.error.is_transient:
            pending.last_fault, pending.is_out_of_room = ack.error.description, ack.error.err_code in NO_ROOM
            return
        pending.acked.set_result(ack)

    async def _resend_all(self) -> None:
        for pending in tuple(self._pending.values()):
            if not pending.acked.done():
                await self._send(pending)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = time.monotonic()
            for pending in tuple(self._pending.values()):
                if pending.acked.done():
                    continue
                if now_s > pending.give_up_at_s:
                    reason = (
                        f"{pending.subject} was not acknowledged within {pending.give_up_s:g} s: {pending.last_fault}"
                    )
                    is_stuck = pending.is_out_of_room and self._link.is_up
                    pending.acked.set_exception((NotStoringError if is_stuck else NotAcknowledgedError)(reason))
                elif now_s > pending.resend_at_s and self._link.is_up:
                    await self._send(pending)


def _outcome_of(pending: PendingPublish, ack: PubAck | BaseException) -> int | TidegateError:
    if isinstance(ack, PubAck) and ack.error is None:
        return ack.seq
    if isinstance(ack, PubAck) and ack.error is not None:
        return NotStoredError(pending.subject, ack.error.description, ack.error.err_code)
    if isinstance(ack, TidegateError):
        return ack
    raise ack if isinstance(ack, BaseException) else AssertionError(ack)
