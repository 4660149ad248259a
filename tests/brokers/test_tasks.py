"""Tasks end, also those that a cancellation passed by."""

from __future__ import annotations

import asyncio

import pytest

from tidegate.brokers.process import tasks
from tidegate.brokers.process.tasks import end_tasks, not_losing_cancellation

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


@pytest.mark.parametrize("error", [None, ConnectionError("gone")])
async def test_who_is_cancelled_as_the_reply_comes_is_cancelled(error: Exception | None) -> None:
    reply: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ask() -> int:
        return await not_losing_cancellation(asyncio.wait_for(reply, 10))

    task = asyncio.create_task(ask())
    await asyncio.sleep(0.01)
    if error is None:
        reply.set_result(1)
    else:
        reply.set_exception(error)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_was_cancelled_before_may_still_ask_as_it_ends() -> None:
    asked: list[int] = []

    async def work() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            asked.append(await not_losing_cancellation(asyncio.sleep(0, 7)))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asked == [7]


async def test_a_loop_of_replies_ends_with_its_time() -> None:
    async def ask_for_ever() -> None:
        loop = asyncio.get_running_loop()

        def answer(reply: asyncio.Future[int]) -> None:
            if not reply.done():  # nobody waits any more
                reply.set_result(1)

        while True:
            reply: asyncio.Future[int] = loop.create_future()
            loop.call_later(0.001, answer, reply)
            await not_losing_cancellation(asyncio.wait_for(reply, 10))

    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await ask_for_ever()
