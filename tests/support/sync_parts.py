"""What the shells of sync stand on in tests: keys, a hub with its log and blobs in memory, and sites that follow it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tidegate.schemas import (
    Collection,
    CollectionDelta,
    CollectionHead,
    DocumentContent,
    DocumentsRequest,
    HeldDocuments,
    LogPosition,
    RangeReply,
    RangeRequest,
    SignedOperation,
    SnapshotManifest,
)
from tidegate.sync.author import Author
from tidegate.sync.follower import Follower
from tidegate.sync.hub_client import HubState
from tidegate.sync.relay import LogConflictError, Relay
from tidegate.sync.repair import Repairer
from tidegate.sync.snapshots import write_snapshot
from tidegate.sync.store import ReplicaStore

NOTICES = Collection(tenant="kiosk", name="notices", sites_write=True, merge="field-merge")
NOW = 1_790_000_000_000


def fast_directory() -> TemporaryDirectory[str]:
    """A directory in memory where there is one: a killed process leaves the same there, and nobody waits for a disk."""
    memory = Path("/dev/shm")
    return TemporaryDirectory(dir=memory if memory.is_dir() and os.access(memory, os.W_OK) else None)


def text(body: str, title: str = "Hours") -> DocumentContent:
    """A document in English."""
    return DocumentContent(title=title, language="en", text=body)


class Keys:
    """A key for each author, made from its name: whoever has the name can check."""

    def __init__(self, author: str) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(sha256(author.encode()).digest())
        self.key_id = sha256(self._private.public_key().public_bytes_raw()).hexdigest()

    def sign(self, payload: bytes) -> bytes:
        return self._private.sign(payload)

    @property
    def public(self) -> Ed25519PublicKey:
        return self._private.public_key()


class KeyRing:
    """Checks signatures by the keys of all authors; remembers what it checked, since tests check much twice."""

    def __init__(self) -> None:
        self._keys: dict[str, Keys] = {}
        self._checked: dict[tuple[str, str, bytes, bytes], bool] = {}

    def is_signed(self, author: str, key_id: str, signed: SignedOperation, at_ms: int) -> bool:
        """See `SignatureVerifier`."""
        assert at_ms >= 0
        asked = (author, key_id, signed.payload, signed.signature)
        if asked not in self._checked:
            self._checked[asked] = self._check(author, key_id, signed)
        return self._checked[asked]

    def _check(self, author: str, key_id: str, signed: SignedOperation) -> bool:
        keys = self._keys.setdefault(author, Keys(author))
        if keys.key_id != key_id:
            return False
        try:
            keys.public.verify(signed.signature, signed.payload)
        except InvalidSignature:
            return False
        return True


RING = KeyRing()


class MemoryLog:
    """The logs of a hub: a stream with one writer, which checks where it appends."""

    def __init__(self) -> None:
        self.deltas: dict[str, list[CollectionDelta]] = {}
        self.crash_after: int | None = None
        """How many more deltas it stores before the hub dies."""

    async def append(self, deltas: Sequence[CollectionDelta]) -> None:
        """See `LogWriter`."""
        for delta in deltas:
            held = self.deltas.setdefault(delta.collection, [])
            end = held[-1].position if held else LogPosition(1)
            begins = delta.position.index == 1 and delta.position.epoch > end.epoch
            if not begins and delta.position != LogPosition(end.epoch, end.index + 1):
                raise LogConflictError(f"the log ends at {end}, {delta.position} was to be appended")
            if self.crash_after is not None:
                if self.crash_after == 0:
                    raise ConnectionError("the hub dies here")
                self.crash_after -= 1
            held.append(delta)

    async def read(self, collection: str, after: LogPosition, limit: int) -> tuple[CollectionDelta, ...]:
        """See `LogWriter`."""
        return tuple(each for each in self.deltas.get(collection, []) if each.position > after)[:limit]

    def tail(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        """The deltas of an epoch from one index to another."""
        return tuple(
            each
            for each in self.deltas.get(collection, [])
            if each.position.epoch == epoch and first <= each.position.index <= last
        )


class MemoryBlobs:
    """The object store of a hub, and the newest manifest of each collection."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[str, SnapshotManifest] = {}

    async def put(self, collection: str, digest: str, data: bytes) -> None:
        """See `BlobWriter`."""
        self.chunks[collection, digest] = data

    async def publish(self, manifest: SnapshotManifest) -> None:
        """See `BlobWriter`."""
        self.manifests[manifest.collection] = manifest


