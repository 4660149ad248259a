"""The publisher: many messages on their way to their streams at once, each stored once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping

import msgspec
from nats.aio.msg import Msg

from tidegate.brokers.jetstream.connection import NO_RESPONDERS, Link

WINDOW = 1024
RESEND_S = 2.0
UNSERVED_RESEND_S = 0.25
GIVE_UP_S = 30.0
SWEEP_S = 0.25
WRONG_LAST_SEQUENCE = 10071  # the subject holds a message already (nats-server, JSStreamWrongLastSequenceErrF)


class NotStored(RuntimeError):
    """The stream refused the message; sending it again would not help."""

    def __init__(self, subject: str, reason: str, err_code: int) -> None:
        super().__init__(f"{subject} was not stored: {reason} (NATS error {err_code})")
        self.reason = reason
        self.err_code = err_code


class Unserved(NotStored):
    """No stream holds the subject now."""

    def __init__(self, subject: str) -> None:
        super().__init__(subject, "no stream holds this subject", 0)


class Fault(msgspec.Struct, frozen=True):
    """The error of a JetStream answer."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later: no leader yet, storage full, shutting down."""
        return self.code >= 500


class PubAck(msgspec.Struct, frozen=True):
    """A stream's answer to a publish."""

    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: Fault | None = None


class Parcel:
    """A message on its way."""

    __slots__ = (
        "acked",
        "data",
        "expects_stream",
        "give_up_at_s",
        "give_up_s",
        "headers",
        "last_fault",
        "reply",
        "resend_at_s",
        "sendings",
        "subject",
    )

    def __init__(self, subject: str, data: bytes, headers: Mapping[str, str], reply: str, give_up_s: float) -> None:
        self.subject = subject
        self.data = data
        self.headers = headers
        self.reply = reply
        self.sendings = 0
        self.resend_at_s = 0.0
        self.give_up_s = give_up_s
        self.give_up_at_s = 0.0
        self.last_fault = "no answer"
        self.expects_stream = True
        self.acked: asyncio.Future[PubAck] = asyncio.get_running_loop().create_future()


class Publisher:
    """Pipelined publishing over one inbox.

    nats-py's own futures never fail on a disconnection, and its awaited publish is a round trip each. Here a message is
    sent again under the same `Nats-Msg-Id` after every reconnection and every `RESEND_S`, until the stream answers.
    """

    def __init__(self, link: Link, give_up_s: float) -> None:
        self._link = link
        self._give_up_s = give_up_s
        self._inbox = link.new_inbox()
        self._numbers = itertools.count()
        self._window = asyncio.Semaphore(WINDOW)
        self._parcels: dict[str, Parcel] = {}
        self._read = msgspec.json.Decoder(PubAck).decode

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, link: Link, give_up_s: float = GIVE_UP_S) -> AsyncIterator[Publisher]:
        """Publish until left."""
        publisher = cls(link, give_up_s)
        interest = await link.subscribe(f"{publisher._inbox}.*", publisher._hear)
        link.heals.append(publisher._resend_all)
        sweeper = asyncio.create_task(publisher._sweep())
        try:
            yield publisher
        finally:
            sweeper.cancel()
            link.heals.remove(publisher._resend_all)
            await link.unsubscribe(interest)

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str]) -> bool:
        """Return True when the message is stored, False when its `Nats-Msg-Id` was stored before this call.

        Raises `NotStored`; `TimeoutError` after `give_up_s` without an answer: then it may or may not be stored.
        """
        parcel = self._parcel(subject, data, headers, self._give_up_s)
        ack = await self._acknowledged(parcel)
        return not ack.duplicate or parcel.sendings > 1  # the duplicate of a resent message is its own first sending

    async def append(self, subject: str, data: bytes, headers: Mapping[str, str], give_up_s: float) -> int:
        """Return the sequence under which the message is stored.

        Raises as `publish` does, and `Unserved` at once where it waits for the stream to come back.
        """
        parcel = self._parcel(subject, data, headers, give_up_s)
        parcel.expects_stream = False
        return (await self._acknowledged(parcel)).seq

    def _parcel(self, subject: str, data: bytes, headers: Mapping[str, str], give_up_s: float) -> Parcel:
        return Parcel(subject, data, headers, f"{self._inbox}.{next(self._numbers)}", give_up_s)

    async def _acknowledged(self, parcel: Parcel) -> PubAck:
        token = parcel.reply.rpartition(".")[2]
        async with self._window:
            parcel.give_up_at_s = time.monotonic() + parcel.give_up_s
            self._parcels[token] = parcel
            try:
                await self._send(parcel)
                ack = await parcel.acked
            finally:
                del self._parcels[token]
        if ack.error is not None:
            raise NotStored(parcel.subject, ack.error.description, ack.error.err_code)
        return ack

    async def _send(self, parcel: Parcel) -> None:
        parcel.resend_at_s = time.monotonic() + RESEND_S
        if await self._link.send(parcel.subject, parcel.data, parcel.reply, parcel.headers):
            parcel.sendings += 1

    async def _hear(self, msg: Msg) -> None:
        parcel = self._parcels.get(msg.subject.rpartition(".")[2])
        if parcel is None or parcel.acked.done():
            return
        if msg.headers and msg.headers.get("Status") == NO_RESPONDERS:
            if not parcel.expects_stream:
                parcel.acked.set_exception(Unserved(parcel.subject))
                return
            parcel.last_fault = "no stream holds this subject"
            parcel.resend_at_s = time.monotonic() + UNSERVED_RESEND_S  # as it is while the server reads its streams
            return
        ack = self._read(msg.data)
        if ack.error is not None and ack.error.is_passing:
            parcel.last_fault = ack.error.description
            return
        parcel.acked.set_result(ack)

    async def _resend_all(self) -> None:
        for parcel in tuple(self._parcels.values()):
            if not parcel.acked.done():
                await self._send(parcel)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = time.monotonic()
            for parcel in tuple(self._parcels.values()):
                if parcel.acked.done():
                    continue
                if now_s > parcel.give_up_at_s:
                    reason = f"{parcel.subject} was not acknowledged within {parcel.give_up_s:g} s: {parcel.last_fault}"
                    parcel.acked.set_exception(TimeoutError(reason))
                elif now_s > parcel.resend_at_s and self._link.is_up:
                    await self._send(parcel)
