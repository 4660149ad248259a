"""The rules of handing over, for every order of offers, stores, deliveries of the server, and outcomes."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.handed_chain import MIDDLE, screened
from tidegate.brokers.base import COPIED, Delivery, SettleOnArrival
from tidegate.brokers.handed import HandedDelivery
from tidegate.brokers.handover import ENDED_KEPT, MOST_IN_HAND, HandOverInbox

RIDS = ("a", "b")
EVENTS = st.tuples(
    st.sampled_from(("offer", "store", "fail", "deliver", "take", "ack", "retry", "term")), st.sampled_from(RIDS)
)


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


async def play(events: list[tuple[str, str]], queue: Queue) -> Workbench:
    bench = Workbench(queue)
    for what, rid in events:
        if what in ("ack", "retry", "term"):
            await bench.end(rid, what)
        else:
            await getattr(bench, what)(rid)
    for rid in RIDS:
        await bench.store(rid)
    while bench.queue.waiting or any(bench.begun.values()):
        await bench.take("")
        for rid in RIDS:
            await bench.end(rid, "ack")
    return bench


@given(st.lists(EVENTS, max_size=40), st.sampled_from([Queue, TellingQueue]))
def test_every_delivery_of_the_server_has_one_outcome_at_most_and_the_last_of_each_message_has_one(
    events: list[tuple[str, str]], queue: type[Queue]
) -> None:
    bench = asyncio.run(play(events, queue()))
    last = {delivery.id: delivery for delivery in bench.delivered}  # it stands for all of its message
    assert all(len(delivery.outcomes) == 1 for delivery in last.values())
    assert all(len(delivery.outcomes) <= 1 for delivery in bench.delivered)
    assert not bench.inbox._held


def begin_in_hand() -> tuple[Workbench, HandedDelivery]:
    bench = Workbench()
    asyncio.run(bench.offer("a"))
    handed = bench.handed["a"]
    asyncio.run(bench.take("a"))
    return bench, handed


def test_a_try_that_failed_in_hand_is_one_delivery_of_the_server_and_the_next_is_another_try() -> None:
    async def play() -> tuple[ServersDelivery, Delivery | None]:
        await handed.retry(1.0)
        first, second = ServersDelivery("a"), ServersDelivery("a", 2)
        bench.inbox.put(first)
        bench.inbox.put(second)
        return second, await bench.inbox.next(0.0)

    bench, handed = begin_in_hand()
    second, taken = asyncio.run(play())
    assert taken is second


@pytest.mark.parametrize("has_met", [False, True])
def test_what_was_acknowledged_in_hand_is_acknowledged_at_every_delivery(has_met: bool) -> None:
    async def play() -> list[ServersDelivery]:
        deliveries = [ServersDelivery("a", attempt) for attempt in (1, 2, 3)]
        if has_met:
            bench.inbox.put(deliveries[0])
            assert await bench.inbox.next(0.0) is None
        await handed.ack()
        for delivery in deliveries[has_met:]:
            bench.inbox.put(delivery)
        assert await bench.inbox.next(0.0) is None
        return deliveries

    bench, handed = begin_in_hand()
    assert [delivery.outcomes for delivery in asyncio.run(play())] == [["ack"]] * 3


def test_what_is_worked_on_in_hand_keeps_the_servers_delivery_alive() -> None:
    async def play() -> int:
        met = ServersDelivery("a")
        await handed.keep_alive()
        bench.inbox.put(met)
        assert await bench.inbox.next(0.0) is None
        await handed.keep_alive()
        return met.beats

    bench, handed = begin_in_hand()
    assert asyncio.run(play()) == 1


def test_where_the_server_is_quicker_its_delivery_takes_the_place_of_what_waits_in_hand() -> None:
    async def play() -> None:
        bench = Workbench()
        own = ServersDelivery("a")
        bench.inbox.put(own)
        await bench.offer("a")
        assert await bench.inbox.next(0.0) is own
        assert await bench.inbox.next(0.0) is None

    asyncio.run(play())


@pytest.mark.parametrize("has_ended", [False, True])
def test_where_the_inbox_tells_of_what_comes_what_is_in_hand_takes_it_before_it_waits(has_ended: bool) -> None:
    async def play() -> list[str]:
        bench, own = Workbench(TellingQueue()), ServersDelivery("a")
        await bench.offer("a")
        handed = await bench.inbox.next(0.0)
        assert handed is bench.handed["a"]
        if has_ended:
            await handed.ack()
        await bench.queue.arrive(own)
        assert not bench.queue.waiting
        if not has_ended:
            assert not own.outcomes
            await handed.ack()
        return own.outcomes

    assert asyncio.run(play()) == ["ack"]


def test_another_message_under_the_same_id_and_a_copy_are_worked_on_as_ever() -> None:
    async def play() -> None:
        await handed.ack()
        other, copy = ServersDelivery("a"), ServersDelivery("a", headers={COPIED: "PIPE"})
        other.subject = "pipe.kiosk.screened.b"
        for delivery in (other, copy):
            bench.inbox.put(delivery)
            assert await bench.inbox.next(0.0) is delivery

    bench, handed = begin_in_hand()
    asyncio.run(play())


def test_what_was_taken_back_is_begun_by_nobody_and_the_servers_own_is() -> None:
    async def play() -> None:
        met = ServersDelivery("a")
        bench.inbox.put(met)
        assert await bench.inbox.next(0.0) is None
        await bench.inbox.take_back(handed)
        await handed.ack()
        assert not met.outcomes
        assert await bench.inbox.next(0.0) is met

    bench, handed = begin_in_hand()
    asyncio.run(play())


@pytest.mark.parametrize("is_met_first", [True, False])
@pytest.mark.parametrize("how", ["ack", "retry", "term"])
def test_the_servers_delivery_is_not_kept_once_it_has_its_outcome(how: str, is_met_first: bool) -> None:
    async def end() -> None:
        bench.begun["a"] = [handed]
        await bench.store("a")
        await bench.end("a", how)

    async def play() -> weakref.ref[ServersDelivery]:
        met = ServersDelivery("a")
        if not is_met_first:
            await end()
        bench.inbox.put(met)
        assert await bench.inbox.next(0.0) is None
        if is_met_first:
            await end()
        assert met.outcomes == [how]
        return weakref.ref(met)

    bench, handed = begin_in_hand()
    assert asyncio.run(play())() is None


def test_what_is_remembered_is_bounded() -> None:
    async def play() -> int:
        inbox = HandOverInbox(replace(MIDDLE, concurrency=2 * MOST_IN_HAND), Queue())
        for n in range(ENDED_KEPT + 100):
            handed = inbox.offer(screened("a", ""), "pipe.kiosk.screened.a", {"Nats-Msg-Id": f"m{n}"})
            assert handed is not None
            assert await inbox.next(0.0) is handed
            await handed.ack()
            assert handed.message is None
        for n in range(MOST_IN_HAND):
            assert inbox.offer(screened("a", ""), "pipe.kiosk.screened.a", {"Nats-Msg-Id": f"n{n}"})
        assert not inbox.offer(screened("a", ""), "pipe.kiosk.screened.a", {"Nats-Msg-Id": "more"})
        return len(inbox._ended) + len(inbox._held)

    assert asyncio.run(play()) == ENDED_KEPT + MOST_IN_HAND
