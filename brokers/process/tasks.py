"""Ends background tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

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