class Hub:
    """A hub in a directory: its store, its relay, its own author, its log and its blobs, which outlive a restart."""

    def __init__(self, path: Path, log: MemoryLog, blobs: MemoryBlobs, boot: int = 0, file: str = "sync.db") -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.log, self.blobs = path, log, blobs
        self.store = ReplicaStore(path / file, "hub", f"{boot:016x}")
        self.relay = Relay(self.store, log, RING)
        self.author = Author(self.store, Keys("hub"))
        self.state = HubState(self.store)

    async def snapshot(self, collection: str = "notices", chunk_bytes: int = 4096) -> SnapshotManifest:
        """Write a snapshot of the collection as it is."""
        await self.relay.take_own(NOW)
        return await write_snapshot(self.store, collection, self.blobs, NOW, chunk_bytes)


class DirectClient:
    """The hub of a site, reached without a link: each call is a method, so that a test can stand in its way."""

    def __init__(self, hub: Hub, site: str) -> None:
        self.hub, self.site = hub, site

    async def head(self, collection: str) -> CollectionHead:
        return self.hub.state.head(self.site, collection, NOW)

    async def deltas(self, collection: str, epoch: int, first: int, last: int) -> tuple[CollectionDelta, ...]:
        return self.hub.log.tail(collection, epoch, first, last)

    async def snapshot(self, collection: str) -> SnapshotManifest | None:
        return self.hub.blobs.manifests.get(collection)

    async def chunk(self, collection: str, digest: str) -> bytes:
        return self.hub.blobs.chunks[collection, digest]

    async def ranges(self, request: RangeRequest) -> RangeReply:
        return self.hub.state.ranges(self.site, request)

    async def documents(self, request: DocumentsRequest) -> HeldDocuments:
        return self.hub.state.documents(self.site, request)

    async def offer(self, documents: HeldDocuments) -> None:
        await self.hub.relay.absorb(documents, NOW)


class Site:
    """A site in a directory: its store, its author, and its follower of the hub."""

    def __init__(
        self,
        path: Path,
        name: str,
        origin: DirectClient,
        *,
        boot: int = 0,
        incarnation: int = 1,
        file: str = "sync.db",
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path, self.name, self.origin = path, name, origin
        self.store = ReplicaStore(path / file, name, f"{boot:016x}", incarnation=incarnation)
        self.author = Author(self.store, Keys(name))
        self.follower = Follower(self.store, origin, RING)
        self.repairer = Repairer(self.store, origin, RING)

    def join(self, collection: Collection = NOTICES) -> Site:
        """Know of the collection, and have a lease."""
        self.store.put_collection(collection)
        self.follower.note(collection.name, "lease-granted")
        return self

    async def send(self, hub: Hub, now_ms: int = NOW, *, is_receipt_lost: bool = False) -> str:
        """Send the outbox to the hub; returns the outcome."""
        with self.store.reading() as reader:
            entries = reader.pending()
        if not entries:
            return "known"
        receipt = await hub.relay.take(self.name, [entry.operation for entry in entries], now_ms)
        if not is_receipt_lost:
            with self.store.writing() as writer:
                writer.clear_pending(entries[: receipt.taken])
        return receipt.outcome

    def checksum(self, collection: str = "notices") -> str:
        """The checksum of all that is held."""
        return self.store.record(collection).checksum.digest

    def texts(self, collection: str = "notices") -> dict[str, str]:
        """The documents as readers get them."""
        changes = self.store.changes_since(collection, 0)
        return {each.document_id: each.resolved.content.text for each in changes.documents if each.resolved.content}


def make_hub(path: Path, *collections: Collection) -> Hub:
    """A hub with these collections."""
    hub = Hub(path / "hub", MemoryLog(), MemoryBlobs())
    for collection in collections or (NOTICES,):
        hub.store.put_collection(collection)
    return hub


def make_site(path: Path, name: str, hub: Hub, collection: Collection = NOTICES) -> Site:
    """A site that follows the hub."""
    return Site(path / name, name, DirectClient(hub, name)).join(collection)
