"""Whether the site has room for one more request: the disk below its state directory, and streams that store.

Promises a refusal within milliseconds while there is none, and that it ends by itself. Next: ingress.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

from tidegate.brokers.process.disk import disk_usage
from tidegate.brokers.topology.fill import OF_REQUESTS, StreamFill

PROBE_EVERY_S = 2.0
"""While the stream stores nothing, so often one request is let through to see whether it does again."""
MIB = 1 << 20
RoomFault = Literal["", "no_room", "stream_full", "store_stuck"]


class StoreRoom:
    """Asked before a request is stored, and told what became of it."""

    def __init__(self, state_dir: Path, min_free_mib: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._state_dir = state_dir
        self._min_free_mib = min_free_mib
        self._clock = clock
        self._stuck_until_s: float | None = None
        self.filling: tuple[StreamFill, ...] = ()
        """The streams of requests that fill up, as they were looked at last."""

    def look_at(self, fills: Iterable[StreamFill]) -> None:
        """This is how full the streams are now."""
        self.filling = tuple(each for each in fills if each.stream in OF_REQUESTS and each.is_near)

    @property
    def full(self) -> tuple[str, ...]:
        """The streams that have no room for another request."""
        return tuple(each.stream for each in self.filling if each.is_full)

    @property
    def why(self) -> str:
        """The same as `fault`, in words for whoever asks."""
        words = {"no_room": "its disk is full", "stream_full": f"{', '.join(self.full)} has no room"}
        return words.get(self.fault, "it cannot store anything")

    @property
    def fault(self) -> RoomFault:
        """Why nothing more is stored; empty where it is."""
        if disk_usage(self._state_dir).free < self._min_free_mib * MIB:
            return "no_room"
        if self.full:
            return "stream_full"
        return "store_stuck" if self._stuck_until_s is not None else ""

    def may_store(self) -> bool:
        """Whether to try. While the stream is stuck, True once in `PROBE_EVERY_S`."""
        fault, now_s = self.fault, self._clock()
        if fault == "store_stuck" and self._stuck_until_s is not None and now_s >= self._stuck_until_s:
            self._stuck_until_s = now_s + PROBE_EVERY_S
            return True
        return fault == ""

    def is_stuck(self) -> None:
        """A request was not stored, for the stream stores nothing."""
        self._stuck_until_s = self._clock() + PROBE_EVERY_S

    def has_stored(self) -> None:
        """A request was stored."""
        self._stuck_until_s = None
