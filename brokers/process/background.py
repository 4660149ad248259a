"""Loops beside the work of a process: started together, ended together, and heard of where one of them fails.

Next: tasks.py, which ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from tidegate.brokers.base import report
from tidegate.brokers.process.tasks import end_tasks


@asynccontextmanager
async def running(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the loops until left. One that raises goes to the loop's exception handler, and the others go on."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    for task in tasks:
        task.add_done_callback(_report)
    try:
        yield
    finally:
        await end_tasks(*tasks)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        report(error, "a background loop ended")
