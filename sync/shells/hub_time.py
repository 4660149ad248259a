"""The hub's time as a site knows it: what the hub told last, and what has passed since by a clock that never jumps.

Promises an age of what is held that a wrong wall clock does not change, once the hub was heard. Next: site_shell.py."""

from __future__ import annotations

import time
from collections.abc import Callable


class HubTime:
    """`wall` gives milliseconds since 1970; it counts for as long as nothing was heard of the hub."""

    def __init__(self, wall: Callable[[], int], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._heard: tuple[int, float] | None = None

    def hear(self, hub_ms: int) -> None:
        """The hub told its time just now."""
        self._heard = (hub_ms, self._monotonic())

    def now_ms(self) -> int:
        """Milliseconds since 1970, by the hub's clock as far as that is known."""
        if self._heard is None:
            return self._wall()
        hub_ms, at_s = self._heard
        return hub_ms + round((self._monotonic() - at_s) * 1000)
