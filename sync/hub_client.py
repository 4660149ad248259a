"""What a site asks the hub for, and the hub's answers from its store: heads, digests of ranges, documents.

Every answer is of one state, and refuses what the asker may not read. Next: follower.py, who asks; relay.py."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Protocol

from tidegate.schemas.comparison import RangeReply, RangeRequest
from tidegate.schemas.errors import RetryLaterError
from tidegate.schemas.replication import DocumentsRequest, HeldDocument, HeldDocuments
from tidegate.schemas.sync import CollectionDelta, CollectionHead, LogPosition, SnapshotManifest
from tidegate.sync.leasing import LeaseGate, check_lease
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import document_of
from tidegate.sync.rules.ownership import check_read
from tidegate.sync.store import ReplicaStore

MOST_REPLY_BYTES = 900_000


class HubClient(Protocol):
    """The hub, as a site reaches it. Whatever it returns was verified to come from the hub; deltas may be missing,
    twice, or in another order. Each call may raise `ConnectionError` or `TimeoutError`, and is then tried again."""

    async def head(self, collection: str) -> CollectionHead:
        """The end of the log, as of now."""

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        """Deltas of an epoch, `first` to `last`; fewer where a reply has no room for more."""

    async def snapshot(self, collection: str) -> SnapshotManifest | None:
        """The newest snapshot; None: there is none."""

    async def chunk(self, collection: str, digest: str) -> bytes:
        """A chunk of a snapshot. Whoever asked compares its digest."""

    async def ranges(self, request: RangeRequest) -> RangeReply:
        """Key ranges in detail."""

    async def documents(self, request: DocumentsRequest) -> HeldDocuments:
        """All that the hub holds of these documents; the first of them where a reply has no room for more."""

    async def offer(self, documents: HeldDocuments) -> None:
        """Give the hub what it does not hold: see `Relay.absorb`."""


class HubState:
    """Answers what sites ask, from the hub's store. Raises `NotOwnedError` for what the asker may not read, and
    `NoLeaseError` for what is sensitive, where `gate` knows of no live lease of the asker."""

    def __init__(
        self, store: ReplicaStore, gate: LeaseGate | None = None, now_ms: Callable[[], int] = lambda: int(time() * 1000)
    ) -> None:
        self._store = store
        self._gate = gate
        self._now_ms = now_ms

    def head(
        self, reader_site: str, collection: str, now_ms: int, first: int = 1, tail_bytes: int = 0
    ) -> CollectionHead:
        """The end of the log; `first` and `tail_bytes` are what can still be read of it. Raises `RetryLaterError`
        while the hub's own edits are not in the log."""
        with self._store.reading() as reader:
            position = self._position_at_rest(reader, reader_site, collection)
            record = reader.record(collection)
            return CollectionHead(
                tenant=record.collection.tenant,
                collection=collection,
                position=position,
                first=first,
                checksum=record.checksum.digest,
                documents=record.documents,
                tail_bytes=tail_bytes,
                known_at_ms=now_ms,
            )

    def ranges(self, reader_site: str, request: RangeRequest) -> RangeReply:
        """Key ranges in detail. Raises `RangeUnknownError`, `RetryLaterError`."""
        with self._store.reading() as reader:
            return RangeReply(
                tenant=request.tenant,
                collection=request.collection,
                position=self._position_at_rest(reader, reader_site, request.collection),
                ranges=reader.in_detail(request.collection, request.ranges),
            )

    def documents(self, reader_site: str, request: DocumentsRequest) -> HeldDocuments:
        """All that is held of documents, as many of them as one reply has room for. Raises `RetryLaterError`,
        `DocumentDamagedError`: the hub repairs its own store from the log first."""
        with self._store.reading() as reader:
            position = self._position_at_rest(reader, reader_site, request.collection)
            found: list[HeldDocument] = []
            left = MOST_REPLY_BYTES
            for document_id in request.document_ids:
                held = reader.held(request.collection, document_id)
                left -= sum(len(each.payload) for each in held.signed.values())
                if left < 0 and found:
                    break
                found.append(document_of(document_id, held))
            floor = reader.record(request.collection).floor
        return HeldDocuments(
            tenant=request.tenant,
            collection=request.collection,
            position=position,
            floor=floor,
            documents=tuple(found),
        )

    def check(self, site: str, collection: str) -> None:
        """Raises `NotOwnedError`, `NoLeaseError`, `RevokedSiteError` where the site may not be given a collection."""
        with self._store.reading() as reader:
            rule = reader.record(collection).collection
        check_read(rule, site, home=self._store.domain)  # what a site keeps to itself is nobody's here
        check_lease(self._gate, rule, site, self._now_ms())

    def _position_at_rest(self, reader: StoreReader, site: str, collection: str) -> LogPosition:
        """The position that the documents are those of: not while an own edit is applied, and not in the log yet."""
        record = reader.record(collection)
        check_read(record.collection, site, home=self._store.domain)  # what a site keeps to itself is nobody's here
        check_lease(self._gate, record.collection, site, self._now_ms())
        if reader.pending_documents(collection):
            raise RetryLaterError(f"{collection}: edits of the hub are on their way into the log", after_s=0.1)
        return record.replica.position or LogPosition(1)
