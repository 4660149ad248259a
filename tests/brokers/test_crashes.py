"""What both buses promise when workers die, and when they drain."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.broker_harness import OpenRig
from tests.support.scripted_stage import (
    STAGE,
    Script,
    ask,
    asked,
    holds,
    no_more_pending,
    stuck,
    texts,
    working,
)
from tidegate.brokers.base import Delivery
from tidegate.brokers.worker import keep_alive, run, settle

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class LostAck:
    """A delivery whose worker died after it had published and before its ack reached the server."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __getattr__(self, name: str) -> Any:
        return getattr(self._delivery, name)

    async def ack(self) -> None:
        return


class TestCrashes:
    async def test_a_crash_between_publish_and_ack_stores_the_output_once(self, open_rig: OpenRig) -> None:
        script = Script()
        async with open_rig(STAGE, ack_wait_s=0.2) as rig:
            await ask(rig, asked("a"))
            async with rig.bus.subscribe(STAGE) as inbox:
                delivery = await inbox.next(wait_s=5.0)
                await settle(STAGE, script, LostAck(delivery), rig.bus)
            async with working(STAGE, script, rig.bus):
                await no_more_pending(rig, STAGE)
            assert script.calls["a"] == 2
            assert await texts(rig) == ["a"]

    async def test_a_message_that_is_worked_on_is_not_given_to_a_peer(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE, ack_wait_s=0.3) as rig:
            await ask(rig, asked("a"))
            async with rig.bus.subscribe(STAGE) as mine:
                delivery = await mine.next(wait_s=5.0)
                async with rig.peer() as other, other.subscribe(STAGE) as theirs:
                    with keep_alive(delivery, every_s=0.03):
                        assert await mine.next(wait_s=0.25) is None
                        assert await theirs.next(wait_s=0.25) is None
                again = await mine.next(wait_s=5.0)
                assert again.attempt > 1

    async def test_a_late_ack_still_ends_a_message_that_was_delivered_again(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE, ack_wait_s=0.2) as rig:
            await ask(rig, asked("a"))
            async with rig.bus.subscribe(STAGE) as inbox:
                first, second = await inbox.next(wait_s=5.0), await inbox.next(wait_s=5.0)
                assert (first.attempt, second.attempt) == (1, 2)
                await first.ack()
                assert await inbox.next(wait_s=0.4) is None
            await no_more_pending(rig, STAGE)

    async def test_a_verdict_ends_a_delivery_though_its_worker_leaves_at_once(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE, ack_wait_s=0.1) as rig:
            await ask(rig, asked("a"))
            async with rig.peer() as leaver, leaver.subscribe(STAGE) as inbox:
                await (await inbox.next(wait_s=5.0)).ack()
            async with rig.bus.subscribe(STAGE) as inbox:
                assert await inbox.next(wait_s=0.25) is None
            await no_more_pending(rig, STAGE)


class TestDrain:
    async def test_a_drain_finishes_what_is_in_flight(self, open_rig: OpenRig) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def act() -> None:
            begun.set()
            await go_on.wait()

        async with open_rig(STAGE) as rig:
            async with working(STAGE, Script(slow=act), rig.bus):
                await ask(rig, asked("a", "slow"))
                await begun.wait()
                asyncio.get_running_loop().call_later(0.1, go_on.set)
            assert await texts(rig) == ["slow"]

    async def test_a_drain_that_runs_out_hands_work_to_a_peer_at_once(self, open_rig: OpenRig) -> None:
        begun = asyncio.Event()

        async def act() -> None:
            begun.set()
            await stuck()

        async with open_rig(STAGE) as rig, rig.peer() as other:
            stop = asyncio.Event()
            job = asyncio.create_task(run(STAGE, Script(stuck=act), rig.bus, stop, grace_s=0.1))
            await ask(rig, asked("a", "stuck"))
            await begun.wait()
            stop.set()
            with pytest.raises(TimeoutError):
                await job
            peer = Script()
            async with working(STAGE, peer, other):
                await holds(rig, "PIPE", 1)  # long before the ack wait of thirty seconds
            assert peer.calls["stuck"] == 1

    async def test_what_was_not_begun_goes_to_a_peer_before_the_drain_ends(self, open_rig: OpenRig) -> None:
        single, begun, go_on = replace(STAGE, concurrency=1), asyncio.Event(), asyncio.Event()

        async def act() -> None:
            begun.set()
            await go_on.wait()

        async with open_rig(single) as rig, rig.peer() as other:
            await ask(rig, asked("a", "slow"), *(asked(f"b{n}") for n in range(6)))
            stop = asyncio.Event()
            mine = Script(slow=act)
            job = asyncio.create_task(run(single, mine, rig.bus, stop, grace_s=10.0))
            await begun.wait()
            stop.set()
            async with working(single, Script(), other):
                await holds(rig, "PIPE", 6)
                assert not job.done()
                go_on.set()
                await job
            assert mine.calls == {"slow": 1}
            assert len(await texts(rig)) == 7

    async def test_stop_is_noticed_at_once_by_a_worker_that_has_nothing_to_do(self, open_rig: OpenRig) -> None:
        async with open_rig(STAGE) as rig:
            stop = asyncio.Event()
            job = asyncio.create_task(run(STAGE, Script(), rig.bus, stop))
            await asyncio.sleep(0.05)
            stop.set()
            async with asyncio.timeout(5):
                await job
