"""Compares and merges clocks: vector clocks, the dotted versions of a document, hybrid logical times.

Vector clocks are a lattice, `merge` their least upper bound; every function is total but where it says what it raises.
Next: merge.py, which keeps the versions that no other has replaced."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from tidegate.schemas.clocks import Dot, HybridTime, VectorClock
from tidegate.schemas.errors import TidegateError

ClockOrder = Literal["before", "after", "equal", "concurrent"]
NOTHING = VectorClock()
"""The clock that covers no event."""


class DotNotNewError(TidegateError):
    """An event cannot have this dot: the clock covers it already, so that it would be taken for another one."""

    hint = "give the event the author's next counter; if the counter was restored from a backup, fence the author"


def clock_from(counters: Mapping[str, int]) -> VectorClock:
    """The clock with these counters; those below 1 say nothing."""
    return VectorClock(tuple(sorted((actor, counter) for actor, counter in counters.items() if counter > 0)))


def compare(first: VectorClock, second: VectorClock) -> ClockOrder:
    """Whether `first` is before `second` (all its events are covered there), after it, equal, or neither of these.

    A partial order. Source: Fidge 1988, Mattern 1989.
    """
    if first == second:
        return "equal"
    ours, theirs = dict(first.counters), dict(second.counters)
    if all(counter <= theirs.get(actor, 0) for actor, counter in first.counters):
        return "before"
    if all(counter <= ours.get(actor, 0) for actor, counter in second.counters):
        return "after"
    return "concurrent"


def covers(clock: VectorClock, dot: Dot) -> bool:
    """Whether the event of this dot is among those of the clock."""
    return any(actor == dot.actor and dot.counter <= counter for actor, counter in clock.counters)


def merge(clocks: Iterable[VectorClock]) -> VectorClock:
    """The clock that covers what any of these covers, and nothing else: the least upper bound; of none, `NOTHING`."""
    counters: dict[str, int] = {}
    for clock in clocks:
        for actor, counter in clock.counters:
            counters[actor] = max(counter, counters.get(actor, 0))
    return clock_from(counters)


def clock_of(dots: Iterable[Dot]) -> VectorClock:
    """The least clock that covers these dots."""
    return merge(VectorClock(((dot.actor, dot.counter),)) for dot in dots)


def advance(clock: VectorClock, dot: Dot) -> VectorClock:
    """The clock after a new event of this dot. Raises `DotNotNewError` where the clock covers it."""
    if covers(clock, dot):
        raise DotNotNewError(f"{dot} is not new after {clock}")
    return merge((clock, clock_of([dot])))


def compare_versions(first: tuple[Dot, VectorClock], second: tuple[Dot, VectorClock]) -> ClockOrder:
    """The order of two dotted versions, each a dot and the clock of all that its author had seen of the document.

    One is before another whose clock covers its dot. Two versions that one author wrote side by side are concurrent,
    which their clocks alone cannot say. Source: Almeida, Baquero et al., Scalable and Accurate Causality Tracking for
    Eventually Consistent Stores, DAIS 2014 (dotted version vectors).
    """
    if first[0] == second[0]:
        return "equal"
    if covers(second[1], first[0]):
        return "before"
    return "after" if covers(first[1], second[0]) else "concurrent"


def next_time(last: HybridTime, now_ms: int) -> HybridTime:
    """The hybrid time of a local event: later than `last`, and not before `now_ms` by the author's own clock."""
    return HybridTime(now_ms) if now_ms > last.ms else HybridTime(last.ms, last.logical + 1)


def is_ahead(time: HybridTime, now_ms: int, bound_ms: int) -> bool:
    """Whether an event claims to be more than `bound_ms` ahead of `now_ms`: its author's clock is wrong, and would win
    every comparison by time. Only the hub asks, before it relays: all replicas must judge what it relayed alike."""
    return time.ms > now_ms + bound_ms
