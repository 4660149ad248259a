"""One worker of the hub for each escalation, on both buses, and what becomes of one that dies, freezes or drains."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.broker_harness import OpenRig, memory, on_jetstream
from tests.support.escalation_site import escalated
from tidegate.brokers.base import Bus
from tidegate.schemas import Answer, Escalated, Message, RetryLaterError, Verified, WorkClaim, decode, replace
from tidegate.schemas.subjects import CLAIMS, subject_of
from tidegate.services.uplink.claims import ClaimLease, Claims, digest_of_question

pytestmark = pytest.mark.anyio
LEASE_S = 1.0


@pytest.fixture(params=["memory", "jetstream"])
def open_rig(request: pytest.FixtureRequest, tmp_path: Path) -> OpenRig:
    opener: Any = memory if request.param == "memory" else on_jetstream
    return lambda: opener(tmp_path)


class HubWorker:
    """A worker of the hub whose model can be held up and made to fail."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.name = name
        self.bus = bus
        self.calls = 0
        self.outcomes: Counter[str] = Counter()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.is_asked = asyncio.Event()
        self.error: Exception | None = None
        self.claims = Claims(bus, self._verify, lambda outcome: self.outcomes.update([outcome]), LEASE_S)

    async def _verify(self, fact: Escalated) -> list[Message]:
        self.calls += 1
        self.is_asked.set()
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return [verdict(fact, self.name)]

    async def answer(self, fact: Escalated) -> Verified:
        (verified,) = await self.claims.verdict(fact)
        assert isinstance(verified, Verified)
        return verified


def verdict(fact: Escalated, text: str) -> Verified:
    return fact.followed_by(Verified, question=fact.question, plan=fact.plan, answer=Answer(text=text))


def claim(fact: Escalated, holder: str | None, **more: Any) -> WorkClaim:
    question = digest_of_question(fact.question)
    return WorkClaim(site=fact.site, tenant=fact.tenant, rid=fact.rid, question=question, holder=holder, **more)


async def claimed(bus: Bus, fact: Escalated) -> tuple[int, WorkClaim]:
    sequence, data = (await bus.read(CLAIMS, subject_of(claim(fact, None), bus.domain)))[-1]
    return sequence, decode(data, WorkClaim)


@asynccontextmanager
async def workers(open_rig: OpenRig, *names: str) -> AsyncIterator[list[HubWorker]]:
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(open_rig())
        buses = [await stack.enter_async_context(rig.peer()) for _ in names]
        found = [HubWorker(bus, name) for bus, name in zip(buses, names, strict=True)]
        for worker in found:
            await worker.claims.serve()
        async with asyncio.timeout(30):
            yield found


async def test_each_request_is_worked_at_once_however_many_workers_are_asked(open_rig: OpenRig) -> None:
    facts = [escalated("q", rid=f"r{number}") for number in range(6)]
    async with workers(open_rig, "a", "b", "c") as found:
        asked = [worker.answer(fact) for fact in facts for worker in found]
        answers = await asyncio.gather(*asked)
    for number, fact in enumerate(facts):
        assert {answer.rid for answer in answers[3 * number : 3 * number + 3]} == {fact.rid}
        assert len({answer.answer.text for answer in answers[3 * number : 3 * number + 3]}) == 1
    assert sum(worker.calls for worker in found) == len(facts)
    assert sum((worker.outcomes for worker in found), Counter()) == {"worked": 6, "shared": 12}


async def test_a_verdict_is_there_for_who_asks_when_its_worker_is_gone(open_rig: OpenRig) -> None:
    async with workers(open_rig, "a", "b") as (first, second):
        first.claims = Claims(first.bus, first._verify)  # one that answers nobody, as one that was killed
        await first.answer(escalated("q"))
        assert (await second.answer(escalated("q"))).answer.text == "a"
        assert (await second.answer(escalated("another question"))).answer.text == "b"
        assert (await second.answer(escalated("q", tenant="other"))).answer.text == "b"


async def test_a_worker_that_dies_is_taken_over_from_after_its_lease_and_not_before(open_rig: OpenRig) -> None:
    fact = escalated("q")
    async with workers(open_rig, "a") as (worker,):
        await worker.bus.append(claim(fact, "dead"), after=0)
        began_s = time.monotonic()
        assert (await worker.answer(fact)).answer.text == "a"
        assert LEASE_S <= time.monotonic() - began_s < LEASE_S + 5.0
        assert worker.outcomes == {"taken_over": 1}


