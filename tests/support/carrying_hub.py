"""A hub that exports collections into files, with real keys, a real repository and a real store; and such files changed
on their way by somebody who makes their outer checksum right again."""

from __future__ import annotations

import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from tests.support.sync_parts import MemoryLog, text
from tests.support.trust_hub import NOW, TrustHub
from tidegate.schemas import Collection, SnapshotManifest
from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.author import Author
from tidegate.sync.bundle import MAGIC
from tidegate.sync.carrying import Exporter
from tidegate.sync.relay import Relay
from tidegate.sync.snapshots import write_snapshot
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.authors import AuthorSigner, KeyringVerifier
from tidegate.sync.trust.carried import CarriedManifest
from tidegate.sync.trust.chunks import store_chunk
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.sources import DirectorySource

FAQ = Collection(tenant="kiosk", name="faq")


class RepositoryBlobs:
    """A `BlobWriter` into a repository, which signs as the test says."""

    def __init__(self, trust: TrustHub, now_ms: Callable[[], int]) -> None:
        self._trust = trust
        self._now_ms = now_ms

    async def put(self, collection: str, digest: str, data: bytes) -> None:
        """See `BlobWriter`."""
        assert collection
        store_chunk(self._trust.files, SnapshotChunk(digest, len(data)), data)

    async def publish(self, manifest: SnapshotManifest) -> None:
        """See `BlobWriter`."""
        self._trust.repository.publish([manifest], self._trust.signers("author"), self._now_ms())


class CarryingHub:
    """A hub in a directory."""

    def __init__(self, directory: Path, rules: Collection = FAQ) -> None:
        self.trust = TrustHub(directory)
        self.key = self.trust.keys.generate("author", "hub", NOW)
        self.publish_keys()
        self.store = ReplicaStore(directory / "kiosk.sqlite", "hub", "00ff" * 4)
        self.store.put_collection(rules)
        self.rules, self.directory = rules, directory
        self.log = MemoryLog()
        verifier = KeyringVerifier(lambda: Keyring.of(self.trust.keys.register()))
        self.relay = Relay(self.store, self.log, verifier)
        self.author = Author(self.store, AuthorSigner(self.trust.keys.signer(self.key.key_id, NOW)))

    def publish_keys(self, now_ms: int = NOW) -> None:
        """Have sites know of the keys as they are."""
        self.trust.repository.publish([self.trust.keys.published()], self.trust.signers("author"), now_ms)

    async def write(self, names: str, body: str = "as it was") -> None:
        """Write documents, and relay them; `names` are words."""
        self.author.write_all(self.rules.name, {name: text(f"{name}: {body}") for name in names.split()}, NOW)
        await self.relay.take_own(NOW)

    async def snapshot(self) -> SnapshotManifest:
        """Publish a snapshot of what there is."""
        return await write_snapshot(self.store, self.rules.name, RepositoryBlobs(self.trust, lambda: NOW), NOW, 512)

    def exporter(self) -> Exporter:
        """What writes files at this hub."""
        signer = self.trust.keys.signer(self.key.key_id, NOW)
        return Exporter(self.directory / "kiosk.sqlite", self.log, self.trust.repository, signer)

    async def export(self, file: Path, now_ms: int = NOW) -> Path:
        """Write the collection into a file."""
        await self.exporter().export("kiosk", self.rules.name, file, now_ms)
        return file

    def provision(self, trust: Path) -> Path:
        """Have a site believe in this hub's first root."""
        RepositoryClient(trust, DirectorySource(self.trust.files)).provision(self.trust.root)
        return trust


def frames_of(file: Path) -> list[bytes]:
    """The frames of a bundle: head, signed manifest, chunks, deltas."""
    data, at = file.read_bytes(), len(MAGIC)
    frames = []
    while at < len(data) - 32:
        (size,) = struct.unpack_from(">Q", data, at)
        frames.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return frames


def rewrite(file: Path, frames: list[bytes]) -> None:
    """Write a bundle of these frames, with the checksum that they have."""
    data = MAGIC + b"".join(struct.pack(">Q", len(frame)) + frame for frame in frames)
    file.write_bytes(data + sha256(data).digest())


def change_carried(frames: list[bytes], change: Callable[[CarriedManifest], dict[str, Any]]) -> list[bytes]:
    """The frames with other fields in the signed manifest."""
    carried = msgspec.msgpack.decode(frames[1], type=CarriedManifest)
    return [frames[0], msgspec.msgpack.encode(msgspec.structs.replace(carried, **change(carried))), *frames[2:]]


async def open_hub(directory: Path) -> CarryingHub:
    """Five documents in the snapshot, and two changes behind it."""
    hub = CarryingHub(directory / "hub")
    await hub.write("a b c d e")
    await hub.snapshot()
    await hub.write("e f", "as it is")
    return hub
