"""The rules of handing over, for every order of offers, stores, deliveries of the server, and outcomes."""

from __future__ import annotations

import asyncio
import weakref
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.hand_over_bench import RIDS, Queue, ServersDelivery, TellingQueue, Workbench
from tests.support.handed_chain import MIDDLE, screened
from tidegate.brokers.base import COPIED, Delivery
from tidegate.brokers.handed import HandedDelivery
from tidegate.brokers.handover import ENDED_KEPT, MOST_IN_HAND, HandOverInbox

EVENTS = st.tuples(
    st.sampled_from(("offer", "store", "fail", "deliver", "take", "ack", "retry", "term")), st.sampled_from(RIDS)
)


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
