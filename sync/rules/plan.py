"""What a replica has to fetch, and which of the deltas that arrived it may apply: as values, for any of its histories.

Duplicates are no-ops, a hole is an error that names it, a log that ends before what is known is a rolled-back origin.
Next: replica.py, what follows from these errors; transfers.py, when what is fetched may cross the link."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.sync import CollectionDelta, CollectionHead, LogPosition, ReplicaPosition, SnapshotManifest


class HoleError(TidegateError):
    """Deltas of a collection's log are missing, and no later one is applied before them."""

    hint = "fetch what is missing from the hub; where it is not kept any more, take the newest snapshot"

    def __init__(self, collection: str, epoch: int, first: int, last: int) -> None:
        super().__init__(f"{collection}: {first} to {last} of epoch {epoch} are missing")
        self.missing = (epoch, first, last)


class OriginRolledBackError(TidegateError):
    """The hub's log ends before what this replica has applied of it: the hub lost what it had published."""

    hint = "the hub begins a new epoch of the collection, from a snapshot and what the sites still hold"


class NoSnapshotError(TidegateError):
    """The log does not reach back to where this replica is, and no snapshot is offered that does."""

    hint = "publish a snapshot of the collection at the hub"


class FetchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot to restore first, where one is needed, and the deltas `first` to `last` of `epoch` behind it."""

    epoch: int
    first: int
    last: int
    snapshot: SnapshotManifest | None = None
    reason: Literal["up-to-date", "tail", "empty", "new-epoch", "log-too-short", "cheaper"] = "tail"

    @property
    def is_done(self) -> bool:
        """Whether there is nothing to fetch."""
        return self.snapshot is None and self.last < self.first


def plan_fetch(held: ReplicaPosition, head: CollectionHead, snapshot: SnapshotManifest | None) -> FetchPlan:
    """The cheapest way from what is held to the head of the log, by the bytes that it takes.

    A snapshot is taken where nothing is held, where the log began a new epoch, where its tail no longer reaches back,
    or where it and the tail behind it are fewer bytes than the tail alone. It is joined with what is held, so that
    nothing that was written here is lost. Raises `OriginRolledBackError` and `NoSnapshotError`.
    """
    position, end = held.position, head.position
    if position is not None and end < position:
        raise OriginRolledBackError(f"{head.collection}: the log ends at {end}, {position} was applied")
    usable = snapshot if snapshot and _leads_to(snapshot, head) else None
    if position is not None and position.epoch == end.epoch:
        tail = FetchPlan(epoch=end.epoch, first=position.index + 1, last=end.index)
        if tail.is_done:
            return msgspec.structs.replace(tail, reason="up-to-date")
        if head.first <= tail.first:
            return _cheaper(tail, head, usable)
        reason: Literal["empty", "new-epoch", "log-too-short"] = "log-too-short"
    else:
        reason = "empty" if position is None else "new-epoch"
        if head.first <= 1 and position is None and (usable is None or not usable.documents):
            return FetchPlan(epoch=end.epoch, first=1, last=end.index)
    if usable is None:
        raise NoSnapshotError(f"{head.collection}: the log begins at {head.first}, held is {position or 'nothing'}")
    return FetchPlan(epoch=end.epoch, first=usable.position.index + 1, last=end.index, snapshot=usable, reason=reason)


class ApplyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The deltas to apply, in order, as one transaction with `position`; `duplicates` were known."""

    deltas: tuple[CollectionDelta, ...]
    position: LogPosition
    duplicates: int = 0


def plan_apply(collection: str, position: LogPosition, deltas: Iterable[CollectionDelta]) -> ApplyPlan:
    """What to do with deltas that arrived, in whatever order, more than once or not; nothing is applied past a hole.

    Those of an earlier epoch are duplicates: the snapshot of this one holds them. Raises `HoleError` (fetch its
    `missing`, and plan again with all of it), and `NoSnapshotError` for deltas of a later epoch.
    """
    arrived = list(deltas)
    if later := [delta for delta in arrived if delta.position.epoch > position.epoch]:
        raise NoSnapshotError(f"{collection}: {later[0].position} is of a new epoch, {position} was applied")
    new = {delta.position.index: delta for delta in arrived if delta.position > position}
    for expected, index in enumerate(sorted(new), position.index + 1):
        if index != expected:
            raise HoleError(collection, position.epoch, expected, index - 1)
    return ApplyPlan(
        deltas=tuple(new[index] for index in sorted(new)),
        position=LogPosition(position.epoch, max(new, default=position.index)),
        duplicates=len(arrived) - len(new),
    )


def remaining_chunks(manifest: SnapshotManifest, verified: Sequence[str]) -> tuple[int, ...]:
    """Which chunks of a snapshot are still to be fetched after a cut, by number, given the digests of those that are
    stored and verified, by number too (`""`: not stored)."""
    return tuple(
        number
        for number, chunk in enumerate(manifest.chunks)
        if number >= len(verified) or verified[number] != chunk.digest
    )


def is_resync_cheaper(differing_ranges: int, range_bytes: int, snapshot: SnapshotManifest) -> bool:
    """Whether a snapshot is fewer bytes than the dialogue and the documents of so many differing ranges."""
    return differing_ranges * range_bytes > snapshot.size


def _leads_to(snapshot: SnapshotManifest, head: CollectionHead) -> bool:
    """Whether the log reaches from the snapshot to its head."""
    return snapshot.position.epoch == head.position.epoch and (
        head.first - 1 <= snapshot.position.index <= head.position.index
    )


def _cheaper(tail: FetchPlan, head: CollectionHead, snapshot: SnapshotManifest | None) -> FetchPlan:
    if snapshot is None:
        return tail
    each = head.tail_bytes / max(1, head.position.index - head.first + 1)
    saved = each * (snapshot.position.index - tail.first + 1)
    if snapshot.size >= saved:
        return tail
    return msgspec.structs.replace(tail, first=snapshot.position.index + 1, snapshot=snapshot, reason="cheaper")
