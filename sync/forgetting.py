"""Forgets the tombstones of a tenant at the hub once all replicas have them, and makes one again for who missed it.

Promises that nothing that was deleted comes back: not by what a site still holds, and not by what it edited meanwhile.
Next: rules/forgetting.py, which decides; relay.py, in whose new epoch they are forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tidegate.schemas.clocks import VectorClock
from tidegate.schemas.following import FollowRequest
from tidegate.schemas.sync import SignedOperation
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import NOT_HELD, held_of
from tidegate.sync.rules.clock import clock_from, covers, merge
from tidegate.sync.rules.forgetting import SeenClock, is_forgetting_due, needs_tombstone, stable_clock
from tidegate.sync.rules.merge import Siblings, may_forget, version_of
from tidegate.sync.rules.ownership import NotOwnedError, check_relay
from tidegate.sync.settings import SyncSettings
from tidegate.sync.signing import SignatureVerifier, UntrustedOperationError, check_signature
from tidegate.sync.store import ReplicaStore
from tidegate.sync.writer import StoreWriter


class ReplicasSeen:
    """What the sites of one tenant have of its collections, as they tell. Kept in memory: a site that was not heard of
    since the hub's start is not waited for, which costs nothing but what its own edits of deleted documents are."""

    def __init__(self, store: ReplicaStore) -> None:
        self._store = store
        self._seen: dict[str, dict[str, SeenClock]] = {}

    def hear(self, site: str, request: FollowRequest, now_ms: int) -> None:
        """A site tells how far it is."""
        with self._store.reading() as reader:
            for name in set(request.positions) & set(reader.collections()):
                seen = self._seen.setdefault(name, {})
                clock = seen[site].clock if site in seen else VectorClock()
                position = request.positions[name]
                if position is not None and not request.pending and position == reader.record(name).replica.position:
                    clock = _clock_of(reader, name)
                seen[site] = SeenClock(clock, now_ms)

    def stable(self, collection: str, now_ms: int, settings: SyncSettings) -> VectorClock | None:
        """What of a collection every replica has, where forgetting its tombstones is worth a new epoch; else None.

        Reads every document.
        """
        with self._store.reading() as reader:
            replicas = self._seen.get(collection, {}).values()
            horizon_ms = round(settings.forget_deleted_after_s * 1000)
            stable = stable_clock(_clock_of(reader, collection), replicas, now_ms, horizon_ms)
            forgettable = sum(1 for _ in _forgettable(reader, collection, stable))
            is_due = is_forgetting_due(forgettable, len(reader.digests(collection)), settings.forget_deleted_from)
        return stable if is_due else None


def forget_own(store: ReplicaStore, settings: SyncSettings) -> tuple[str, ...]:
    """Forget the tombstones of collections that no other domain holds, where they are many: nobody else has to know of
    them. Returns the collections. Reads every document of them."""
    with store.reading() as reader:
        records = [reader.record(name) for name in reader.collections()]
        own = [each.collection.name for each in records if each.collection.owner != "shared"]
        due = {}
        for name in own:
            stable = _clock_of(reader, name)
            forgettable = sum(1 for _ in _forgettable(reader, name, stable))
            if is_forgetting_due(forgettable, len(reader.digests(name)), settings.forget_deleted_from):
                due[name] = stable
    for name, stable in due.items():
        with store.writing() as writer:
            forget_tombstones(writer, name, stable)
    return tuple(due)


def forget_tombstones(writer: StoreWriter, collection: str, stable: VectorClock) -> None:
    """Forget those that `stable` covers. Their clocks become part of the floor: the context of whatever is created
    under their names later."""
    gone = {document_id: siblings.clock for document_id, siblings in _forgettable(writer, collection, stable)}
    record = writer.record(collection)
    writer.put_record(msgspec.structs.replace(record, floor=merge((record.floor, *gone.values()))))
    for document_id in gone:
        writer.put_held(collection, document_id, NOT_HELD)


def edits_of_forgotten(
    reader: StoreReader, verifier: SignatureVerifier, site: str, operations: Sequence[SignedOperation], now_ms: int
) -> dict[str, dict[str, int]]:
    """The documents, by collection, that operations of a site edit though their tombstones were forgotten, each with
    the latest time of its edits, Unix time in ms: they have to be deleted again before the operations are taken."""
    found: dict[str, dict[str, int]] = {}
    made: set[tuple[str, str]] = set()
    records = {name: reader.record(name) for name in reader.collections()}
    for signed in operations:
        operation = version_of(signed).operation
        name, document_id = operation.collection, operation.document_id
        if operation.is_new:
            made.add((name, document_id))
        record = records.get(name)
        if record is None or (name, document_id) in made or covers(record.floor, operation.dot):
            continue
        is_held = reader.digest_of(name, document_id) is not None
        if is_held or not needs_tombstone(operation, record.floor):
            continue
        try:
            check_signature(verifier, operation, signed, now_ms)  # last: it costs more than all before it
            check_relay(record.collection, operation, site)
        except (UntrustedOperationError, NotOwnedError):
            continue  # the relay refuses it, and says why
        times = found.setdefault(name, {})
        times[document_id] = max(operation.time.ms, times.get(document_id, 0))
    return found


def _forgettable(reader: StoreReader, collection: str, stable: VectorClock) -> Iterator[tuple[str, Siblings]]:
    for document in reader.documents(collection):
        siblings = held_of(document).siblings
        if may_forget(siblings, stable):
            yield document.document_id, siblings


def _clock_of(reader: StoreReader, collection: str) -> VectorClock:
    marks = reader.marks(collection)
    known = clock_from({actor: mark.counter for actor, mark in marks.items()})
    return merge((known, reader.record(collection).floor))
