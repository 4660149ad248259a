"""Finds where a replica differs from the hub, repairs just that, and says why it thinks it happened.

Costs kilobytes for one document of 100 000. What the hub lost and this site holds is offered to it. Next:
rules/merkle.py, the dialogue; rules/drift.py, the causes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from tidegate.schemas.comparison import MOST_RANGES, RangeRequest
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import encode
from tidegate.schemas.replication import MOST_DOCUMENTS, DocumentsRequest, HeldDocument, HeldDocuments
from tidegate.schemas.sync import LogPosition, SnapshotManifest
from tidegate.sync.follower import take_event
from tidegate.sync.hub_client import MOST_REPLY_BYTES, HubClient
from tidegate.sync.records import Held, document_of, held_of
from tidegate.sync.rules.clock import covers
from tidegate.sync.rules.drift import DriftEvidence, RepairReport, report
from tidegate.sync.rules.merge import join
from tidegate.sync.rules.merkle import differences
from tidegate.sync.rules.plan import is_resync_cheaper
from tidegate.sync.rules.replica import ReplicaEvent, ReplicaEventKind
from tidegate.sync.signing import SignatureVerifier, UntrustedOperationError, check_signature
from tidegate.sync.store import ReplicaStore
from tidegate.sync.writer import StoreWriter

DIALOGUE_BYTES = 300
"""What finding one of many differing documents takes, beside the document: its share of the digests on its path."""


class ComparisonMovedError(TidegateError):
    """The hub and this replica are not at one position of the log: what differs between them need not be drift."""

    hint = "follow the log to its end, then compare again"


class ResyncCheaperError(TidegateError):
    """So much differs that a snapshot takes fewer bytes than the repair."""

    hint = "nothing needs doing: the replica is restored from the newest snapshot"


class Repairer:
    """Compares the replicas of one store with the hub. `bytes_on_wire` counts all that it sent and got."""

    def __init__(
        self, store: ReplicaStore, hub: HubClient, verifier: SignatureVerifier, code_version: str = ""
    ) -> None:
        self._store = store
        self._hub = hub
        self._verifier = verifier
        self._code_version = code_version
        self.bytes_on_wire = 0

    async def repair(self, collection: str, snapshot: SnapshotManifest | None = None) -> RepairReport:
        """Compare with the hub, repair what differs, report what was repaired and why.

        Read what is on the disk back first (`ReplicaStore.scrub`). Edits that are not known to be relayed are no drift.
        `snapshot`: the newest one; where it is cheaper the replica waits for it, and `ResyncCheaperError` says so.
        Raises `ComparisonMovedError`, and what the hub raises; what was repaired before that stays repaired.
        """
        before = self.bytes_on_wire
        differing = await self._compare(collection)
        if not differing:
            self._finish(collection)
            return report((), self.bytes_on_wire - before)
        self._note(collection, "drift-found")
        if snapshot is not None and self._is_resync_cheaper(collection, len(differing), snapshot):
            self._note(collection, "repair-failed")
            raise ResyncCheaperError(f"{len(differing)} documents of {collection} differ from the hub's")
        found: list[tuple[str, DriftEvidence]] = []
        offered: list[HeldDocument] = []
        while differing:
            reply = await self._fetch(collection, differing[:MOST_DOCUMENTS])
            evidence, lost = self._mend(reply)
            found, offered = [*found, *evidence], [*offered, *lost]
            differing = differing[len(reply.documents) :]
        await self._offer(collection, offered)
        self._finish(collection)
        return report(found, self.bytes_on_wire - before)

    async def examine(self, collection: str) -> RepairReport:
        """Compare with the hub and say what differs, and why; nothing is repaired. Raises what `repair` raises."""
        before = self.bytes_on_wire
        differing = await self._compare(collection)
        with self._store.writing() as writer:  # it notes what is damaged
            found = [(each, self._evidence(writer, collection, each)) for each in differing]
        return report(found, self.bytes_on_wire - before)

    async def _compare(self, collection: str) -> tuple[str, ...]:
        """The documents that differ, but for those with own edits on their way."""
        waiting: tuple[str, ...] = ("",)
        documents: list[str] = []
        record = self._store.record(collection)
        while waiting:
            ranges, waiting = waiting[:MOST_RANGES], waiting[MOST_RANGES:]
            request = RangeRequest(tenant=record.collection.tenant, collection=collection, ranges=ranges)
            reply = await self._hub.ranges(request)
            self.bytes_on_wire += len(encode(request)) + len(encode(reply))
            with self._store.reading() as reader:
                _check_position(reader.record(collection).replica.position, reply.position, collection)
                found = differences(reader.tree(collection, ranges), ranges, reply.ranges)
            waiting = (*waiting, *found.ranges)
            documents += found.documents
        with self._store.reading() as reader:
            pending = reader.pending_documents(collection)
        return tuple(each for each in documents if each not in pending)

    async def _fetch(self, collection: str, document_ids: Sequence[str]) -> HeldDocuments:
        tenant = self._store.record(collection).collection.tenant
        request = DocumentsRequest(tenant=tenant, collection=collection, document_ids=tuple(document_ids))
        reply = await self._hub.documents(request)
        self.bytes_on_wire += len(encode(request)) + len(encode(reply))
        if not reply.documents:
            raise ComparisonMovedError(f"{collection}: the hub's reply holds none of {len(document_ids)} documents")
        return reply

    def _mend(self, reply: HeldDocuments) -> tuple[list[tuple[str, DriftEvidence]], list[HeldDocument]]:
        """Take the hub's versions, and keep those of ours that it does not know; these are returned to be offered."""
        evidence: list[tuple[str, DriftEvidence]] = []
        lost: list[HeldDocument] = []
        theirs = [(document, held_of(document)) for document in reply.documents]
        for _, held in theirs:
            for version in held.siblings.versions:
                check_signature(self._verifier, version.operation, held.signed[version.digest])
        with self._store.writing() as writer:
            _check_position(writer.record(reply.collection).replica.position, reply.position, reply.collection)
            for document, held in theirs:
                evidence.append((document.document_id, self._evidence(writer, reply.collection, document.document_id)))
                merged = self._merged(writer, reply, document.document_id, held)
                writer.put_held(reply.collection, document.document_id, merged)
                if merged.siblings != held.siblings:
                    lost.append(document_of(document.document_id, merged))
        return evidence, lost

    def _merged(self, writer: StoreWriter, reply: HeldDocuments, document_id: str, theirs: Held) -> Held:
        # Our own context is not looked at: it is signed by nobody, and what it covers the versions' contexts cover.
        mine = writer.held_or_damaged(reply.collection, document_id)
        siblings = theirs.siblings
        for version in mine.siblings.versions:
            is_known = covers(theirs.siblings.clock, version.operation.dot)
            if not is_known and self._is_trusted(mine, version.digest):
                siblings = join(siblings, version)
        return mine.with_siblings(siblings, theirs.signed)

    def _evidence(self, writer: StoreWriter, collection: str, document_id: str) -> DriftEvidence:
        is_stored = writer.digest_of(collection, document_id) is not None
        mine = writer.held_or_damaged(collection, document_id)
        return DriftEvidence(
            is_stored=is_stored or document_id in writer.damages(collection),
            storage_checksum_ok=document_id not in writer.damages(collection),
            signature_ok=all(self._is_trusted(mine, digest) for digest in mine.signed),
            made_by=writer.record(collection).made_by,
            code_version=self._code_version,
        )

    def _is_trusted(self, held: Held, digest: str) -> bool:
        [version] = [each for each in held.siblings.versions if each.digest == digest]
        try:
            check_signature(self._verifier, version.operation, held.signed[digest])
        except UntrustedOperationError:
            return False
        return True

    async def _offer(self, collection: str, documents: list[HeldDocument]) -> None:
        record = self._store.record(collection)
        tenant, position = record.collection.tenant, record.replica.position
        for batch in _batches(documents):
            offered = HeldDocuments(tenant=tenant, collection=collection, position=position, documents=tuple(batch))
            self.bytes_on_wire += len(encode(offered))
            await self._hub.offer(offered)

    def _is_resync_cheaper(self, collection: str, differing: int, snapshot: SnapshotManifest) -> bool:
        position = self._store.record(collection).replica.position
        each = snapshot.size // max(1, snapshot.documents) + DIALOGUE_BYTES
        is_usable = position is not None and snapshot.position >= position
        return is_usable and is_resync_cheaper(differing, each, snapshot)

    def _finish(self, collection: str) -> None:
        with self._store.writing() as writer:
            writer.clear_damage(collection)
            take_event(writer, collection, ReplicaEvent("repair-done"))

    def _note(self, collection: str, kind: ReplicaEventKind) -> None:
        with self._store.writing() as writer:
            take_event(writer, collection, ReplicaEvent(kind))


def _check_position(mine: LogPosition | None, theirs: LogPosition | None, collection: str) -> None:
    nothing = LogPosition(1)  # before the first entry of a log
    if (mine or nothing) != (theirs or nothing):
        raise ComparisonMovedError(f"{collection}: the hub is at {theirs}, this replica at {mine or 'no position'}")


def _batches(documents: list[HeldDocument]) -> Iterator[list[HeldDocument]]:
    batch: list[HeldDocument] = []
    left = MOST_REPLY_BYTES
    for document in documents:
        size = len(msgspec.msgpack.encode(document))
        if batch and (size > left or len(batch) == MOST_DOCUMENTS):
            yield batch
            batch, left = [], MOST_REPLY_BYTES
        batch.append(document)
        left -= size
    if batch:
        yield batch
