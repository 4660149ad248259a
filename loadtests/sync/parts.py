"""A hub in this process for the measurements: its log and its chunks are in memory, its store is a file.

Whoever asks it is trusted, and what it is sent is believed. Next: costs.py."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tidegate.schemas import (
    Collection,
    CollectionDelta,
    CollectionHead,
    DocumentContent,
    DocumentOperation,
    DocumentsRequest,
    Dot,
    HeldDocument,
    HeldDocuments,
    HybridTime,
    LogPosition,
    RangeReply,
    RangeRequest,
    SignedOperation,
    SnapshotManifest,
    VectorClock,
    encode,
)
from tidegate.sync.apply import put_position
from tidegate.sync.author import Author
from tidegate.sync.hub_client import HubState
from tidegate.sync.records import held_of
from tidegate.sync.relay import Relay
from tidegate.sync.snapshots import write_snapshot
from tidegate.sync.store import ReplicaStore

NOW = 1_790_000_000_000
WORDS = 60


class NoKey:
    """Signs nothing."""

    key_id = "0" * 64

    def sign(self, payload: bytes) -> bytes:
        """64 bytes that nobody checks."""
        return sha256(payload).digest() * 2


class AllTrusted:
    """Takes every signature for a good one."""

    def is_signed(self, author: str, key_id: str, signed: SignedOperation, at_ms: int) -> bool:
        """Always."""
        return bool(author and key_id and signed.signature and at_ms >= 0)


class ListLog:
    """A log in memory, of one collection."""

    def __init__(self) -> None:
        self.deltas: list[CollectionDelta] = []
        self.skipped = 0
        """Deltas that nobody can read any more."""

    async def append(self, deltas: Sequence[CollectionDelta]) -> None:
        """Append: there is one writer."""
        self.deltas += deltas

    async def read(self, collection: str, after: LogPosition, limit: int) -> tuple[CollectionDelta, ...]:
        """The deltas behind an index of the only epoch."""
        first = after.index - self.skipped
        return tuple(self.deltas[first : first + limit]) if collection else ()


class Hub:
    """A hub with one collection; it is also the blob writer of its snapshots."""

    def __init__(self, path: Path) -> None:
        self.collection = Collection(tenant="kiosk", name="notices", merge="last-writer")
        self.store = ReplicaStore(path, "hub", "f" * 16)
        self.store.put_collection(self.collection)
        self.author, self.log, self.chunks = Author(self.store, NoKey()), ListLog(), dict[str, bytes]()
        self.relay = Relay(self.store, self.log, AllTrusted())
        self.manifest: SnapshotManifest | None = None
        self.edits = 0

    def fill(self, documents: int) -> None:
        """Put documents into the store as if they had been relayed: what was written before is not what is measured."""
        with self.store.writing() as writer:
            for number in range(1, documents + 1):
                document_id = f"d{number - 1}"
                signed = SignedOperation(payload=encode(operation_of(document_id, number)), signature=bytes(64))
                document = HeldDocument(document_id, VectorClock(), (signed,))
                writer.insert("notices", document, held_of(document).siblings.digest)
            writer.rebuild("notices")
            put_position(writer, "notices", LogPosition(1, documents), "")
        self.log.skipped = documents

    async def edit(self, document_ids: Sequence[str]) -> None:
        """Write each document once, and relay it."""
        self.edits += 1
        edited = {document_id: content_of(document_id, self.edits) for document_id in document_ids}
        self.author.write_all("notices", edited, NOW)
        await self.relay.take_own(NOW)

    async def snapshot(self) -> SnapshotManifest:
        """Write a snapshot."""
        return await write_snapshot(self.store, "notices", self, NOW)

    async def put(self, collection: str, digest: str, data: bytes) -> None:
        """Keep a chunk."""
        self.chunks[f"{collection}/{digest}"] = data

    async def publish(self, manifest: SnapshotManifest) -> None:
        """Keep the manifest."""
        self.manifest = manifest


def operation_of(document_id: str, number: int) -> DocumentOperation:
    """What an author of long ago wrote."""
    return DocumentOperation(
        tenant="kiosk",
        collection="notices",
        document_id=document_id,
        dot=Dot("site9@1", number),
        boot_id="9" * 16,
        time=HybridTime(number),
        signer="0" * 64,
        content=content_of(document_id, 0),
    )


def content_of(document_id: str, edit: int) -> DocumentContent:
    """Words that are of this edit of this document."""
    words = " ".join(f"{document_id}-{edit}" if number % 10 == 0 else "branch" for number in range(WORDS))
    return DocumentContent(title=document_id, language="en", text=words)


class HubInProcess:
    """What a site asks that hub for."""

    def __init__(self, hub: Hub) -> None:
        self._hub, self._state = hub, HubState(hub.store)

    async def head(self, collection: str) -> CollectionHead:
        """The head of the log, which begins behind the snapshot."""
        first = self._hub.manifest.position.index + 1 if self._hub.manifest else 1
        return self._state.head("site1", collection, NOW, first=first)

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        """The tail."""
        return await self._hub.log.read(collection, LogPosition(epoch, first - 1), last - first + 1)

    async def snapshot(self, collection: str) -> SnapshotManifest | None:
        """The snapshot."""
        return self._hub.manifest if collection else None

    async def chunk(self, collection: str, digest: str) -> bytes:
        """A chunk of it."""
        return self._hub.chunks[f"{collection}/{digest}"]

    async def ranges(self, request: RangeRequest) -> RangeReply:
        """Digests of ranges."""
        return self._state.ranges("site1", request)

    async def documents(self, request: DocumentsRequest) -> HeldDocuments:
        """Documents as they are held."""
        return self._state.documents("site1", request)

    async def offer(self, documents: HeldDocuments) -> None:
        """Nothing is lost at this hub."""
        raise AssertionError(documents.collection)
