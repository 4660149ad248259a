"""A site's replica of a collection: joined by snapshot and tail, kept up by deltas, held where its state says so.

What is applied, the position and the state are one transaction; a transfer that was cut goes on where it was. Next:
rules/replica.py, which decides; repair.py, for what drifted; hub_client.py, who is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.sync import CollectionDelta, CollectionHead, LogPosition, SnapshotManifest
from tidegate.sync.apply import apply_version, check_own, checked_version
from tidegate.sync.hub_client import HubClient
from tidegate.sync.records import ReplicaRecord
from tidegate.sync.rules.counters import CounterWentBackError
from tidegate.sync.rules.merge import ForkedDotError
from tidegate.sync.rules.plan import (
    FetchPlan,
    HoleError,
    NoSnapshotError,
    OriginRolledBackError,
    plan_apply,
    plan_fetch,
    remaining_chunks,
)
from tidegate.sync.rules.replica import ReplicaAction, ReplicaEvent, ReplicaEventKind, step
from tidegate.sync.signing import SignatureVerifier
from tidegate.sync.snapshots import SnapshotRefusedError, check_chunk, install
from tidegate.sync.store import ReplicaStore
from tidegate.sync.writer import StoreWriter

BATCH = 500
MOST_ATTEMPTS = 16
CURRENT = ("following", "lagging", "repairing")
"""The states in which what is held is what the log says, up to the position."""


class ReplicaHeldError(TidegateError):
    """Nothing is applied now: the replica is fenced or revoked, has no lease, or waits for a snapshot."""

    hint = "`tidegate sync status` names its state, and what it waits for"


class Follower:
    """Follows the hub's logs into one store. One call at a time for each collection."""

    def __init__(
        self, store: ReplicaStore, hub: HubClient, verifier: SignatureVerifier, code_version: str = ""
    ) -> None:
        self._store = store
        self._hub = hub
        self._verifier = verifier
        self._code_version = code_version

    def note(self, collection: str, kind: ReplicaEventKind) -> tuple[ReplicaAction, ...]:
        """Have the replica know of an event from outside: a lease, a revocation, a readmission."""
        with self._store.writing() as writer:
            return take_event(writer, collection, ReplicaEvent(kind))

    async def follow(self, collection: str) -> LogPosition:
        """Come from what is held to the head of the log, the cheapest way; returns where that is.

        Raises `OriginRolledBackError`, `CounterWentBackError` (the replica is fenced then), `NoSnapshotError`,
        `SnapshotRefusedError`, `HoleError`, `ReplicaHeldError`, `UntrustedOperationError`, and what the hub
        raises. Whatever was applied and fetched before that is kept.
        """
        head = await self._hub.head(collection)
        manifest = None if self._is_near(collection, head) else await self._hub.snapshot(collection)
        plan = self._plan(collection, head, manifest)
        if plan.snapshot is not None:
            kind: ReplicaEventKind = "epoch-begun" if plan.reason == "new-epoch" else "snapshot-needed"
            self._expect("fetch-snapshot", collection, kind)
            await self._restore(plan.snapshot)
        if plan.first <= plan.last:
            if plan.snapshot is None:
                self.note(collection, "fell-behind")
            await self._fetch_tail(collection, plan)
        self.note(collection, "caught-up")
        self.observe((head,))
        return head.position

    def observe(self, heads: Iterable[CollectionHead]) -> tuple[str, ...]:
        """Have the replicas know where the logs ended, and so as of when nothing was lacking here; returns those that
        hold something else than the hub at the same position: they drifted, and are to be compared."""
        drifted = []
        with self._store.writing() as writer:
            for head in heads:
                record = writer.record(head.collection)
                known_at_ms = head.known_at_ms if _has_all(record, head.position) else 0
                if record.replica.position == head.position and record.checksum.digest != head.checksum:
                    drifted += [] if writer.pending_documents(head.collection) else [head.collection]
                writer.put_record(
                    msgspec.structs.replace(
                        record, head=head.position, known_at_ms=max(record.known_at_ms, known_at_ms)
                    )
                )
        return tuple(drifted)

    def receive(self, collection: str, deltas: Sequence[CollectionDelta]) -> int:
        """Apply deltas that arrived, in any order, some of them twice; returns how many were new.

        Raises `HoleError` (fetch what is missing, and pass all of it again), `NoSnapshotError` for a new epoch,
        `ReplicaHeldError`, `UntrustedOperationError`; nothing of them is applied then. `CounterWentBackError`: this
        site wrote what its disk does not know; replica and author are fenced.
        """
        try:
            return self._apply(collection, deltas)
        except HoleError:
            self.note(collection, "hole-found")
            raise

    def _is_near(self, collection: str, head: CollectionHead) -> bool:
        """Whether so few deltas are missing that no snapshot is worth asking for."""
        replica = self._store.record(collection).replica
        held, end = replica.position, head.position
        if held is None or held.epoch != end.epoch or replica.state == "restoring":
            return False
        return head.first <= held.index + 1 and end.index - held.index <= BATCH

    def _plan(self, collection: str, head: CollectionHead, manifest: SnapshotManifest | None) -> FetchPlan:
        with self._store.reading() as reader:
            held = reader.position(collection)
            state = reader.record(collection).replica.state
        try:
            plan = plan_fetch(held, head, manifest)
        except OriginRolledBackError:
            self.note(collection, "origin-rolled-back")
            raise
        if state == "restoring" and plan.snapshot is None:
            if manifest is None or (held.position is not None and manifest.position < held.position):
                raise NoSnapshotError(f"{collection} has to be restored, and no snapshot is of {head.position}")
            first = manifest.position.index + 1
            return msgspec.structs.replace(plan, first=first, snapshot=manifest, reason="log-too-short")
        return plan

    async def _restore(self, manifest: SnapshotManifest) -> None:
        """Fetch the chunks that are not there yet, one by one, and install all of them at once."""
        collection = manifest.collection
        with self._store.reading() as reader:
            held = reader.chunk_digests(collection)
        verified = [chunk.digest if chunk.digest in held else "" for chunk in manifest.chunks]
        try:
            for number in remaining_chunks(manifest, verified):
                chunk = manifest.chunks[number]
                data = await self._hub.chunk(collection, chunk.digest)
                check_chunk(chunk, data)
                with self._store.writing() as writer:
                    writer.put_chunk(collection, chunk.digest, data)
            await asyncio.to_thread(self._install, manifest)  # a large one takes seconds
        except SnapshotRefusedError:
            self.note(collection, "snapshot-refused")
            raise
        except CounterWentBackError:
            self._fence(collection)
            raise

    def _install(self, manifest: SnapshotManifest) -> None:
        collection = manifest.collection
        with self._store.writing() as writer:
            own = writer.own()
            mark = manifest.authors.get(own.actor)
            if mark is not None and mark.counter > own.counter:
                raise CounterWentBackError(f"{own.actor} wrote {mark.counter} times, this disk knows {own.counter}")
            actions = take_event(writer, collection, ReplicaEvent("snapshot-verified", manifest.position))
            if "install" not in actions:
                raise SnapshotRefusedError(f"{collection}: the snapshot of {manifest.position} is not installed now")
            install(writer, manifest, (writer.chunk(collection, chunk.digest) for chunk in manifest.chunks))
            writer.clear_chunks(collection)
            record = msgspec.structs.replace(writer.record(collection), last="", made_by=self._code_version)
            writer.put_record(record)

    async def _fetch_tail(self, collection: str, plan: FetchPlan) -> None:
        """Fetch and apply deltas; what is missing of a reply is asked for again."""
        first, attempts = plan.first, 0
        arrived: dict[int, CollectionDelta] = {}
        last = min(plan.last, first + BATCH - 1)
        while first <= plan.last:
            for delta in await self._hub.deltas(collection, plan.epoch, first, last):
                arrived[delta.position.index] = delta
            try:
                applied = await asyncio.to_thread(self._apply, collection, list(arrived.values()))
            except HoleError as error:
                _, first, last = error.missing
                applied = 0
            else:
                position = self._store.record(collection).replica.position
                first = position.index + 1 if position else first
                last = min(plan.last, first + BATCH - 1)
                arrived.clear()
            attempts = 0 if applied else attempts + 1
            if attempts == MOST_ATTEMPTS:
                raise HoleError(collection, plan.epoch, first, last)

    def _apply(self, collection: str, deltas: Sequence[CollectionDelta]) -> int:
        versions = {delta.position: checked_version(self._verifier, delta) for delta in deltas}
        try:
            with self._store.writing() as writer:
                replica = writer.record(collection).replica
                before = replica.position or LogPosition(deltas[0].position.epoch if deltas else 1)
                plan = plan_apply(collection, before, deltas)
                for delta in plan.deltas:
                    actions = take_event(writer, collection, ReplicaEvent("delta-next", delta.position))
                    if "apply" not in actions:
                        raise ReplicaHeldError(_why_held(writer.record(collection)))
                    check_own(writer, versions[delta.position])
                    apply_version(writer, delta, versions[delta.position])
                    _note_last(writer, delta, versions[delta.position].digest)
                return len(plan.deltas)
        except (CounterWentBackError, ForkedDotError) as error:
            self._fence(collection)
            raise CounterWentBackError(error.reason) from error

    def _expect(self, action: ReplicaAction, collection: str, kind: ReplicaEventKind) -> None:
        if action not in self.note(collection, kind):
            raise ReplicaHeldError(f"{_why_held(self._store.record(collection))}: no {action}")

    def _fence(self, collection: str) -> None:
        with self._store.writing() as writer:
            take_event(writer, collection, ReplicaEvent("counter-went-back"))
            writer.put_own(msgspec.structs.replace(writer.own(), is_fenced=True))


def take_event(writer: StoreWriter, collection: str, event: ReplicaEvent) -> tuple[ReplicaAction, ...]:
    """Step the replica, and store what it became with whatever else the transaction does; returns what to do."""
    record = writer.record(collection)
    after = step(record.replica, event)
    writer.put_record(msgspec.structs.replace(record, replica=after.replica))
    return after.actions


def _note_last(writer: StoreWriter, delta: CollectionDelta, digest: str) -> None:
    record = writer.record(delta.collection)
    # The log ended with it when it was relayed: with it nothing is lacking, as of then.
    known_at_ms = max(record.known_at_ms, delta.relayed_at_ms)
    head = max(record.head or delta.position, delta.position)
    writer.put_record(msgspec.structs.replace(record, last=digest, head=head, known_at_ms=known_at_ms))


def _has_all(record: ReplicaRecord, end: LogPosition) -> bool:
    replica = record.replica
    return replica.position is not None and replica.position >= end and replica.state in CURRENT


def _why_held(record: ReplicaRecord) -> str:
    return f"{record.collection.name} " + (
        f"is {record.replica.state}" if record.replica.may_read else "is held: this site has no lease"
    )
