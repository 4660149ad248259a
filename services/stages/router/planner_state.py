"""What the planner has learned, kept in a file of the site, so that a restart does not forget it.

Promises that a file that cannot be read or written costs what was learned and nothing else. Next: experience.py of
services/planning.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from tidegate.services.fleet.endpoints import StateFileDamagedError, decode_state, write_state
from tidegate.services.planning.experience import PlannerState

SAVE_EVERY_S = 5.0
_log = structlog.get_logger()


def load_state(path: Path) -> PlannerState | None:
    """What was kept; None where there is nothing, or nothing that can be read, which is logged."""
    try:
        return decode_state(path, PlannerState)
    except FileNotFoundError:
        return None
    except (StateFileDamagedError, OSError) as error:
        _log.warning("planner.state_unreadable", path=str(path), error=str(error))
        return None


def save_state(path: Path, state: PlannerState) -> None:
    """Keep it, whole or not at all; where there is no room that is logged."""
    try:
        write_state(path, state)
    except OSError as error:
        _log.warning("planner.state_unwritable", path=str(path), error=str(error))


@asynccontextmanager
async def kept_in(
    path: Path, current: Callable[[], PlannerState | None], every_s: float = SAVE_EVERY_S
) -> AsyncIterator[None]:
    """Keep what `current` gives every `every_s` seconds and on leaving; None: nothing has changed."""

    async def save_now() -> None:
        state = current()
        if state is not None:
            await asyncio.to_thread(save_state, path, state)

    async def keep_saving() -> None:
        while not stopped.is_set():
            await save_now()
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await stopped.wait()

    stopped = asyncio.Event()
    saving = asyncio.create_task(keep_saving())
    try:
        yield
    finally:  # the last save is awaited, so that no two of them write at once
        stopped.set()
        await saving
        await save_now()  # what changed while the one before was written
