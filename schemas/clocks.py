"""What orders events of many authors: dots, vector clocks, hybrid times. Data only, in one canonical form each.

A clock that is not canonical is unreadable, so that equal clocks have equal bytes; next: sync/rules/clock.py."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

import msgspec

from tidegate.schemas.message import END, Millis

Actor = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"^[a-z0-9][a-z0-9_-]{{0,31}}@[1-9][0-9]{{0,8}}{END}",
        description="<site or hub>@<incarnation>: an author, and how many times it was provisioned",
    ),
]
Counter = Annotated[int, msgspec.Meta(ge=1, lt=1 << 53)]


def author_of(actor: str) -> str:
    """The site, or the hub, that writes as this actor."""
    return actor.partition("@")[0]


class Dot(msgspec.Struct, frozen=True, order=True, array_like=True):
    """One event: the `counter`-th that `actor` has written. Nothing else ever has the same dot."""

    actor: Actor
    counter: Counter

    def __str__(self) -> str:
        return f"{self.actor}:{self.counter}"


class VectorClock(msgspec.Struct, frozen=True, array_like=True):
    """For each actor the last of its events that is covered, and with it all its earlier ones; sorted by actor.

    Raises `ValueError` where it is not sorted, names an actor twice, or counts from below 1: decoding refuses it then.
    """

    counters: tuple[tuple[Actor, Counter], ...] = ()

    def __post_init__(self) -> None:
        actors = [actor for actor, _ in self.counters]
        if any(first >= second for first, second in pairwise(actors)):
            raise ValueError("the actors of a clock are sorted, and each is named once")
        if any(counter < 1 for _, counter in self.counters):
            raise ValueError("the counters of a clock begin at 1")

    def __str__(self) -> str:
        return " ".join(f"{actor}:{counter}" for actor, counter in self.counters) or "nothing"


class HybridTime(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A hybrid logical time: milliseconds since 1970 as the author knew them, and a count among equal ones.

    Source: Kulkarni et al., Logical Physical Clocks, OPODIS 2014. It never goes back, and follows what it was told of.
    """

    ms: Millis = 0
    logical: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)] = 0
