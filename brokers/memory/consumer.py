"""The consumers of the in-memory bus: deliveries, retries and ack waits, as on the server.

Next: bus.py."""

from __future__ import annotations

import asyncio

from tidegate.brokers.base import StoredMessage
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
        self.queue: asyncio.Queue[MemoryDelivery] = asyncio.Queue()
        self.current: dict[str, int] = {}
        """Position of every message that has no end yet → the attempt that is under way."""
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def wants(self, stored: StoredMessage) -> bool:
        return any(s.stream == stored.stream and matches(s.filter, stored.subject) for s in self.sources)

    def deliver(self, stored: StoredMessage, attempt: int) -> None:
        delivery = MemoryDelivery(self, stored, attempt)
        self.current[delivery.position] = attempt
        self.queue.put_nowait(delivery)

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
    """A stage's deliveries; nothing is taken in advance."""

    def __init__(self, consumer: Consumer) -> None:
        self._queue = consumer.queue

    async def next(self, wait_s: float = 0.2) -> MemoryDelivery | None:
        """The next delivery, or None."""
        if self._queue.empty():
            try:
                async with asyncio.timeout(wait_s):
                    return (await self._queue.get()).start_ack_wait()
            except TimeoutError:
                return None
        return self._queue.get_nowait().start_ack_wait()


def matches(pattern: str, subject: str) -> bool:
    """Whether a NATS subject pattern covers the subject: `*` is one token, a last `>` is one or more."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))
