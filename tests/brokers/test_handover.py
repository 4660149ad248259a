"""What both buses promise where the stages of one process hand over: decision 0052."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.support.broker_harness import OpenRig, Rig, until
from tests.support.handed_chain import (
    CHAIN,
    FIRST,
    LAST,
    MIDDLE,
    Chain,
    CrossingBus,
    Crossings,
    facts,
    facts_of,
    screened,
    serve,
    serving,
)
from tests.support.scripted_stage import ask, asked, holds, no_more_pending, texts, working
from tidegate.brokers.base import StoreOutcome
from tidegate.brokers.stage import Retry
from tidegate.schemas import Message, RejectError, RetryLaterError, Screened, decode, encode

pytestmark = pytest.mark.anyio
PATIENT = Retry(attempts=50, jitter=lambda _low, _high: 0.01)
UNDYING = tuple(replace(stage, retry=PATIENT) for stage in CHAIN)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


class SlowStore:
    """A server that stores what is under `pipe.` only once it may, or refuses it."""

    def __init__(self, bus: Any) -> None:
        self._bus = bus
        self.may_store = asyncio.Event()
        self.failures: list[Exception] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def store(self, message: Message, *, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        if isinstance(message, Screened):
            await self.may_store.wait()
            if self.failures:
                raise self.failures.pop()
        outcome: StoreOutcome = await self._bus.store(message, id=id, headers=headers)
        return outcome

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        return (await self.store(message, id=id, headers=headers)).is_new


async def nothing_pending(rig: Rig) -> None:
    for stage in CHAIN:
        await no_more_pending(rig, stage)


async def called(chain: Chain, stage: str, rid: str, times: int = 1) -> None:
    async def enough() -> bool:
        return chain.calls[stage, rid] >= times

    await until(enough)


class TestHandingOver:
    async def test_the_next_stage_begins_before_the_message_is_stored_and_stores_nothing_before(
        self, open_rig: OpenRig
    ) -> None:
        chain = Chain()
        async with open_rig(*CHAIN) as rig:
            slow = SlowStore(rig.bus)
            async with serving(chain, slow):
                await ask(rig, asked("a"))
                await called(chain, "router", "a")
                await asyncio.sleep(0.05)
                assert await facts(rig) == []
                assert not chain.calls["publisher", "a"]
                slow.may_store.set()
                await holds(rig, "ANSWERS", 1)
                await nothing_pending(rig)
            assert await facts(rig) == facts_of("a")

    async def test_the_servers_own_delivery_of_what_was_handed_over_is_settled_without_work(
        self, open_rig: OpenRig
    ) -> None:
        chain, rids = Chain(), [f"r{n}" for n in range(30)]
        async with open_rig(*CHAIN) as rig, serving(chain, rig.bus):
            await ask(rig, *(asked(rid) for rid in rids))
            await holds(rig, "ANSWERS", len(rids))
            await nothing_pending(rig)
            assert set(chain.calls.values()) == {1}
            assert sorted(await texts(rig, "ANSWERS"))[0] == "r0!?"
            assert not await rig.stored("DEAD")

    async def test_ids_and_causes_are_those_of_a_chain_of_processes(self, open_rig: OpenRig) -> None:
        chain = Chain()
        async with open_rig(*CHAIN) as rig:
            async with serving(chain, rig.bus):
                await ask(rig, asked("a"))
                await holds(rig, "ANSWERS", 1)
            first, middle, last = chain.handlers
            async with (
                rig.peer() as one,
                rig.peer() as two,
                working(FIRST, first, one),
                working(MIDDLE, middle, two),
                working(LAST, last, one),
            ):
                await ask(rig, asked("b"))
                await holds(rig, "ANSWERS", 2)
            together, apart = facts_of("a"), facts_of("b")
            assert await facts(rig) == [*together[:2], *apart[:2], together[2], apart[2]]
            stored = {each.subject: each.headers["Tidegate-Cause"] for each in await rig.stored("PIPE")}
            assert stored["pipe.kiosk.withheld.a"] == "PIPE:1"
            assert stored["pipe.kiosk.withheld.b"] == "PIPE:3"

    async def test_a_stage_that_has_its_hands_full_is_handed_nothing_and_works_on_no_more_at_once(
        self, open_rig: OpenRig
    ) -> None:
        chain, most, now = Chain(), [0], [0]
        stages = (FIRST, replace(MIDDLE, concurrency=2), LAST)

        async def linger(_: str) -> None:
            now[0] += 1
            most[0] = max(most[0], now[0])
            await asyncio.sleep(0.01)
            now[0] -= 1

        chain.acts["router"] = linger
        async with open_rig(*stages) as rig, serving(chain, rig.bus, stages=stages):
            await ask(rig, *(asked(f"r{n}") for n in range(12)))
            await holds(rig, "ANSWERS", 12)
            await nothing_pending(rig)
            assert most == [2]
            assert {count for (stage, _), count in chain.calls.items() if stage == "router"} == {1}


class TestFailures:
    async def test_what_was_handed_over_and_not_stored_is_made_again_and_nothing_of_it_stays(
        self, open_rig: OpenRig
    ) -> None:
        chain = Chain()
        async with open_rig(*CHAIN) as rig:
            slow = SlowStore(rig.bus)
            slow.may_store.set()
            slow.failures = [OSError("not now")]
            async with serving(chain, slow):
                await ask(rig, asked("a"))
                await holds(rig, "ANSWERS", 1)
                await nothing_pending(rig)
            assert await facts(rig) == facts_of("a")
            assert chain.calls["prefilter", "a"] == 2
            assert not await rig.stored("DEAD")

    async def test_a_middle_fact_that_is_refused_for_good_ends_as_a_dead_letter_of_its_stage(
        self, open_rig: OpenRig
    ) -> None:
        chain = Chain()
        async with open_rig(*CHAIN) as rig:
            slow = SlowStore(rig.bus)
            slow.may_store.set()
            slow.failures = [RejectError("never")]
            async with serving(chain, slow):
                await ask(rig, asked("a"))
                await holds(rig, "DEAD", 1)
                await nothing_pending(rig)
            [letter] = await rig.stored("DEAD")
            assert letter.subject == "dead.prefilter.a"
            assert await facts(rig) == []

    async def test_the_words_that_are_stored_are_those_that_count(self, open_rig: OpenRig) -> None:
        chain = Chain()
        async with open_rig(*CHAIN) as rig:
            await rig.put("pipe.kiosk.screened.a", encode(screened("a", "first")), "a.prefilter.0")
            async with serving(chain, rig.bus):
                await ask(rig, asked("a"))
                await holds(rig, "ANSWERS", 1)
                await nothing_pending(rig)
            assert await facts(rig) == facts_of("a")
            assert await texts(rig, "ANSWERS") == ["first!?"]

    async def test_a_try_in_hand_is_the_first_of_the_deliverys_tries(self, open_rig: OpenRig) -> None:
        chain = Chain()

        async def fail(_: str) -> None:
            raise OSError("no")

        chain.acts["router"] = fail
        async with open_rig(*CHAIN) as rig, serving(chain, rig.bus):
            await ask(rig, asked("a"))
            await holds(rig, "DEAD", 1)
            await nothing_pending(rig)
            [letter] = await rig.stored("DEAD")
            assert chain.calls["router", "a"] == 3
            assert letter.headers["Dead-Attempt"] == "3"
            assert letter.headers["Dead-Id"] == "a.prefilter.0"
            assert decode(letter.data, Screened) == decode((await rig.stored("PIPE"))[0].data, Screened)

    async def test_what_is_rejected_in_hand_is_dead_lettered_once_it_is_stored(self, open_rig: OpenRig) -> None:
        chain = Chain()

        async def reject(_: str) -> None:
            raise RejectError("never")

        chain.acts["router"] = reject
        async with open_rig(*CHAIN) as rig, serving(chain, slow := SlowStore(rig.bus)):
            await ask(rig, asked("a"))
            await called(chain, "router", "a")
            await asyncio.sleep(0.02)  # it is rejected before it is stored
            slow.may_store.set()
            await holds(rig, "DEAD", 1)
            await nothing_pending(rig)
            [letter] = await rig.stored("DEAD")
            assert letter.data == (await rig.stored("PIPE"))[0].data
            assert letter.headers["Nats-Msg-Id"] == "a.prefilter.0.router.dead.1"
            assert chain.calls["router", "a"] == 1

    async def test_what_is_put_off_in_hand_comes_back_after_its_delay(self, open_rig: OpenRig) -> None:
        chain, times = Chain(), list[float]()

        async def put_off(_: str) -> None:
            times.append(asyncio.get_running_loop().time())
            if len(times) == 1:
                raise RetryLaterError("no link", 0.2)

        chain.acts["router"] = put_off
        async with open_rig(*CHAIN) as rig, serving(chain, rig.bus):
            await ask(rig, asked("a"))
            await holds(rig, "ANSWERS", 1)
            assert times[1] - times[0] >= 0.19
            assert await facts(rig) == facts_of("a")

    async def test_a_second_try_is_handed_to_nobody(self, open_rig: OpenRig) -> None:
        # What takes its process down must do so as a delivery of its own stage, whose attempts are counted.
        chain = Chain()
        async with open_rig(*CHAIN) as rig:
            await ask(rig, asked("a"))
            async with rig.peer() as doomed, doomed.subscribe(FIRST) as inbox:
                await (await inbox.next(wait_s=5.0)).retry(0.0)
            slow = SlowStore(rig.bus)
            async with serving(chain, slow):
                await called(chain, "prefilter", "a")
                await asyncio.sleep(0.05)
                assert not chain.calls["router", "a"]
                slow.may_store.set()
                await holds(rig, "ANSWERS", 1)


async def die_at(at: int, rig: Rig, rid: str, *, kills: bool) -> int:
    """One process begins with the request and ends at that crossing, or at rest; return how often it crossed."""
    stop = asyncio.Event()
    crossings = Crossings(at, stop, kills=kills)
    async with rig.peer() as bus:
        own = CrossingBus(bus, crossings.cross)
        job = asyncio.create_task(serve(Chain(crossings.cross), own, stop, stages=UNDYING, grace_s=0.01))
        await ask(rig, asked(rid))
        seen = -1
        while not job.done() and not (await is_answered(rig, rid) and seen == crossings.count):
            seen = crossings.count
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.gather(job, return_exceptions=True)
    return crossings.count


async def is_answered(rig: Rig, rid: str) -> bool:
    return await rig.bus.last("ANSWERS", f"answers.kiosk.{rid}") is not None


class TestCrashes:
    @pytest.mark.parametrize("kills", [True, False], ids=["killed", "drained"])
    async def test_a_process_that_ends_at_any_point_leaves_one_answer_under_the_same_ids(
        self, open_rig: OpenRig, kills: bool
    ) -> None:
        async with open_rig(*UNDYING, ack_wait_s=0.15) as rig:
            points = await die_at(999, rig, "whole", kills=kills)
            assert points > 12
            for at in range(1, points + 1):
                await die_at(at, rig, f"r{at}", kills=kills)
            rids = ["whole", *(f"r{at}" for at in range(1, points + 1))]
            async with serving(Chain(), rig.bus, stages=UNDYING):
                await holds(rig, "ANSWERS", len(rids))
                await nothing_pending(rig)
            assert sorted(await facts(rig)) == sorted(fact for rid in rids for fact in facts_of(rid))
            assert not await rig.stored("DEAD")
