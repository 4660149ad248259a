"""What a process holds in memory: the allocator is kept from hoarding, and the garbage collector from walking through
what is there to stay.

Models, indices and imported modules are hundreds of thousands of objects that no request makes or drops; collecting
among them took 5 % of a busy site's time. Next: lifecycle.py."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # mallopt(3)
_LARGE_BYTES = 1 << 20


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


def _call_glibc(name: str, *arguments: int) -> None:
    """Call what glibc alone has, and other libraries either lack or ignore."""
    function: Any = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)
