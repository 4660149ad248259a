"""What the hub keeps of one tenant: its store, the logs of its collections, and who writes and answers there.

Promises that nothing is answered before the log was read, and that a log that lost its end is not written on: it goes
on in a new epoch. Next: hub_shell.py, which has one for each tenant; sync/relay.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec

from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection, CollectionHead, DocumentContent, LogPosition, SnapshotManifest
from tidegate.sync.author import Author
from tidegate.sync.hub_client import HubState
from tidegate.sync.records import NOT_HELD
from tidegate.sync.relay import Relay
from tidegate.sync.rules.drift import DriftCause, RepairReport
from tidegate.sync.rules.merge import Version, version_of
from tidegate.sync.shells.corpus_log import CorpusLog, LogTail
from tidegate.sync.signing import SignatureVerifier, Signer
from tidegate.sync.snapshots import BlobWriter, write_snapshot
from tidegate.sync.store import ReplicaStore

TAIL_FRESH_S = 5.0


class NoSnapshotWriterError(TidegateError):
    """This hub has nowhere to publish snapshots."""

    hint = "make the repository's keys with `tidegate keys init`, and start the hub again"


class HubTenant:
    """One tenant at the hub. `blobs` takes its snapshots; None: none are written."""

    def __init__(
        self, name: str, store: ReplicaStore, log: CorpusLog, signing: tuple[Signer, SignatureVerifier],
        blobs: BlobWriter | None,
    ) -> None:  # fmt: skip
        signer, verifier = signing
        self.name = name
        self.store = store
        self.log = log
        self.relay = Relay(store, log, verifier)
        self.author = Author(store, signer)
        self.state = HubState(store)
        self.is_recovered = False
        self._blobs = blobs
        self._writing = asyncio.Lock()
        self._judging = asyncio.Lock()  # sites that report the same loss at once find one new epoch
        self._tails: dict[str, tuple[float, LogTail]] = {}

    async def recover(self, now_ms: int) -> None:
        """Read the log after a start, and put own edits into it that are not there; to be called until it returns.

        Raises what the log, the relay and the store raise.
        """
        for name in self.shared():
            position, end = self.store.record(name).replica.position, await self.log.end(name)
            # A log that is empty was given up by age, or never written: it can be written on.
            if position is not None and end is not None and end < position:
                await self.begin_epoch(name, position.epoch)
        await self.relay.recover()
        self._readmit_own(now_ms)
        await self.relay.take_own(now_ms)
        self.is_recovered = True

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
        """Write as the hub, and return when it is in the log, where it belongs there. Raises what `Author.write_all`
        and the relay raise; where the log cannot be written now it is stored, and comes into the log later."""
        async with self._writing:
            self._readmit_own(now_ms)
            written = await asyncio.to_thread(self.author.write_all, collection, documents, now_ms)
        await self.relay.take_own(now_ms)
        return written

    async def head(self, site: str, collection: str, now_ms: int) -> CollectionHead:
        """The end of a log, for a site. Raises `NotOwnedError`, `CollectionUnknownError`, `RetryLaterError`."""
        position = self.store.record(collection).replica.position or LogPosition(1)
        tail = await self._tail(collection, position)
        await self.relay.rest()  # a mirror may be quicker than this store
        return self.state.head(site, collection, now_ms, tail.first, tail.bytes)

    async def head_at_rest(self, site: str, collection: str, now_ms: int) -> CollectionHead | None:
        """As `head`; None while own edits are on their way into the log."""
        try:
            return await self.head(site, collection, now_ms)
        except RetryLaterError:
            return None

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

    async def mend(self, collection: str, is_repair: bool) -> RepairReport:
        """Read every document back from the disk; what is damaged is made again from the log, where that is asked.

        What the log does not hold any more goes: sites that hold it offer it. Raises what the log and the store raise.
        """
        changed = await asyncio.to_thread(self.store.scrub, collection)
        with self.store.reading() as reader:
            damages = reader.damages(collection)
        written_over = sorted(set(changed) - damages)  # whole by their checksum, and not what was stored
        found: dict[DriftCause, tuple[str, ...]] = {"tamper": tuple(written_over), "disk": tuple(sorted(damages))}
        for document_id in (*written_over, *damages) if is_repair else ():
            deltas = await self.log.of_document(collection, document_id)
            with self.store.writing() as writer:
                writer.put_held(collection, document_id, NOT_HELD)
                for delta in deltas:
                    writer.join(collection, version_of(delta.operation), delta.operation)
        if damages and is_repair:
            with self.store.writing() as writer:
                writer.clear_damage(collection)
        return RepairReport(documents={cause: ids for cause, ids in found.items() if ids})

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

    async def _tail(self, collection: str, position: LogPosition) -> LogTail:
        """At most some seconds old: what can be read gets less by age alone."""
        read_at_s, tail = self._tails.get(collection, (0.0, LogTail(1, 0)))
        if time.monotonic() - read_at_s > TAIL_FRESH_S or tail.first > position.index + 1:
            tail = await self.log.tail(collection, position)
            self._tails[collection] = (time.monotonic(), tail)
        return tail
