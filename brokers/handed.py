"""A message in the hands of the next stage before the server has delivered it; see handover.py.

Promises that its outcome, which the worker decides, is that of the server's own delivery, whichever comes first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from tidegate.brokers.base import Delivery, DeliveryWithdrawnError
from tidegate.schemas import Message, encode

End = Callable[[Delivery], Awaitable[None]]


class HandedDelivery:
    """A delivery made in this process, of a message that is being stored.

    The server delivers the message too, sooner or later, here or elsewhere. That is the only delivery there is to be
    acknowledged or handed back: `meet` says that it came here, and gives it the outcome that this one has or will have.
    """

    attempt = 1

    def __init__(
        self,
        message: Message,
        subject: str,
        headers: Mapping[str, str],
        on_end: Callable[[HandedDelivery], None],
    ) -> None:
        self.message: Message | None = message
        """None once it has its outcome, which is all that is remembered then."""
        self._on_end = on_end
        self.subject = subject
        self.headers = headers
        self.id = headers["Nats-Msg-Id"]
        self.stored_at_s = time.time()
        self.position = ""
        self.has_begun = False
        self.is_withdrawn = False
        self.end: End | None = None
        """What becomes of the server's delivery; None while the work goes on."""
        self.is_done = False
        """Whether it was acknowledged, and so every other delivery of it can be."""
        self.met: Delivery | None = None
        """The server's own delivery, until it has the outcome: what is remembered for long holds no message."""
        self._is_kept = False
        self._is_known: asyncio.Event | None = None
        """Made by who waits: mostly it is known by then."""

    @property
    def data(self) -> bytes:
        """The bytes that are stored; none once it has its outcome."""
        return encode(self.message) if self.message is not None else b""

    def keep(self, position: str) -> None:
        """It is stored, there."""
        self.position = position
        self._is_kept = True
        self._wake_waiters()

    def withdraw(self) -> None:
        """It is not stored, or not by this one's words: whoever works on it works for nothing."""
        self.is_withdrawn = True
        self._wake_waiters()

    async def stored(self) -> str:
        """See `Delivery`."""
        if not self._is_kept and not self.is_withdrawn:
            if self._is_known is None:
                self._is_known = asyncio.Event()
            await self._is_known.wait()
        if self.is_withdrawn:
            raise DeliveryWithdrawnError(f"{self.subject} was not stored as it was handed over")
        return self.position

    async def meet(self, delivery: Delivery) -> None:
        """The server's own delivery came."""
        if self.end is None:
            self.met = delivery
        else:
            await self.end(delivery)

    async def ack(self) -> None:
        """See `Delivery`."""
        self.is_done = True
        await self._end_by(lambda delivery: delivery.ack())

    async def retry(self, after_s: float) -> None:
        """See `Delivery`; the delay begins now, whenever the server's delivery comes."""
        due_s = time.monotonic() + after_s
        await self._end_by(lambda delivery: delivery.retry(max(0.0, due_s - time.monotonic())))

    async def term(self, reason: str) -> None:
        """See `Delivery`."""
        await self._end_by(lambda delivery: delivery.term(reason))

    async def keep_alive(self) -> None:
        """See `Delivery`."""
        if self.met is not None:
            await self.met.keep_alive()

    def _wake_waiters(self) -> None:
        if self._is_known is not None:
            self._is_known.set()

    async def _end_by(self, end: End) -> None:
        if self.is_withdrawn:
            return
        self.end, self.message = end, None
        self._on_end(self)
        if self.met is not None:
            await end(self.met)
            self.met = None
