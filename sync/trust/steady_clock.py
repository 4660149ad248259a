"""Keeps the time of a machine as sync/rules/steady_clock.py has it, in a file where others are to go by it too.

Promises that no two readings go back, in a process and, with a file that is stored, over its restarts. Next:
services/fleet/machine_clock.py, who goes by it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import decoder_of
from tidegate.sync.rules.staleness import Now
from tidegate.sync.rules.steady_clock import SteadyTime, steady_time
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.standing import read_machine_clock

STEADY_FILE = "clock.msgpack"
"""Its name in the directory of what a domain trusts."""
STORE_EVERY_S = 10.0
_read_steady = decoder_of(SteadyTime)


class SteadyClock:
    """The time in milliseconds since 1970 that no step of the wall clock moves. Several threads may use it.

    `path`: where it was stored, and is stored by whoever calls `store` or `keep`; None: nowhere, it begins here. Raises
    `UnreadableError` for a file that is none.
    """

    def __init__(self, path: Path | None = None, clocks: Callable[[], Now] = read_machine_clock) -> None:
        self._path = path
        self._clocks = clocks
        self._changing = threading.Lock()
        self._time = steady_time(_stored(path), clocks())

    def now_ms(self) -> int:
        """The time."""
        with self._changing:
            self._time = steady_time(self._time, self._clocks())
            return self._time.told_ms

    @property
    def fault(self) -> str:
        """That the wall clock was set, and is not gone by; empty: it was not."""
        apart_s = self._time.apart_ms // 1000
        if not apart_s:
            return ""
        way = "ahead" if apart_s > 0 else "back"
        return f"the machine's clock was set {way} by {abs(apart_s)} s; the time goes on by what has passed"

    def store(self) -> None:
        """Have a process that starts now go on from here. Raises `OSError`."""
        assert self._path is not None, "it is kept nowhere"
        self.now_ms()
        replace_file(self._path, msgspec.msgpack.encode(self._time), PRIVATE)

    async def keep(self) -> None:
        """Store it now and then, for ever. Raises `OSError`."""
        while True:
            await asyncio.to_thread(self.store)
            await asyncio.sleep(STORE_EVERY_S)


def _stored(path: Path | None) -> SteadyTime | None:
    if path is None:
        return None
    try:
        return _read_steady(path.read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UnreadableError(f"{path}: {error}", "delete it where the machine's clock is right") from error
