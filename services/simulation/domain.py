"""The streams of a simulated domain: the in-memory bus, whose deliveries come late, twice and out of order.

Next: process_bus.py, what one process sees of them; brokers/memory/bus.py, which keeps the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.memory.bus import Listener, MemoryBus, Responder
from tidegate.brokers.memory.consumer import Consumer, MemoryDelivery, MemoryInbox
from tidegate.brokers.stage import ACK_WAIT_S, Stage
from tidegate.services.simulation.draws import FaultDraws
from tidegate.services.simulation.journal import Journal, ShownEvent, StoredEvent


class SimulatedConsumer(Consumer):
    """Hands out what a stage has to do, by the draws: later, and again."""

    def __init__(self, stage: Stage, domain: str, draws: FaultDraws) -> None:
        super().__init__(stage, domain, ACK_WAIT_S)
        self._draws = draws

    def deliver(self, stored: StoredMessage, attempt: int) -> None:
        self.current[stored.position] = attempt
        self._hand_out(stored, attempt, self._draws.delivery_delay_s())
        again_s = self._draws.again_after_s()
        if again_s is not None:
            self._hand_out(stored, attempt, again_s)

    def _hand_out(self, stored: StoredMessage, attempt: int, after_s: float) -> None:
        """Also what has come to its end meanwhile: a server sends what it has not heard the end of."""
        delivery = MemoryDelivery(self, stored, attempt)
        if after_s:
            asyncio.get_running_loop().call_later(after_s, self._queue_up, delivery)
        else:
            self._queue_up(delivery)

    def _queue_up(self, delivery: MemoryDelivery) -> None:
        self.queue.append(delivery)
        self.wake()


class SimulatedDomain(MemoryBus):
    """All streams of one domain, which outlive its processes; everything that is stored or sent is in the journal."""

    def __init__(self, domain: str, stages: Iterable[Stage], draws: FaultDraws, journal: Journal) -> None:
        self._draws = draws
        self._journal = journal
        self._watchers: list[Callable[[], None]] = []
        super().__init__(domain, stages)

    def inbox(self, stage: Stage) -> MemoryInbox:
        """What the stage has to do."""
        return MemoryInbox(self._consumer(stage))

    def is_idle(self) -> bool:
        """Whether every message has come to its end."""
        return not any(consumer.current for consumer in self._consumers.values())

    def store_copy(self, stored: StoredMessage) -> None:
        """Store what a link brought of another domain, under its id there."""
        self._store(stored.subject, stored.data, stored.headers)

    def watch(self, changed: Callable[[], None]) -> None:
        """Call this whenever something was stored."""
        self._watchers.append(changed)

    def send(self, subject: str, data: bytes) -> None:
        """Send a core message to who listens now."""
        self._send_core(subject, data)

    def add_listener(self, entry: tuple[str, Listener]) -> None:
        self._listeners.append(entry)

    def add_responder(self, entry: tuple[str, Responder]) -> None:
        self._responders.append(entry)

    def remove(self, listeners: list[tuple[str, Listener]], responders: list[tuple[str, Responder]]) -> None:
        """A process has ended: nobody listens and answers for it."""
        self._listeners = [each for each in self._listeners if each not in listeners]
        self._responders = [each for each in self._responders if each not in responders]

    def _consumer(self, stage: Stage) -> Consumer:
        if stage.name not in self._consumers:
            self._consumers[stage.name] = SimulatedConsumer(stage, self.domain, self._draws)
        return self._consumers[stage.name]

    def _store(self, subject: str, data: bytes, headers: Mapping[str, str]) -> bool:
        now_s = asyncio.get_running_loop().time()
        order = self._journal.next()
        if not super()._store(subject, data, headers):
            return False
        self._journal.stored.append(StoredEvent(order, now_s, self.domain, subject, headers, data))
        for changed in self._watchers:
            changed()
        return True

    def _send_core(self, subject: str, data: bytes) -> int:
        self._journal.shown.append(ShownEvent(self._journal.next(), self.domain, subject, data))
        return super()._send_core(subject, data)
