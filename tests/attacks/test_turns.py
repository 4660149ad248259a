"""A crowd of one tenant beside another: turns are taken by tenant, and too many are refused at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gateway_site import asked, site
from tidegate.schemas import Published, replace
from tidegate.services.gateway.refusals import RequestRefusedError
from tidegate.services.gateway.settings import GatewayLimits
from tidegate.services.gateway.turns import AFTER_S, AT_WORK_S, BESIDE_S, Turns

pytestmark = pytest.mark.anyio
LIMITS = GatewayLimits(max_in_flight=6, crowd_from=3, max_in_flight_of_crowd=2)
STEPS = st.lists(st.tuples(st.sampled_from(["ask", "end", "give up", "later"]), st.integers(0, 8)), max_size=60)


class Crowd:
    """Requests that take turns, by a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turns = Turns(LIMITS, lambda: self.now_s)
        self.order: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, tenant: str, rid: str, work_s: float = 1000.0) -> None:
        async def wait() -> None:
            await self.turns.take(tenant, rid, work_s)
            self.order.append(f"{tenant}{rid}")

        self.tasks[f"{tenant}{rid}"] = asyncio.create_task(wait())
        await asyncio.sleep(0)

    async def end(self, tenant: str, rid: str) -> None:
        self.turns.end(tenant, rid)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def pass_by(self, seconds: float) -> None:
        """Let time pass, and the timer that was set for it go off."""
        self.now_s += seconds
        self.turns._let_in()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def let_in(self, tenant: str) -> list[str]:
        return [name for name in self.order if name[0] == tenant]

    async def leave(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def test_a_tenant_alone_has_all_turns_and_one_that_comes_waits_for_none_of_its_crowd() -> None:
    crowd = Crowd()
    for n in range(3_000):
        await crowd.ask("a", str(n))
    assert len(crowd.order) == LIMITS.max_in_flight
    await crowd.ask("b", "0")
    assert crowd.order[-1] == "b0"
    await crowd.leave()


async def test_a_crowd_has_its_few_turns_in_order_while_another_tenant_asks_and_all_of_them_afterwards() -> None:
    crowd = Crowd()
    for n in range(20):
        await crowd.ask("a", str(n))
    await crowd.ask("b", "0")
    for n in range(5):  # the crowd's turns are not given on before it is down to its few
        await crowd.end("a", str(n))
    await crowd.pass_by(AT_WORK_S)
    assert crowd.order == [*(f"a{n}" for n in range(6)), "b0", "a6"]
    await crowd.ask("b", "1")
    await crowd.ask("b", "2")
    assert crowd.order[-2:] == ["b1", "b2"]
    crowd.now_s += BESIDE_S + 1
    await crowd.end("b", "1")
    assert crowd.order[-4:] == ["a7", "a8", "a9", "a10"]
    await crowd.leave()


async def test_a_crowd_is_held_back_for_whoever_asks_one_after_the_other_and_gets_one_in_each_of_its_times() -> None:
    crowd = Crowd()
    for n in range(20):
        await crowd.ask("a", str(n))
    await crowd.ask("b", "first")
    for n in range(6):
        await crowd.end("a", str(n))
    await crowd.end("b", "first")
    assert len(crowd.let_in("a")) == 6
    for n in range(round(3 * LIMITS.crowd_held_s / 0.125)):
        await crowd.ask("b", str(n))
        assert crowd.order[-1] == f"b{n}", "at once"
        await crowd.pass_by(0.125)
        await crowd.end("b", str(n))
        for name in crowd.let_in("a")[6:]:
            await crowd.end("a", name[1:])
    assert len(crowd.let_in("a")) == 6 + 3
    await crowd.pass_by(AFTER_S)
    assert len(crowd.let_in("a")) == 6 + 3 + LIMITS.max_in_flight_of_crowd, "nobody has asked again"
    await crowd.leave()


async def test_what_waits_for_somebody_else_holds_no_crowd_back() -> None:
    crowd = Crowd()
    for n in range(20):
        await crowd.ask("a", str(n))
    await crowd.ask("b", "slow")
    for n in range(6):
        await crowd.end("a", str(n))
    await crowd.pass_by(AT_WORK_S / 2)
    assert len(crowd.let_in("a")) == 6
    await crowd.pass_by(AT_WORK_S / 2)
    assert len(crowd.let_in("a")) == 6 + LIMITS.max_in_flight_of_crowd
    await crowd.leave()


async def test_a_crowd_that_is_held_back_goes_on_by_itself() -> None:
    turns = Turns(replace(LIMITS, max_in_flight=1, max_in_flight_of_crowd=1), time.monotonic)
    waiting = [asyncio.create_task(turns.take("a", str(n), 1000.0)) for n in range(20)]
    await asyncio.sleep(0)
    await turns.take("b", "0", 1000.0)
    turns.end("a", "0")
    turns.end("b", "0")
    await asyncio.sleep(0)
    assert not waiting[1].done()
    async with asyncio.timeout(10.0):  # nothing else happens
        await waiting[1]
    turns.close()
    await asyncio.gather(*waiting)


async def test_crowds_beside_each_other_share_what_there_is() -> None:
    crowd = Crowd()
    for n in range(20):
        await crowd.ask("a", str(n))
    for n in range(20):
        await crowd.ask("b", str(n))
    for n in range(6):
        await crowd.end("a", str(n))
    at_work = Counter(tenant for tenant, _ in crowd.turns._at_work)
    assert at_work == {"a": 3, "b": 3}
    await crowd.leave()


async def test_those_who_give_up_are_no_part_of_a_crowd_any_more() -> None:
    crowd = Crowd()
    for n in range(20):
        await crowd.ask("a", str(n))
    await crowd.ask("b", "0")
    for n in range(4):
        await crowd.end("a", str(n))
    assert len([name for name in crowd.order if name[0] == "a"]) == 6
    for n in range(6, 19):
        crowd.tasks[f"a{n}"].cancel()
    for _ in range(4):
        await asyncio.sleep(0)
    assert crowd.order[-1] == "a19"
    await crowd.leave()


async def test_tenants_with_a_few_requests_each_never_wait_for_each_other() -> None:
    crowd = Crowd()
    for tenant in "abcdef":
        for n in range(LIMITS.crowd_from):
            await crowd.ask(tenant, str(n))
    assert len(crowd.order) == 6 * LIMITS.crowd_from
    await crowd.leave()


async def test_a_request_of_which_nothing_is_heard_ends_with_its_time() -> None:
    crowd = Crowd()
    for n in range(6):
        await crowd.ask("a", str(n), work_s=10.0)
    await crowd.ask("a", "6")
    assert len(crowd.order) == 6
    crowd.now_s = 11.0
    await crowd.ask("a", "7")
    await asyncio.sleep(0)
    assert sorted(crowd.order[6:]) == ["a6", "a7"]
    await crowd.leave()


@given(STEPS)
def test_whatever_comes_in_whatever_order_bounds_hold_and_nobody_is_forgotten(steps: list[tuple[str, int]]) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, int]]) -> None:
    crowd, asked_so_far = Crowd(), 0
    for what, number in steps:
        tenant = "abc"[number % 3]
        waiting = [name for name, task in crowd.tasks.items() if not task.done()]
        if what == "ask":
            await crowd.ask(tenant, str(asked_so_far))
            asked_so_far += 1
        elif what == "end" and crowd.order:
            name = crowd.order[number % len(crowd.order)]
            await crowd.end(name[0], name[1:])
        elif what == "give up" and waiting:
            crowd.tasks[waiting[number % len(waiting)]].cancel()
            await asyncio.sleep(0)
        elif what == "later":
            await crowd.pass_by(number / 4)
        by_tenant = Counter(tenant for tenant, _ in crowd.turns._at_work)
        assert all(count <= LIMITS.max_in_flight for count in by_tenant.values())
        waiting_tenants = {name[0] for name, task in crowd.tasks.items() if not task.done()}
        for tenant in waiting_tenants:
            held_s = crowd.now_s - crowd.turns._let_in_at_s.get(tenant, -math.inf)
            assert by_tenant[tenant] >= LIMITS.max_in_flight_of_crowd or held_s < LIMITS.crowd_held_s
    while any(not task.done() for task in crowd.tasks.values()):
        await crowd.pass_by(LIMITS.crowd_held_s)
        for tenant, rid in tuple(crowd.turns._at_work):
            await crowd.end(tenant, rid)


