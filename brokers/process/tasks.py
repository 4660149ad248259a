"""Ends background tasks for certain, and what waits for a reply when it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

AGAIN_S = 0.5
"""When to cancel again; a task that ends in good order takes less."""


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks and return when all have ended; what they raised is theirs to report.

    A cancellation can be lost: `asyncio.wait_for` of Python 3.11, by which nats-py waits for every reply, returns a
    result that came at the same moment in its place (python/cpython#86296), and a loop goes on. So it is repeated.
    """
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=AGAIN_S)


async def not_losing_cancellation(work: Awaitable[T]) -> T:
    """What `work` gives. Raises `CancelledError` where this task was cancelled meanwhile, though `work` has lost that.

    For every wait by nats-py, see `end_tasks`: a loop of requests would else go on behind its `asyncio.timeout`.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        return await work
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError
