"""Snapshots of collections as targets of the repository: written and signed at the hub, verified and read at a site.

A manifest is believed for the hub's signature, a chunk for its digest in the manifest. Next: sync/snapshots.py,
`BlobWriter`; hub_repository.py; trust/client.py."""

from __future__ import annotations

from tidegate.schemas.sync import SnapshotChunk, SnapshotManifest
from tidegate.sync.shells.hub_repository import HubRepository
from tidegate.sync.shells.repository_link import ObjectSource
from tidegate.sync.shells.repository_objects import locate_chunk
from tidegate.sync.trust.chunks import MOST_CHUNK_BYTES, is_chunk
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import (
    BlobMissingError,
    MixedUpTargetError,
    SourceUnavailableError,
    TamperedChunkError,
    UnknownTargetError,
)
from tidegate.sync.trust.targets import snapshot_path


class RepositorySnapshots:
    """The snapshots of one tenant at the hub; a `BlobWriter`."""

    def __init__(self, repository: HubRepository, tenant: str) -> None:
        self._repository = repository
        self._tenant = tenant

    async def put(self, collection: str, digest: str, data: bytes) -> None:
        """See `BlobWriter`. Raises `TamperedChunkError` where the digest is another's, and as `HubRepository.put_chunk`
        does."""
        chunk = SnapshotChunk(digest, len(data))
        await self._repository.put_chunk(snapshot_path(self._tenant, collection), chunk, data)

    async def publish(self, manifest: SnapshotManifest) -> None:
        """See `BlobWriter`. Raises `MixedUpTargetError` for another tenant's, and as `HubRepository.publish` does."""
        if manifest.tenant != self._tenant:
            raise MixedUpTargetError(f"a snapshot of {manifest.tenant} is published as one of {self._tenant}")
        await self._repository.publish([manifest])


class TargetSnapshots:
    """The snapshots of one tenant at a site, from what it last verified of the repository."""

    def __init__(self, client: RepositoryClient, source: ObjectSource, tenant: str) -> None:
        self._client = client
        self._source = source
        self._tenant = tenant
        self._newest: dict[str, SnapshotManifest] = {}

    async def snapshot(self, collection: str) -> SnapshotManifest | None:
        """The newest snapshot whose manifest is here; None: there is none (yet), and the log may do without one.

        Raises a `TrustError` that says what is wrong with it, `NotProvisionedError`.
        """
        try:
            manifest = await self._client.manifest(snapshot_path(self._tenant, collection))
        except UnknownTargetError:
            return None
        except (BlobMissingError, SourceUnavailableError):  # still on its way, or held back until the night
            return self._newest.get(collection)
        assert isinstance(manifest, SnapshotManifest)  # `read_manifest` knows each by its name
        self._newest[collection] = manifest
        return manifest

    async def chunk(self, collection: str, digest: str) -> bytes:
        """A chunk of it, verified. Raises `TamperedChunkError`, `SourceUnavailableError` where it is not here yet."""
        location = locate_chunk(snapshot_path(self._tenant, collection), digest)
        try:
            data = await self._source.read_object(location, 0, MOST_CHUNK_BYTES + 1)
        except BlobMissingError as error:
            raise SourceUnavailableError(f"a chunk of {collection} is still on its way: {error}") from error
        if not is_chunk(SnapshotChunk(digest, len(data)), data):
            raise TamperedChunkError(f"a chunk of {collection} has other bytes than {digest[:12]}")
        return data