@pytest.mark.parametrize(
    ("limits", "same", "other"),
    [
        (GatewayLimits(max_waiting_per_tenant=2), {"asker": "eve"}, {"tenant": "bank"}),
        (GatewayLimits(max_waiting_per_caller=2), {"asker": "key:1/eve"}, {"asker": "key:2/ada"}),
    ],
    ids=["tenant", "caller"],
)
async def test_too_many_of_one_are_refused_while_another_one_is_answered(
    tmp_path: Path, limits: GatewayLimits, same: dict[str, str], other: dict[str, str]
) -> None:
    async with site(tmp_path, limits=limits) as running:
        for n in range(2):
            await running.ingress.accept(asked("wait here", asker=f"key:1/{n}", budget_ms=20_000))
        with pytest.raises(RequestRefusedError) as refused:
            await running.ingress.accept(asked("wait here", **same))
        assert refused.value.refused.code == "busy"
        assert isinstance(await running.ingress.submit(replace(asked(), **other)), Published)
        running.may_answer.set()


async def test_those_whose_turn_has_not_come_are_told_that_the_site_closes(tmp_path: Path) -> None:
    async with site(tmp_path, limits=GatewayLimits(max_in_flight=1)) as running:
        await running.ingress.accept(asked("wait here", budget_ms=20_000))
        waiting = asyncio.create_task(running.ingress.accept(asked(budget_ms=20_000)))
        await asyncio.sleep(0.05)
        closing = asyncio.create_task(running.ingress.close())
        with pytest.raises(RequestRefusedError) as refused:
            async with asyncio.timeout(5):
                await waiting
        assert refused.value.refused.code == "closing"
        running.may_answer.set()
        await closing


async def test_a_request_whose_turn_does_not_come_is_refused_and_not_stored(tmp_path: Path) -> None:
    async with site(tmp_path, limits=GatewayLimits(max_in_flight=1)) as running:
        first = await running.ingress.accept(asked("wait here", budget_ms=20_000))
        with pytest.raises(RequestRefusedError) as refused:
            await running.ingress.accept(asked(rid="second", budget_ms=200))
        assert refused.value.refused.code == "busy"
        assert await running.bus.last("ASKS", "asks.kiosk.second") is None
        running.may_answer.set()
        assert isinstance(await first.answer(), Published)
        assert isinstance(await running.ingress.submit(asked(rid="second")), Published)
        assert len(running.ingress.turns) == 0
