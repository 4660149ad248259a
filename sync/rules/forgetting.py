"""When tombstones may be forgotten, and what has to be made anew of one for whoever comes back later.

Promises that a document whose tombstone is forgotten stays deleted until somebody who does not edit the old one writes
it. Next: merge.py, `may_forget`; sync/relay.py, `begin_epoch`, which forgets."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tidegate.schemas.clocks import VectorClock
from tidegate.schemas.sync import DocumentOperation
from tidegate.sync.rules.clock import clock_from, compare

SHARE = 4
"""A new epoch costs each site a snapshot: it is worth one where every fourth document is a forgettable tombstone."""


class SeenClock(msgspec.Struct, frozen=True):
    """What a replica had applied when it was last at the end of the log with nothing of its own under way, and when it
    was last heard of, Unix time in ms; whatever it writes later replaces what `clock` covers."""

    clock: VectorClock
    heard_at_ms: int


def stable_clock(held: VectorClock, replicas: Iterable[SeenClock], now_ms: int, horizon_ms: int) -> VectorClock:
    """What every replica has applied of what the hub holds: the greatest lower bound of their clocks.

    A replica that was not heard of for `horizon_ms` is not waited for: it comes back by a snapshot, and what it edits
    of a forgotten document finds a new tombstone (`needs_tombstone`).
    """
    waited = [dict(each.clock.counters) for each in replicas if now_ms - each.heard_at_ms < horizon_ms]
    return clock_from(
        {actor: min([counter, *(each.get(actor, 0) for each in waited)]) for actor, counter in held.counters}
    )


def is_forgetting_due(forgettable: int, documents: int, least: int) -> bool:
    """Whether so many tombstones, among all documents that are held, are worth a new epoch; fewer than `least` never
    are."""
    return forgettable >= least and forgettable * SHARE >= documents


def needs_tombstone(operation: DocumentOperation, floor: VectorClock) -> bool:
    """Whether an operation that is not known, on a document of which nothing is held, edits one whose tombstone was
    forgotten: its author held something, and had not heard of all that the floor covers.

    A new tombstone then has to come before it, so that the two are judged as an edit and a deletion made apart.
    """
    is_old_edit = operation.content is not None and not operation.is_new
    return is_old_edit and compare(floor, operation.context) not in ("before", "equal")
