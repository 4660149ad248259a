"""Has the indexing of documents wait while the sync worker is behind with taking them in: both need the same cores.

Promises that it waits for no few messages, that it gets on at least once in `EACH_S`, and that a backlog which has
lasted `WHOLE_S` holds nothing up any more. Next: indexes.py, who waits; sync/shells/intake.py, who says what was
taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

MANY = 64
"""So many messages at once are a backlog: what people write comes in ones and twos, and is indexed at once."""
QUIET_S = 1.0
"""A backlog has ended when so long no batch of `MANY` was in hand."""
EACH_S = 10.0
"""So long one batch of documents is held up: 6 000 deltas are taken in that time."""
WHOLE_S = 60.0
"""What was written is quoted at most so much later, by this."""


class StandBack:
    """Told by the loop that takes, asked by the thread that indexes. `clock` counts seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._backlog: tuple[float, float] | None = None
        """When it began, and when its last batch was taken: one value, as two threads use it."""
        self._in_hand = 0
        self._went_on = clock()
        self._ended = threading.Event()

    def took(self, messages: int, is_settled: bool = True) -> None:
        """So many messages were taken at once, and are about to be stored, or are.

        A batch that is in hand counts for as long as it takes: on a machine with too much to do that is seconds, and
        more of them where the indexing does not stand back.
        """
        if messages < MANY:
            return
        now = self._clock()
        is_going_on = self._backlog is not None and (self._in_hand or now - self._backlog[1] <= QUIET_S)
        began = self._backlog[0] if self._backlog is not None and is_going_on else now
        self._backlog = (began, now)
        self._in_hand = max(0, self._in_hand - 1) if is_settled else self._in_hand + 1

    def delay_s(self) -> float:
        """How long to wait before looking again; 0: go on."""
        if self._backlog is None:
            return 0.0
        began, last = self._backlog
        quiet_at = (self._clock() if self._in_hand else last) + QUIET_S
        until = min(quiet_at, max(began, self._went_on) + EACH_S, began + WHOLE_S)
        return min(QUIET_S, max(0.0, until - self._clock()))  # a sum of floats less one of them may be a bit more

    def wait(self) -> None:
        """Return when the next batch of documents may be indexed, or at the end. Blocks the thread."""
        while (delay := self.delay_s()) > 0 and not self._ended.wait(delay):
            pass
        self._went_on = self._clock()

    def end(self) -> None:
        """Nobody waits any more, so that the worker can end."""
        self._ended.set()
