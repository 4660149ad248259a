"""Has the indexing of documents wait while the sync worker is behind with taking them in: both need the same cores.

Promises that it waits for no few messages, and never longer than `LONGEST_S` in one backlog, however long that is.
Next: indexes.py, who waits; sync/shells/intake.py, who says what was taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MANY = 64
"""So many messages at once are a backlog: what people write comes in ones and twos, and is indexed at once."""
QUIET_S = 1.0
"""A backlog has ended when so long no batch of `MANY` was taken; taking one takes half a second."""
LONGEST_S = 20.0
"""What was written is quoted at most so much later. 6 000 deltas are taken in half of it."""


class StandBack:
    """Told by the loop that takes, asked by the thread that indexes. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._backlog: tuple[float, float] | None = None
        """When it began, and when its last batch was taken: one value, as two threads use it."""
        self._ended = threading.Event()

    def took(self, messages: int) -> None:
        """So many messages were taken at once, or are about to be stored."""
        if messages < MANY:
            return
        now = self._clock()
        began = now if self._backlog is None or now - self._backlog[1] > QUIET_S else self._backlog[0]
        self._backlog = (began, now)

    def delay_s(self) -> float:
        """How long to wait before looking again; 0: go on."""
        if self._backlog is None:
            return 0.0
        (began, last), now = self._backlog, self._clock()
        return max(0.0, min(last + QUIET_S, began + LONGEST_S) - now)

    def wait(self) -> None:
        """Return once there is no backlog, or it has lasted `LONGEST_S`, or at the end. Blocks the thread."""
        while (delay := self.delay_s()) > 0 and not self._ended.wait(delay):
            pass

    def end(self) -> None:
        """Nobody waits any more, so that the worker can end."""
        self._ended.set()
