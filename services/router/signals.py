"""What the router knows of the world: a snapshot of link and load, taken again and again beside the handler."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

from brokers.base import Unreachable, Wire
from brokers.stage import Stage
from schemas import subjects
from services.router.handler import Signals

SMOOTHING = 1 / 8
"""The weight of a new round trip in the smoothed one (RFC 6298, section 2)."""
PING_TIMEOUT_S = 1.0


class Lookout:
    """Looks at the link to the hub and at the queues of `stages`. `signals` is the newest snapshot."""

    def __init__(self, house: Wire, site: str, stages: Sequence[Stage]) -> None:
        self.signals = Signals(link_up=False, rtt_ms=0.0, queue_depth=0, load=0.0)
        self._house = house
        self._ping = subjects.ping(site)
        self._stages = stages

    async def look(self) -> None:
        """Take one snapshot. Raises `TopologyMissing` where a queue was never declared."""
        link_up, rtt_ms = await self._link()
        self.signals = Signals(link_up, rtt_ms, await self._depth(), os.getloadavg()[0] / (os.cpu_count() or 1))

    async def keep_looking(self, every_s: float) -> None:
        """Take a snapshot every `every_s` seconds, for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.look()

    async def _link(self) -> tuple[bool, float]:
        sent = time.perf_counter()
        try:
            await self._house.request(self._ping, b"", timeout_s=PING_TIMEOUT_S)
        except Unreachable:
            return False, self.signals.rtt_ms
        fresh_ms = (time.perf_counter() - sent) * 1000
        known_ms = self.signals.rtt_ms
        return True, known_ms + SMOOTHING * (fresh_ms - known_ms) if known_ms else fresh_ms

    async def _depth(self) -> int:
        """The longest queue; the last known one while the server cannot say."""
        try:
            return max([await self._house.pending(stage) for stage in self._stages], default=0)
        except (Unreachable, TimeoutError):
            return self.signals.queue_depth
