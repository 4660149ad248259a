"""What a process holds in memory: the allocator is kept from hoarding, and the garbage collector from walking through
what is there to stay.

Models, indices and imported modules are hundreds of thousands of objects that no request makes or drops; collecting
among them took 5 % of a busy site's time. What requests have left free is given back when a process comes to rest.
Next: lifecycle.py."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from tidegate.brokers.process.tasks import end_tasks

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)
_LARGE_BYTES = 1 << 20
LOOK_EVERY_S = 5.0
RESTS_BELOW = 0.1
"""Of a processor, in the time between two looks: less is at rest. A site that nobody asks takes some 0.02."""
WORKED_S = 0.3
"""Of a processor since memory was last given back, which takes some milliseconds: less has left little free."""


def keep_allocator_small() -> None:
    """Have glibc give large blocks back as they are freed, and share its arenas among threads; elsewhere nothing.

    It learns to keep blocks of up to 32 MB, and gives each thread an arena, where what a model was read through stays
    for ever. To be called before there are threads. Measured with a site's worker: decision 0057.
    """
    for option, value in ((_M_ARENA_MAX, 2), (_M_MMAP_THRESHOLD, _LARGE_BYTES), (_M_TRIM_THRESHOLD, _LARGE_BYTES)):
        _call_glibc("mallopt", option, value)


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Leave out of every collection, until left, what there is now; what is garbage already goes first, and what the
    allocator holds free goes back to the system."""
    gc.collect()
    _call_glibc("malloc_trim", 0)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class RestWatch:
    """Says when a process has come to rest after work, from the processor time that it has used."""

    def __init__(self, used_s: float) -> None:
        self._looked_s = self._trimmed_s = used_s

    def is_due(self, used_s: float, passed_s: float) -> bool:
        """Whether memory is to be given back now: `passed_s` seconds after the last look, and once for each work."""
        rests = used_s - self._looked_s < RESTS_BELOW * passed_s
        self._looked_s = used_s
        if not rests or used_s - self._trimmed_s < WORKED_S:
            return False
        self._trimmed_s = used_s
        return True


@asynccontextmanager
async def trimmed_at_rest(every_s: float = LOOK_EVERY_S) -> AsyncIterator[None]:
    """Until left, give back to the system what the allocator holds free, whenever the process comes to rest."""
    watch = RestWatch(time.process_time())

    async def look() -> None:
        while True:
            await asyncio.sleep(every_s)
            if watch.is_due(time.process_time(), every_s):
                _call_glibc("malloc_trim", 0)

    looking = asyncio.create_task(look(), name="heap")
    try:
        yield
    finally:
        await end_tasks(looking)


def _call_glibc(name: str, *arguments: int) -> None:
    """Call what glibc alone has, and other libraries either lack or ignore."""
    function: Any = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)