async def test_a_worker_that_goes_on_is_not_taken_over_from(open_rig: OpenRig) -> None:
    async with workers(open_rig, "a", "b") as (slow, waiting):
        slow.may_answer.clear()
        answers = [asyncio.create_task(slow.answer(escalated("q")))]
        await slow.is_asked.wait()
        answers.append(asyncio.create_task(waiting.answer(escalated("q"))))
        await asyncio.sleep(3 * LEASE_S)
        slow.may_answer.set()
        assert [(await answer).answer.text for answer in answers] == ["a", "a"]
        assert waiting.calls == 0


async def test_what_a_frozen_worker_works_out_late_is_dropped(open_rig: OpenRig) -> None:
    fact = escalated("q")
    async with workers(open_rig, "frozen") as (frozen,):
        frozen.may_answer.clear()
        late = asyncio.create_task(frozen.answer(fact))
        await frozen.is_asked.wait()
        sequence, _ = await claimed(frozen.bus, fact)
        sequence = await frozen.bus.append(claim(fact, "successor"), after=sequence)
        frozen.may_answer.set()
        await asyncio.sleep(0.1)
        assert not late.done(), "it waits for its successor"
        await frozen.bus.append(claim(fact, "successor", verdict=verdict(fact, "successor")), after=sequence)
        assert (await late).answer.text == "successor"
        assert frozen.outcomes == {"fenced": 1, "shared": 1}


async def test_a_failure_is_told_to_who_waits_and_the_next_one_may_try_at_once(open_rig: OpenRig) -> None:
    async with workers(open_rig, "a", "b") as (failing, waiting):
        failing.may_answer.clear()
        failing.error = ValueError("it cannot be answered")
        first = asyncio.create_task(failing.answer(escalated("q")))
        await failing.is_asked.wait()
        second = asyncio.create_task(waiting.answer(escalated("q")))
        await asyncio.sleep(0.05)
        failing.may_answer.set()
        with pytest.raises(ValueError, match="cannot be answered"):
            await first
        with pytest.raises(RetryLaterError, match="cannot be answered"):
            await second
        assert waiting.calls == 0
        began_s = time.monotonic()
        assert (await waiting.answer(escalated("q"))).answer.text == "b"
        assert time.monotonic() - began_s < LEASE_S


async def test_a_worker_that_drains_leaves_its_work_to_the_next_one_at_once(open_rig: OpenRig) -> None:
    fact = escalated("q")
    async with workers(open_rig, "a", "b") as (drained, other):
        drained.may_answer.clear()
        task = asyncio.create_task(drained.answer(fact))
        await drained.is_asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert (await claimed(other.bus, fact))[1] == claim(fact, None)
        began_s = time.monotonic()
        assert (await other.answer(fact)).answer.text == "b"
        assert time.monotonic() - began_s < LEASE_S
        assert other.outcomes == {"worked": 1}


async def test_a_server_that_loses_its_memory_costs_no_second_call(tmp_path: Path) -> None:
    fact = escalated("q")
    async with on_jetstream(tmp_path) as rig, rig.peer() as bus:
        worker = HubWorker(bus, "a")
        worker.may_answer.clear()
        answer = asyncio.create_task(worker.answer(fact))
        await worker.is_asked.wait()
        rig.server.kill()
        await rig.server.start()
        await asyncio.sleep(LEASE_S)
        worker.may_answer.set()
        assert (await asyncio.wait_for(answer, 20.0)).answer.text == "a"
        assert (await claimed(bus, fact))[1] == replace(claim(fact, worker.claims.worker), verdict=verdict(fact, "a"))
        assert worker.calls == 1


async def test_where_no_claim_can_be_stored_the_answer_comes_all_the_same(tmp_path: Path) -> None:
    async with on_jetstream(tmp_path) as rig, rig.peer() as bus:
        worker = HubWorker(bus, "a")
        rig.server.kill()
        async with asyncio.timeout(10):
            assert (await worker.answer(escalated("q"))).answer.text == "a"
        assert worker.outcomes == {"unclaimed": 1}
        await rig.server.start()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=40), st.integers(1, 6))
def test_a_lease_is_over_when_a_claim_has_not_moved_for_all_of_it(looks: list[tuple[int, int]], lease: int) -> None:
    now, seen = 0, list[tuple[int, int]]()
    watch = ClaimLease(lease, lambda: float(now))
    for sequence, passed in looks:
        now += passed
        seen.append((now, sequence + 1))
        since = now
        for at, then in reversed(seen):
            if then != sequence + 1:
                break
            since = at
        assert watch.is_over(sequence + 1) is (now - since >= lease)
