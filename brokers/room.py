"""A full disk or stream is waited for: work that an error says has no room is repeated until it has.

An attempt that had no room says nothing about the message: counted, it would end accepted work as a dead letter.
Next: worker.py, which works so."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from tidegate.brokers.base import StoreStuckError

log = structlog.get_logger()
T = TypeVar("T")

AGAIN_S = 1.0
"""How long work waits that had no room."""


def is_out_of_room(error: BaseException | None) -> bool:
    """Whether the error, or one that it comes of or that came before it, is that a disk or a store is full."""
    while error is not None:
        if isinstance(error, StoreStuckError):
            return True
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        # 3.11: sqlite_errorcode is there only where SQLite itself has raised it
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__ or error.__context__  # a rollback that fails hides what made it needed
    return False


async def once_there_is_room(work: Callable[[], Awaitable[T]], again_s: float = AGAIN_S) -> T:
    """What `work` returns, repeated for as long as it has no room. Raises whatever else it raises."""
    is_told = False
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_out_of_room(error):
                raise
            if not is_told:  # once for all of a wait, which may be hours long
                log.warning("no_room", action="no_room", error=type(error).__name__, again_s=again_s)
            is_told = True
        await asyncio.sleep(again_s)
