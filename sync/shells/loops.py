"""The loops of a sync worker: each does its work again and again, whatever fails, and is woken when there is some.

Promises that no error ends a loop, and that a loop which fails slows down and says so. Next: faults.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

from tidegate.brokers.base import TopologyMissingError
from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas.errors import RetryLaterError
from tidegate.sync.shells.faults import Faults

SLOWEST_S = 15.0
FIRST_DELAY_S = 0.25
PASSING = (RetryLaterError, TopologyMissingError)
"""What is no fault unless it lasts: a stream may just be made anew."""
PASSING_FAILURES = 4


class Loop:
    """Calls `work` every `every_s` seconds, and at once when it was woken; after a failure sooner, then ever later.

    `source` names it among the faults; it begins after `first_s`, or when it is woken, and
    is never slower than `slowest_s` in failing.
    """

    def __init__(
        self, source: str, work: Callable[[], Awaitable[object]], every_s: float, faults: Faults,
        first_s: float = 0.0, slowest_s: float = SLOWEST_S,
    ) -> None:  # fmt: skip
        self.source = source
        self._first_s = first_s
        self._slowest_s = slowest_s
        self._work = work
        self._every_s = every_s
        self._faults = faults
        self._woken = asyncio.Event()
        self._failures = 0

    def wake(self) -> None:
        """Have it do its work now; where it is at work, once more behind that. What failed before is tried soon."""
        self._failures = 0
        self._woken.set()

    async def run(self) -> None:
        """Work, for ever."""
        await self._wait(self._first_s)
        while True:
            self._woken.clear()
            try:
                await self._work()
            except Exception as error:  # noqa: BLE001 - it is shown as a fault, and a later try may succeed
                self._failures += 1
                if self._failures > PASSING_FAILURES or not isinstance(error, PASSING):
                    self._faults.note(self.source, error)
                delay_s = min(self._slowest_s, FIRST_DELAY_S * 2 ** min(max(0, self._failures - 1), 10))
                await self._wait(delay_s)
            else:
                self._failures = 0
                self._faults.clear(self.source)
                await self._wait(self._every_s)

    async def _wait(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._woken.wait()
        except TimeoutError:
            return


@asynccontextmanager
async def running(loops: Iterable[Loop]) -> AsyncIterator[None]:
    """Have loops run until left."""
    tasks = [asyncio.create_task(loop.run(), name=loop.source) for loop in loops]
    try:
        yield
    finally:
        await end_tasks(*tasks)
