"""The consumers of the in-memory bus: deliveries, retries and ack waits, as on the server.

Next: bus.py."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from tidegate.brokers.base import Delivery, StoredMessage
from tidegate.brokers.stage import Stage


class MemoryDelivery:
    """A message held by a worker; without an acknowledgement within the ack wait it is delivered again."""

    def __init__(self, consumer: Consumer, stored: StoredMessage, attempt: int) -> None:
        self.subject = stored.subject
        self.data = stored.data
        self.headers = stored.headers
        self.stored_at_s = stored.stored_at_s
        self.attempt = attempt
        self.position = stored.position
        self.id = stored.headers.get("Nats-Msg-Id", self.position)
        self._consumer = consumer
        self._stored = stored

    async def stored(self) -> str:
        return self.position

    async def ack(self) -> None:
        self._consumer.end(self.position)

    async def term(self, reason: str) -> None:  # noqa: ARG002 - the dead letter has it
        self._consumer.end(self.position)

    async def retry(self, after_s: float) -> None:
        self._consumer.deliver_again(self._stored, after_s)

    async def keep_alive(self) -> None:
        self._consumer.deliver_again(self._stored, self._consumer.ack_wait_s)

    def start_ack_wait(self) -> MemoryDelivery:
        """Start the ack wait now; return self."""
        self._consumer.deliver_again(self._stored, self._consumer.ack_wait_s)
        return self


class Consumer:
    """What a stage has still to do, over all its streams, in the order in which it came."""

    def __init__(self, stage: Stage, domain: str, ack_wait_s: float) -> None:
        self.sources = stage.sources(domain)
        self.ack_wait_s = ack_wait_s
        self.queue: deque[MemoryDelivery] = deque()
        self.waiting: deque[asyncio.Future[None]] = deque()
        """The inboxes that wait for a delivery, the one first that has waited longest."""
        self.current: dict[str, int] = {}
        """Position of every message that has no end yet → the attempt that is under way."""
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def wants(self, stored: StoredMessage) -> bool:
        return any(s.stream == stored.stream and matches(s.filter, stored.subject) for s in self.sources)

    def deliver(self, stored: StoredMessage, attempt: int) -> None:
        delivery = MemoryDelivery(self, stored, attempt)
        self.current[delivery.position] = attempt
        self.queue.append(delivery)
        self.wake()

    def wake(self) -> None:
        """Have one of those that wait look into the queue."""
        while self.waiting:
            if not (waiter := self.waiting.popleft()).done():
                waiter.set_result(None)
                return

    def deliver_again(self, stored: StoredMessage, after_s: float) -> None:
        """Unless it came to its end; an acknowledgement of an earlier attempt counts too, as on the server."""
        position = stored.position
        if position not in self.current:
            return
        self._stop_waiting(position)
        if after_s > 0:
            loop = asyncio.get_running_loop()
            self._timers[position] = loop.call_later(after_s, self.deliver_again, stored, 0.0)
        else:
            self.deliver(stored, self.current[position] + 1)

    def end(self, position: str) -> None:
        self._stop_waiting(position)
        self.current.pop(position, None)

    def _stop_waiting(self, position: str) -> None:
        if timer := self._timers.pop(position, None):
            timer.cancel()


class MemoryInbox:
    """A stage's deliveries, none of them taken in advance, and what is put beside them."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._put: deque[Delivery] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def put(self, delivery: Delivery) -> None:
        """See `Inbox`; what was put comes first."""
        self._put.append(delivery)
        if self._waiter is not None:
            _wake_up(self._waiter)

    async def next(self, wait_s: float = 0.2) -> Delivery | None:
        """The next delivery, or None."""
        queue = self._consumer.queue
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + wait_s
        while not self._put and not queue:
            if (left_s := ends_s - loop.time()) <= 0:
                return None
            await self._wait(left_s)
        if not self._put:
            return queue.popleft().start_ack_wait()
        if queue:  # this one may have been woken for it
            self._consumer.wake()
        return self._put.popleft()

    async def hand_back(self) -> None:
        """Give up what was put and not taken."""
        while self._put:
            await self._put.popleft().retry(0.0)

    async def _wait(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        self._consumer.waiting.append(waiter)
        timer = loop.call_later(wait_s, _wake_up, waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was woken for a delivery that a peer can have
                self._consumer.wake()
            raise
        finally:
            timer.cancel()
            self._waiter = None
            with contextlib.suppress(ValueError):
                self._consumer.waiting.remove(waiter)


def _wake_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS subject pattern covers the subject: `*` is one token, a last `>` is one or more."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))
