"""What may cross a thin link next: one queue per link, by class, in chunks, out of a token bucket, inside of windows.

A chunk is never interrupted; a chunk of an urgent class is the next one, whatever is in flight. Times are seconds that
the caller passes in. Next: plan.py, what has to be fetched at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

TransferClass = Literal["policy", "prompt", "adapter", "index", "weights"]
ORDER: tuple[TransferClass, ...] = ("policy", "prompt", "adapter", "index", "weights")
"""Who goes first. A snapshot is of the class `index`, as the deltas behind it are."""
URGENT: frozenset[TransferClass] = frozenset({"policy", "prompt"})
"""The classes that wait for no window."""
DAY_S = 86_400


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Something to fetch: `left` bytes of it, in chunks of at most `chunk` bytes, wanted since `since_s`.

    `is_wanted`: somebody waits for it; weights that nobody has used yet are fetched lazily, when nothing else is.
    """

    id: str
    kind: TransferClass
    left: int
    chunk: int = 524_288
    since_s: float = 0.0
    is_wanted: bool = True


class TokenBucket(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that may be sent: `tokens` as of `at_s`, `rate` more each second, `burst` at most. Below 0 it is in debt.

    A rate of 0 is a link without a limit. Source: RFC 2697, with debt for a chunk larger than what is there.
    """

    rate: float
    burst: float
    tokens: float = 0.0
    at_s: float = 0.0

    def refilled(self, now_s: float) -> TokenBucket:
        """The bucket at a later time; a time before `at_s` changes nothing."""
        gained = max(0.0, now_s - self.at_s) * self.rate
        return msgspec.structs.replace(self, tokens=min(self.burst, self.tokens + gained), at_s=max(self.at_s, now_s))

    def wait_s(self) -> float:
        """Seconds until a chunk may be sent: a bucket that is not in debt lends one."""
        return max(0.0, -self.tokens / self.rate) if self.rate else 0.0

    def taken(self, size: int) -> TokenBucket:
        """The bucket after a chunk of so many bytes."""
        return msgspec.structs.replace(self, tokens=self.tokens - size) if self.rate else self


class OffPeak(msgspec.Struct, frozen=True, kw_only=True):
    """When bulk may cross the link: from `start_s` to `end_s` of the day, UTC; over midnight where it ends earlier."""

    start_s: int
    end_s: int

    def wait_s(self, now_s: float) -> float:
        """Seconds until the window is open; 0 inside of it. The same start and end are the whole day."""
        of_day = now_s % DAY_S
        length = (self.end_s - self.start_s) % DAY_S or DAY_S
        since = (of_day - self.start_s) % DAY_S
        return 0.0 if since < length else DAY_S - since


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """The next chunk: `size` bytes of the transfer `id`, and the bucket when it is sent."""

    id: str
    size: int
    bucket: TokenBucket


class Wait(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing may be sent now; ask again in `for_s` seconds, or when something is added. None: there is nothing."""

    for_s: float | None = None


class LinkBudget(msgspec.Struct, frozen=True, kw_only=True):
    """The bucket of a link and its windows; without windows the whole day is one."""

    bucket: TokenBucket
    windows: tuple[OffPeak, ...] = ()


def next_chunk(queue: Iterable[Transfer], now_s: float, budget: LinkBudget) -> Grant | Wait:
    """What to send now, of what is queued; the same answer for the same queue in any order.

    By class, then what somebody waits for, then the oldest, then by id. Urgent classes go outside of the windows too,
    but not beyond the bucket: an urgent class waits for at most the one chunk that put it in debt.
    """
    bucket = budget.bucket.refilled(now_s)
    closed_s = min((window.wait_s(now_s) for window in budget.windows), default=0.0)
    waiting = [transfer for transfer in queue if transfer.left > 0]
    allowed = [transfer for transfer in waiting if closed_s <= 0.0 or transfer.kind in URGENT]
    if not allowed:
        return Wait(for_s=closed_s if waiting else None)
    if bucket.wait_s() > 0.0:
        return Wait(for_s=bucket.wait_s())
    first = min(
        allowed,
        key=lambda transfer: (ORDER.index(transfer.kind), not transfer.is_wanted, transfer.since_s, transfer.id),
    )
    size = min(first.left, first.chunk)
    return Grant(id=first.id, size=size, bucket=bucket.taken(size))
