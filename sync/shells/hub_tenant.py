"""What the hub keeps of one tenant: its store, the logs of its collections, and who writes and answers there.

Promises that nothing is answered before the log was read, and that a log that lost its end is not written on: it goes
on in a new epoch. Next: hub_shell.py, which has one for each tenant; sync/relay.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.replication import RelayReceipt
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import (
    Collection,
    CollectionDelta,
    CollectionHead,
    DocumentContent,
    LogPosition,
    SignedOperation,
    SnapshotManifest,
)
from tidegate.sync.author import Author
from tidegate.sync.forgetting import ReplicasSeen, edits_of_forgotten
from tidegate.sync.hub_client import HubState
from tidegate.sync.leasing import LeaseGate, NoLeaseError
from tidegate.sync.records import NOT_HELD
from tidegate.sync.relay import LogConflictError, Relay
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.rules.merge import Version
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.corpus_log import CorpusLog, LogTail
from tidegate.sync.shells.mending import mend, read_back
from tidegate.sync.signing import SignatureVerifier, Signer
from tidegate.sync.snapshots import BlobWriter, write_snapshot
from tidegate.sync.store import ReplicaStore

TAIL_FRESH_S = 5.0


class NoSnapshotWriterError(TidegateError):
    """This hub has nowhere to publish snapshots."""

    hint = "make the repository's keys with `tidegate keys init`, and start the hub again"


class HubTenant:
    """One tenant at the hub. `blobs` takes its snapshots; None: none are written. `gate` knows who may read what is
    sensitive; None: nobody may."""

    def __init__(
        self, name: str, store: ReplicaStore, log: CorpusLog, signing: tuple[Signer, SignatureVerifier],
        blobs: BlobWriter | None, gate: LeaseGate | None = None,
    ) -> None:  # fmt: skip
        signer, verifier = signing
        self.name = name
        self.store = store
        self.log = log
        self.relay = Relay(store, log, verifier)
        self.author = Author(store, signer)
        self.state = HubState(store, gate)
        self.seen = ReplicasSeen(store)
        self._verifier = verifier
        self.is_recovered = False
        self._blobs = blobs
        self._writing = asyncio.Lock()
        self._judging = asyncio.Lock()  # sites that report the same loss at once find one new epoch
        self._tails: dict[str, tuple[float, LogTail]] = {}
        self._holes: dict[str, LogPosition] = {}
        """The first entry behind one that the stream has lost."""

    async def recover(self, now_ms: int) -> tuple[str, ...]:
        """Read the log after a start, and put own edits into it that are not there; to be called until it returns.

        Returns the collections whose log ended before what was applied of it: they began a new epoch. Raises what the
        log, the relay and the store raise.
        """
        lost = []
        for name in self.shared():
            position, end = self.store.record(name).replica.position, await self.log.end(name)
            # A log that is empty was given up by age, or never written: it can be written on. So can an epoch in which
            # nothing was written yet.
            if position is not None and position.index and end is not None and end < position:
                await self.begin_epoch(name, position.epoch)
                lost.append(name)
        await self.relay.recover()
        self._readmit_own(now_ms)
        await self.relay.take_own(now_ms)
        self.is_recovered = True
        return tuple(lost)

    async def begin_epoch(self, collection: str, above: int) -> LogPosition:
        """Go on with a log that was lost; sites join the snapshot that is to be written next."""
        self._tails.pop(collection, None)
        return await self.relay.begin_epoch(collection, above)

    async def judge_position(self, collection: str, reported: LogPosition) -> LogPosition | None:
        """A site has applied the log up to `reported`. Where it ends before that here, the log goes on in a new epoch;
        returns where it ended then. Raises what the log and the store raise."""
        async with self._judging:
            await self.relay.rest()
            end = self.store.record(collection).replica.position or LogPosition(1)
            if reported <= end or reported <= (await self.log.end(collection) or LogPosition(1)):
                return None
            await self.begin_epoch(collection, max(reported.epoch, end.epoch))
            return end

    async def write(
        self, collection: str, documents: Mapping[str, DocumentContent | None], now_ms: int
    ) -> tuple[Version, ...]:
        """Write as the hub: it is stored and in force here when this returns; `take_own` puts it into the log. Raises
        what `Author.write_all` raises."""
        async with self._writing:
            self._readmit_own(now_ms)
            return await asyncio.to_thread(self.author.write_all, collection, documents, now_ms)

    async def take_own(self, now_ms: int) -> int:
        """Put into the log what the hub wrote; how many operations it was. Raises what the relay raises; where the log
        does not end where it should, it is read again first."""
        try:
            return await self.relay.take_own(now_ms)
        except LogConflictError:
            self.is_recovered = False
            raise

    async def take(self, site: str, operations: Sequence[SignedOperation], now_ms: int) -> RelayReceipt:
        """Relay operations of a site; what they edit of documents that were deleted and forgotten is deleted again
        first. Raises what `Author.delete_again` and the relay raise."""
        async with self._writing:
            with self.store.reading() as reader:
                deleted = edits_of_forgotten(reader, self._verifier, site, operations, now_ms)
            for collection, times in deleted.items():
                self._readmit_own(now_ms)
                behind_ms = max(now_ms, *times.values()) + 1  # where the last writer wins it is the deletion
                await asyncio.to_thread(self.author.delete_again, collection, tuple(times), behind_ms)
            if deleted:
                await self.take_own(now_ms)
        return await self.relay.take(site, operations, now_ms)

    async def forget(self, collection: str, now_ms: int, settings: SyncSettings) -> LogPosition | None:
        """Forget the deletions that every replica has, in a new epoch; its position, None where too few are. Raises
        what the store raises."""
        if self._blobs is None:  # nobody could come into the new epoch
            return None
        stable = await asyncio.to_thread(self.seen.stable, collection, now_ms, settings)
        if stable is None:
            return None
        self._tails.pop(collection, None)
        return await self.relay.begin_epoch(collection, 0, stable)

    async def head(self, site: str, collection: str, now_ms: int) -> CollectionHead:
        """The end of a log, for a site. Raises `NotOwnedError`, `CollectionUnknownError`, `RetryLaterError`."""
        position = self.store.record(collection).replica.position or LogPosition(1)
        tail = await self._tail(collection, position)
        await self.relay.rest()  # a mirror may be quicker than this store
        return self.state.head(site, collection, now_ms, tail.first, tail.bytes)

    async def head_at_rest(self, site: str, collection: str, now_ms: int) -> CollectionHead | None:
        """As `head`; None while own edits are on their way into the log, and for what the site may not be given."""
        try:
            return await self.head(site, collection, now_ms)
        except (RetryLaterError, NoLeaseError):
            return None

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        """Entries of the log, for a site. Where the stream has lost one of them, what lies before the next one is taken
        for given up from now on, so that a snapshot is written and taken. Raises what the log raises."""
        found = await self.log.deltas(collection, epoch, first, last)
        end = self.store.record(collection).replica.position
        if not found and end is not None and LogPosition(epoch, first) <= end:
            behind = await self.log.read(collection, LogPosition(epoch, first), 1)
            index = behind[0].position.index if behind and behind[0].position.epoch == epoch else end.index + 1
            self._holes[collection] = LogPosition(epoch, index)
            self._tails.pop(collection, None)
        return found

    async def snapshot(self, collection: str, now_ms: int) -> SnapshotManifest:
        """Write and publish a snapshot. Raises `NoSnapshotWriterError`, and what `write_snapshot` raises."""
        if self._blobs is None:
            raise NoSnapshotWriterError(f"{collection}: the hub has nowhere to publish a snapshot")
        manifest = await write_snapshot(self.store, collection, self._blobs, now_ms)
        with self.store.writing() as writer:
            record = msgspec.structs.replace(writer.record(collection), snapshot=manifest.position)
            writer.put_record(record)
        return manifest

    async def is_snapshot_due(self, collection: str, after_deltas: int) -> bool:
        """Whether a new site, or one that was away, would need a snapshot, or be quicker with one."""
        record = self.store.record(collection)
        position, last = record.replica.position, record.snapshot
        if position is None or (last is not None and last == position):
            return False
        if last is None or last.epoch != position.epoch:
            is_needed, since = position.epoch > 1, position.index
        else:
            is_needed, since = False, position.index - last.index
        tail = await self._tail(collection, position)
        is_out_of_reach = tail.first - 1 > position.index - since
        return is_needed or is_out_of_reach or since >= after_deltas

    async def mend(self, collection: str, *, is_repair: bool) -> RepairReport:
        """Read every document of a shared collection back from the disk; what is damaged is made again from the log,
        where that is asked. What the log has nothing of goes: sites that hold it offer it.

        Raises what the log and the store raise.
        """
        found = await read_back(self.store, collection)
        if is_repair and found:
            ids = [document_id for each in found.values() for document_id in each]
            for document_id in await mend(self.store, collection, ids, self._operations_of):
                with self.store.writing() as writer:
                    writer.put_held(collection, document_id, NOT_HELD)
                    writer.clear_damage_of(collection, document_id)
        return RepairReport(documents=found)

    def shared(self) -> tuple[str, ...]:
        """The collections that have a log."""
        return tuple(name for name, rule in self.collections().items() if rule.owner == "shared")

    def collections(self) -> dict[str, Collection]:
        """All collections with their rules."""
        with self.store.reading() as reader:
            return {name: reader.record(name).collection for name in reader.collections()}

    def _readmit_own(self, now_ms: int) -> None:
        """Write as the next incarnation, where this disk is older than what sites and the log hold of the hub: it is
        the hub that grants incarnations."""
        with self.store.reading() as reader:
            own = reader.own()
        if own.is_fenced:
            self.author.readmit(self.relay.grant_incarnation(HUB), self.relay.mark_of(own.actor), now_ms)

    async def _operations_of(self, collection: str, document_id: str) -> list[SignedOperation]:
        return [delta.operation for delta in await self.log.of_document(collection, document_id)]

    async def _tail(self, collection: str, position: LogPosition) -> LogTail:
        """At most some seconds old: what can be read gets less by age alone."""
        read_at_s, tail = self._tails.get(collection, (0.0, LogTail(1, 0)))
        if time.monotonic() - read_at_s > TAIL_FRESH_S or tail.first > position.index + 1:
            tail = await self.log.tail(collection, position)
            hole = self._holes.get(collection)
            if hole is not None and hole.epoch == position.epoch:
                tail = msgspec.structs.replace(tail, first=max(tail.first, hole.index))
            self._tails[collection] = (time.monotonic(), tail)
        return tail
