"""Looks at what is in force of a tenant again and again: once for all the stages of a process that follow it.

Promises that who waits is woken by what it has not seen, and by nothing else. Next: active.py, which follows."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

import structlog

from tidegate.brokers.process.tasks import end_tasks
from tidegate.services.packs.generations import GenerationStore

_log = structlog.get_logger()


class PointerLook(NamedTuple):
    """What was there: the pointer's file, by what changes with it, and whether there is a directory for it."""

    pointer: tuple[int, int] | None
    is_made: bool


def look_at(store: GenerationStore) -> PointerLook:
    """What is there now. Two looks differ where another generation was pointed to in between: it is a new file each
    time. Raises `OSError` for what is no directory, or may not be read."""
    try:
        found = store.pointer.stat()
    except FileNotFoundError:
        return PointerLook(None, store.directory.is_dir())
    return PointerLook((found.st_ino, found.st_mtime_ns), is_made=True)


class PointerWatch:
    """The looks at one store; see `watching_pointer`."""

    def __init__(self, store: GenerationStore) -> None:
        self._store = store
        self._last = look_at(store)
        self._changed = asyncio.Event()

    async def other_than(self, seen: PointerLook | None) -> PointerLook:
        """The newest look once it is another one than `seen`."""
        while self._last == seen:
            await self._changed.wait()
        return self._last

    async def keep_looking(self, every_s: float) -> None:
        """Look for ever. What cannot be looked at now is looked at again: what was seen last stands meanwhile, and the
        fault is logged once."""
        fault = ""
        while True:
            await asyncio.sleep(every_s)
            try:
                found, fault = look_at(self._store), ""
            except OSError as error:
                if repr(error) != fault:
                    _log.error("generation.unseen", directory=str(self._store.directory), error=str(error))
                fault = repr(error)
                continue
            if found != self._last:
                self._last = found
                self._changed.set()
                self._changed = asyncio.Event()


class _SharedWatch:
    def __init__(self, store: GenerationStore, every_s: float) -> None:
        self.watch = PointerWatch(store)
        self.looking = asyncio.create_task(self.watch.keep_looking(every_s))
        self.followers = 0


_Watches = dict[tuple[Path, float], _SharedWatch]
_OF_LOOP: WeakKeyDictionary[AbstractEventLoop, _Watches] = WeakKeyDictionary()


@asynccontextmanager
async def watching_pointer(store: GenerationStore, every_s: float) -> AsyncIterator[PointerWatch]:
    """Look at the store every `every_s` seconds while this is open: one look for all who have it open in this loop.

    A process of seven stages looked at each tenant's 140 times a second: most of what a site at rest took of the
    processor."""
    watches = _OF_LOOP.setdefault(asyncio.get_running_loop(), {})
    key = store.directory.absolute(), every_s
    shared = watches.get(key)
    if shared is None:
        shared = watches[key] = _SharedWatch(store, every_s)
    shared.followers += 1
    try:
        yield shared.watch
    finally:
        shared.followers -= 1
        if not shared.followers:
            del watches[key]
            await end_tasks(shared.looking)
