"""How much a client is sent at a time, and how long more is waited for first: rules with an explicit clock.

Bytes that are written are not bytes that are read. What says how fast a client reads is when the transport has room
again: as with BBR (Cardwell et al., ACM Queue 14(5), 2016) the delivery rate is measured, and a chunk is what the
client takes in one window. The first chunk is one word and never waits.
"""

from __future__ import annotations

SHORTEST_WINDOW_S = 0.016
LONGEST_WINDOW_S = 0.033
"""One to two frames of a display at 60 Hz: pieces that come closer together are shown together anyway."""
FIRST_BYTES = 1
START_BYTES = 256
CAP_BYTES = 4096
BLOCKED_S = 0.001


class Pacer:
    """One client's share. Call `sent` before a chunk is handed to the transport, `drained` when there is room again.

    Times are seconds of any one clock that does not go back; sizes are bytes.
    """

    def __init__(self, cap_bytes: int = CAP_BYTES) -> None:
        self._cap_bytes = cap_bytes
        self._size = FIRST_BYTES
        self._window_s = 0.0
        self._sent_at_s = 0.0
        self._since_s = 0.0
        self._bytes = 0

    @property
    def size(self) -> int:
        """How large the next chunk may be; one word may always be sent, however long."""
        return self._size

    def wait_s(self, now_s: float, ready_bytes: int, *, is_whole: bool) -> float:
        """How long to wait for more before `ready_bytes` are sent: not at all when they fill a chunk, or are all there
        ever will be, or are the first.
        """
        if is_whole or ready_bytes >= self._size:
            return 0.0
        return max(0.0, self._sent_at_s + self._window_s - now_s)

    def sent(self, size: int, now_s: float) -> None:
        """A chunk of `size` bytes is handed over now."""
        if not self._window_s or now_s - self._sent_at_s > LONGEST_WINDOW_S:  # there was nothing to send: no measure
            self._since_s, self._bytes = now_s, 0
        self._sent_at_s = now_s
        self._bytes += size

    def drained(self, now_s: float) -> None:
        """The transport has room again."""
        blocked_s = now_s - self._sent_at_s
        if not self._window_s:
            self._size = min(START_BYTES, self._cap_bytes)
        elif blocked_s < BLOCKED_S:
            self._size = min(self._cap_bytes, self._size * 2)
        if blocked_s >= BLOCKED_S:
            rate = self._bytes / (now_s - self._since_s)
            self._size = max(FIRST_BYTES, min(self._cap_bytes, self._size * 2, round(rate * LONGEST_WINDOW_S)))
            self._since_s, self._bytes = now_s, 0
        self._sent_at_s = now_s
        self._window_s = min(LONGEST_WINDOW_S, max(SHORTEST_WINDOW_S, blocked_s))
