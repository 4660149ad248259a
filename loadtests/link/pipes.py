"""One direction of a link: its weather, and the pieces under way in it, in order."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections import deque
from collections.abc import Callable

import msgspec

PIECE = 4096
"""Bytes that are timed as one where there is a rate."""
WINDOW = 1 << 20
"""Bytes in flight each way at most where there is no rate."""
QUEUE_S = 0.1
"""What the sender's end buffers beyond bandwidth times delay."""
RESET = struct.pack("ii", 1, 0)


class LinkConditions(msgspec.Struct, frozen=True, kw_only=True):
    """One direction: every piece takes `delay_ms` and up to `jitter_ms` more; `rate` is in bytes/s, 0 for no bound."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    rate: float = 0.0

    @property
    def window(self) -> int:
        """Bytes in flight at which the sender is made to wait."""
        if not self.rate:
            return WINDOW
        return max(4 * PIECE, int(self.rate * ((self.delay_ms + self.jitter_ms) / 1e3 + QUEUE_S)))


class Way:
    """One direction of a link, shared by all of its connections: `entered` and `left` count bytes."""

    def __init__(self, seed: str) -> None:
        self.conditions = LinkConditions()
        self.is_stalled = False
        self.entered = 0
        self.left = 0
        self.pipes: set[Pipe] = set()
        self._random = random.Random(seed)
        self._free_at_s = 0.0

    def set(self, **changed: float) -> None:
        """Change the weather; what is under way keeps its time, and what comes after does not overtake it."""
        self.conditions = msgspec.structs.replace(self.conditions, **changed)

    def due_s(self, size: int, now_s: float) -> float:
        """When a piece that enters now leaves, by the monotonic clock: after those before it, at the rate, delayed."""
        conditions = self.conditions
        self._free_at_s = max(now_s, self._free_at_s) + (size / conditions.rate if conditions.rate else 0.0)
        return self._free_at_s + (conditions.delay_ms + self._random.uniform(0.0, conditions.jitter_ms)) / 1e3

    def stall(self) -> None:
        """A black hole: nothing leaves, and nobody is notified."""
        self.is_stalled = True

    def heal(self) -> None:
        """What was held back is sent again, and takes its time again."""
        if self.is_stalled:
            self.is_stalled = False
            self._free_at_s = 0.0
            for pipe in tuple(self.pipes):
                pipe.send_again()


class Pipe:
    """One direction of one connection: pieces in order, each with the time before which it does not leave."""

    def __init__(self, way: Way, settle: Callable[[], None]) -> None:
        self.is_over = False
        self._way = way
        self._settle = settle
        self._pieces: deque[tuple[float, bytes, bool]] = deque()
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_ended = False
        self._is_choked = False
        self.source: asyncio.Transport | None = None
        self.sink: asyncio.Transport | None = None
        way.pipes.add(self)

    def take(self, data: bytes) -> None:
        """Bytes from the source; it is made to wait while the window is full."""
        if self.is_over:
            return
        self._way.entered += len(data)
        size = PIECE if self._way.conditions.rate else max(1, len(data))
        for start in range(0, len(data), size):
            self._put(data[start : start + size])
        if self._held > self._way.conditions.window and self.source is not None:
            self.source.pause_reading()

    def end(self, *, reset: bool = False) -> None:
        """The source has ended: after what is under way the sink is closed too."""
        if not self._is_ended:
            self._is_ended = True
            self._put(b"", reset)

    def drop(self) -> None:
        """Nobody is left to read it."""
        self._stop_timer()
        self._way.pipes.discard(self)
        self._pieces.clear()
        self._is_ended = self.is_over = True

    def choke(self, is_choked: bool) -> None:
        """The sink takes nothing now, or again."""
        self._is_choked = is_choked
        self._run()

    def send_again(self) -> None:
        """Everything under way enters anew."""
        pieces, self._pieces = self._pieces, deque()
        self._held = 0
        for _, piece, reset in pieces:
            self._put(piece, reset)

    def _put(self, piece: bytes, reset: bool = False) -> None:
        self._pieces.append((self._way.due_s(len(piece), time.monotonic()), piece, reset))
        self._held += len(piece)
        if self._timer is None:
            self._run()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run(self) -> None:
        self._stop_timer()
        while self._pieces and self.sink is not None and not self._is_choked and not self._way.is_stalled:
            due_s, piece, reset = self._pieces[0]
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                # A loop with a coarse clock wakes early; then this line is reached again.
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._run)
                return
            self._pieces.popleft()
            self._deliver(self.sink, piece, reset)

    def _deliver(self, sink: asyncio.Transport, piece: bytes, reset: bool) -> None:
        if not piece:
            if reset:
                abort(sink)
            elif sink.can_write_eof() and not sink.is_closing():
                sink.write_eof()
            self.drop()
            self._settle()
            return
        self._held -= len(piece)
        self._way.left += len(piece)
        sink.write(piece)
        if self.source is not None and not self._is_ended and self._held <= self._way.conditions.window // 2:
            self.source.resume_reading()


def abort(transport: asyncio.Transport) -> None:
    """End it with a reset instead of a farewell."""
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()
