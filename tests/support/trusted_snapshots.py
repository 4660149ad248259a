"""Snapshots as TUF targets in a directory: written by the hub's repository, read by a site's client of it."""

from __future__ import annotations

from pathlib import Path

from tests.support.trust_hub import BOOT, NOW, TrustHub
from tidegate.schemas import SnapshotManifest
from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.rules.staleness import Now
from tidegate.sync.trust.chunks import store_chunk
from tidegate.sync.trust.targets import snapshot_path


def now() -> Now:
    """A moment by which nothing has expired."""
    return Now(boot_id=BOOT, monotonic_ms=0, wall_ms=NOW)


class RepositoryBlobs:
    """See `snapshots.BlobWriter`."""

    def __init__(self, hub: TrustHub) -> None:
        self._hub = hub
        self.published: list[SnapshotManifest] = []

    async def put(self, collection: str, digest: str, data: bytes) -> None:
        assert collection
        store_chunk(self._hub.files, SnapshotChunk(digest, len(data)), data)

    async def publish(self, manifest: SnapshotManifest) -> None:
        self._hub.repository.publish([manifest], self._hub.signers(), NOW)
        self.published.append(manifest)


class RepositorySnapshots:
    """See `leaf_client.SnapshotSource`."""

    def __init__(self, hub: TrustHub, directory: Path) -> None:
        self._client = hub.client(directory)
        self.fetched: list[str] = []

    async def manifest(self, tenant: str, collection: str) -> SnapshotManifest | None:
        generation = await self._client.refresh(now())
        path = snapshot_path(tenant, collection)
        if path not in generation.targets:
            return None
        manifest = (await self._client.fetch(path)).manifest
        assert isinstance(manifest, SnapshotManifest)
        return manifest

    async def chunk(self, tenant: str, collection: str, digest: str) -> bytes:
        target = await self._client.fetch(snapshot_path(tenant, collection))
        assert isinstance(target.manifest, SnapshotManifest)
        assert target.file is not None
        offset = 0
        for chunk in target.manifest.chunks:
            if chunk.digest == digest:
                self.fetched.append(digest)
                with target.file.open("rb") as file:
                    file.seek(offset)
                    return file.read(chunk.size)
            offset += chunk.size
        raise AssertionError(f"{digest} is no chunk of the newest snapshot")
