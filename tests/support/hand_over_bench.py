"""One stage's inbox of what is handed over, without a broker: what is offered, stored, delivered and ended is said.

Next: tests/brokers/test_handover_rules.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from tests.support.handed_chain import MIDDLE, screened
from tidegate.brokers.base import Delivery, SettleOnArrival
from tidegate.brokers.handed import HandedDelivery
from tidegate.brokers.handover import HandOverInbox

RIDS = ("a", "b")


class ServersDelivery:
    """What the server delivers; it keeps the outcomes that it was given."""

    stored_at_s = 0.0
    position = "PIPE:1"
    data = b""

    def __init__(self, rid: str, attempt: int = 1, headers: Mapping[str, str] | None = None) -> None:
        self.id = self.rid = rid
        self.subject = f"pipe.kiosk.screened.{rid}"
        self.headers = headers or {}
        self.attempt = attempt
        self.outcomes: list[str] = []
        self.beats = 0

    async def stored(self) -> str:
        return self.position

    async def ack(self) -> None:
        self.outcomes.append("ack")

    async def retry(self, after_s: float) -> None:  # noqa: ARG002
        self.outcomes.append("retry")

    async def term(self, reason: str) -> None:  # noqa: ARG002
        self.outcomes.append("term")

    async def keep_alive(self) -> None:
        self.beats += 1


class Queue:
    """An inbox in which what is put is all there is."""

    def __init__(self) -> None:
        self.waiting: deque[Delivery] = deque()

    def put(self, delivery: Delivery) -> None:
        self.waiting.append(delivery)

    async def arrive(self, delivery: Delivery) -> None:
        """The server delivers it."""
        self.put(delivery)

    async def next(self, wait_s: float = 0.2) -> Delivery | None:  # noqa: ARG002
        return self.waiting.popleft() if self.waiting else None


class TellingQueue(Queue):
    """One that tells of what the server delivers before that waits."""

    def __init__(self) -> None:
        super().__init__()
        self._settle: SettleOnArrival = lambda _: None

    def on_arrival(self, settle: SettleOnArrival) -> None:
        self._settle = settle

    async def arrive(self, delivery: Delivery) -> None:
        settling = self._settle(delivery)
        if settling is None:
            self.put(delivery)
        else:
            await settling


class Workbench:
    """One stage's inbox, and all that was handed over, delivered and begun."""

    def __init__(self, queue: Queue | None = None) -> None:
        self.queue = queue or Queue()
        self.inbox = HandOverInbox(MIDDLE, self.queue)
        self.handed: dict[str, HandedDelivery] = {}
        """By request, the last offer that was taken and is not stored yet."""
        self.begun: dict[str, list[Delivery]] = {rid: [] for rid in RIDS}
        self.delivered: list[ServersDelivery] = []

    async def offer(self, rid: str) -> None:
        fact = screened(rid, "")
        if rid not in self.handed:  # one store at a time under an id
            taken = self.inbox.offer(fact, f"pipe.kiosk.screened.{rid}", {"Nats-Msg-Id": rid})
            if taken is not None:
                self.handed[rid] = taken

    async def store(self, rid: str) -> None:
        if handed := self.handed.pop(rid, None):
            handed.keep("PIPE:1")

    async def fail(self, rid: str) -> None:
        if handed := self.handed.pop(rid, None):
            await self.inbox.take_back(handed)

    async def deliver(self, rid: str) -> None:
        delivery = ServersDelivery(rid)
        self.delivered.append(delivery)
        await self.queue.arrive(delivery)

    async def take(self, _: str) -> None:
        taken = await self.inbox.next(0.0)
        if taken is None:
            return
        rid = taken.subject.rsplit(".", 1)[-1]
        at_work = [each for each in self.begun[rid] if isinstance(each, HandedDelivery) and not each.is_withdrawn]
        # What is in hand is begun a second time by nobody; the server may deliver again what it delivered before.
        assert not at_work
        self.begun[rid].append(taken)

    async def end(self, rid: str, how: str) -> None:
        """Only what is stored has an outcome; but a drain hands back whatever there is."""
        if self.begun[rid] and (how == "retry" or self.begun[rid][0] is not self.handed.get(rid)):
            delivery = self.begun[rid].pop(0)
            match how:
                case "ack":
                    await delivery.ack()
                case "retry":
                    await delivery.retry(1.0)
                case _:
                    await delivery.term("")
