"""Tasks end, also those that a cancellation passed by."""

from __future__ import annotations

import asyncio

import pytest

from tidegate.brokers.process import tasks
from tidegate.brokers.process.tasks import end_tasks

pytestmark = pytest.mark.anyio


async def test_a_task_that_lost_its_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    reply = asyncio.get_running_loop().create_future()

    async def ask_for_ever() -> None:
        await asyncio.wait_for(reply, 60)
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost.append(True)
                if len(lost) > 1:
                    raise

    lost: list[bool] = []
    asking, resting = asyncio.create_task(ask_for_ever()), asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    reply.set_result(None)  # at the same moment as the first cancellation
    try:
        async with asyncio.timeout(5):
            await end_tasks(asking, resting)
    finally:
        lost.append(True)  # should it go on, the next cancellation ends it
    assert asking.cancelled()
    assert resting.cancelled()


async def test_what_has_ended_is_left_alone_and_what_fails_is_waited_for() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("on the way out")

    ended, failing = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fail())
    await ended
    async with asyncio.timeout(5):
        await end_tasks(ended, failing)
    assert not ended.cancelled()
    assert isinstance(failing.exception(), ValueError)
