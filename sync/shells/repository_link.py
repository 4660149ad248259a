"""The hub's repository on its way to the sites: put into the object stores at the hub, read from the mirror at a site.

What is urgent is put before what names it, the timestamp last, so that a site never sees a state that the hub did not
have; a crash leaves some of it for the next time. Next: repository_objects.py, the names; hub_repository.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from weakref import WeakValueDictionary

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.objects import (
    ObjectChangedError,
    ObjectDamagedError,
    ObjectIncompleteError,
    ObjectNotFoundError,
    ObjectStore,
)
from tidegate.schemas.artefact import ArtefactManifest
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import decode
from tidegate.schemas.sync import SnapshotChunk, SnapshotManifest
from tidegate.schemas.trust import KeyRegister
from tidegate.sync.rules.transfers import ORDER, URGENT
from tidegate.sync.shells.repository_objects import (
    METADATA_CLASS,
    ObjectLocation,
    class_of,
    locate_chunk,
    locate_chunks,
    locate_manifest,
    locate_metadata,
)
from tidegate.sync.trust.chunks import CHUNKS, chunk_name
from tidegate.sync.trust.faults import BlobMissingError, MixedVersionsError, SourceUnavailableError, TamperedChunkError
from tidegate.sync.trust.metadata import METADATA
from tidegate.sync.trust.publication import Publication, read_publication
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.targets import KEYS, blob_name, path_of
from tidegate.sync.trust.withdrawal import KeptTarget, read_kept

IN_FLIGHT = 8
"""Objects that are put at once: each waits for several acknowledgements."""
Stores = Mapping[str, ObjectStore]
"""The object stores of a domain, by bucket."""


class RepositoryUploader:
    """Puts what is new of a repository's directory into the hub's stores, for the sites of `tenants`."""

    def __init__(self, repository: Repository, stores: Stores, tenants: Sequence[str]) -> None:
        self._repository = repository
        self._directory = repository.directory
        self._stores = stores
        self._tenants = tuple(tenants)
        self._there: set[ObjectLocation] | None = None
        self._signed: dict[ObjectLocation, bytes] = {}
        self._putting = WeakValueDictionary[ObjectLocation, asyncio.Lock]()  # as long as somebody holds or awaits one
        self._uploading = asyncio.Lock()

    async def upload(self, paths: Collection[str] = ()) -> int:
        """Put the metadata, and before it what it names of the urgent classes and at `paths`; how many objects it was.

        Raises what `Repository.state` and `ObjectStore.put` raise; what was put before stays.
        """
        async with self._uploading:
            found = await asyncio.to_thread(read_publication, self._repository)
            put = await self._put_targets(found, lambda path: path in paths or class_of(path) in URGENT)
            for tenant in self._tenants:
                for name, data in found.files.items():
                    put += await self._put_signed(locate_metadata(tenant, name), data)
            return put

    async def upload_bulk(self) -> int:
        """Put what is named of the other classes and is not there: it was cut. Raises as `upload` does."""
        found = await asyncio.to_thread(read_publication, self._repository)
        return await self._put_targets(found, lambda path: class_of(path) not in URGENT)

    async def put_chunks(self, path: str, chunks: Sequence[SnapshotChunk]) -> int:
        """Put chunks of a target that is to be published, from the directory; how many were put."""
        there = await self._known()
        missing = {
            location: self._directory / CHUNKS / digest
            for digest, location in locate_chunks(path, chunks).items()
            if location not in there
        }
        limit = asyncio.Semaphore(IN_FLIGHT)

        async def put(location: ObjectLocation, file: Path) -> None:
            async with limit:
                await self._put(location, file)

        await asyncio.gather(*(put(location, file) for location, file in missing.items()))
        return len(missing)

    async def delete_all_but(self, kept: Iterable[KeptTarget]) -> int:
        """Delete objects of targets that the repository keeps no longer, and metadata and chunks whose files are gone;
        how many. Raises what `ObjectStore.delete` raises."""
        wanted: set[ObjectLocation] = set()
        for target in kept:
            wanted.update(locate_manifest(target.path, target.digest, self._tenants))
            if target.path != KEYS:
                wanted.update(locate_chunks(target.path, target.chunks).values())
        there = await self._known()
        gone = [location for location in sorted(there - wanted) if not self._has_file(location)]
        for location in gone:
            await self._stores[location.bucket].delete(location.name)
            there.discard(location)
            self._signed.pop(location, None)
        return len(gone)

    async def _put_targets(self, found: Publication, is_wanted: Callable[[str], bool]) -> int:
        wanted = [(path, target) for path, target in found.targets.items() if is_wanted(path)]
        put = 0
        for path, target in sorted(wanted, key=lambda each: ORDER.index(class_of(each[0]))):
            put += await self._put_target(path, target.hashes["sha256"], self._directory / blob_name(target))
        return put

    async def _put_target(self, path: str, digest: str, blob: Path) -> int:
        there = await self._known()
        missing = [each for each in locate_manifest(path, digest, self._tenants) if each not in there]
        if not missing:
            return 0
        named = await asyncio.to_thread(read_kept, blob)
        put = await self.put_chunks(path, named.chunks) if named.chunks else 0
        for location in missing:
            await self._put(location, blob)
        return put + len(missing)

    async def _put_signed(self, location: ObjectLocation, data: bytes) -> int:
        """Put a metadata file; the timestamp keeps its name, and is put whenever its bytes are others."""
        if self._signed.get(location) == data:
            return 0
        await self._stores[location.bucket].put(location.name, data)
        self._signed[location] = data
        (await self._known()).add(location)
        return 1

    async def _put(self, location: ObjectLocation, file: Path) -> None:
        """Put a file under a name that is its digest's; of two that want the same, the second waits and finds it there.

        No task of its own does it: one that several wait for goes on when all of them are ended.
        """
        putting = self._putting.setdefault(location, asyncio.Lock())
        async with putting:
            if location not in await self._known():
                await self._stores[location.bucket].put(location.name, file)
                (await self._known()).add(location)

    async def _known(self) -> set[ObjectLocation]:
        """What is in the stores; looked up once, as nobody else puts anything there."""
        if self._there is None:
            found: set[ObjectLocation] = set()
            for bucket in ORDER:
                listed = await self._stores[bucket].list_objects()
                found.update(ObjectLocation(bucket, info.name) for info in listed)
            self._there = found
        return self._there

    def _has_file(self, location: ObjectLocation) -> bool:
        """Whether an object that no target names is of a file that is there: metadata, a snapshot in the making."""
        words = location.name.split(".")
        if location.bucket == METADATA_CLASS and words[1] == METADATA:
            return (self._directory / METADATA / f"{'.'.join(words[2:])}.json").exists()
        return words[-2] == "chunk" and (self._directory / CHUNKS / words[-1]).exists()


class ObjectSource:
    """A repository as the objects in the stores of a domain, one for all of `tenants`; a `BlobSource`.

    The name of a chunk does not say whose it is: that is known from the manifest that was read before it.
    """

    def __init__(self, stores: Stores, tenants: Sequence[str]) -> None:
        self._stores = stores
        self._tenants = tuple(tenants)
        self._chunks: dict[str, ObjectLocation] = {}

    async def read(self, name: str, offset: int, size: int) -> bytes:
        """Part of a file. Raises `BlobMissingError` where it is not there (yet), `TamperedChunkError`,
        `MixedVersionsError` where the store holds other bytes than it says, `SourceUnavailableError`."""
        data = await self.read_object(self._locate(name), offset, size)
        if name.startswith("targets/") and not offset:
            self._learn(data)
        return data

    async def read_object(self, location: ObjectLocation, offset: int, size: int) -> bytes:
        """Part of an object. Raises as `read` does."""
        try:
            return await self._stores[location.bucket].read(location.name, offset, size)
        except ObjectNotFoundError as error:
            raise BlobMissingError(error.reason, error.hint) from error
        except ObjectDamagedError as error:
            kind = TamperedChunkError if ".chunk." in location.name else MixedVersionsError
            raise kind(error.reason) from error
        except (ObjectIncompleteError, ObjectChangedError, UnreachableError, TimeoutError) as error:
            raise SourceUnavailableError(f"{location.bucket}/{location.name}: {error}") from error

    def _locate(self, name: str) -> ObjectLocation:
        folder, _, rest = name.partition("/")
        if folder == METADATA:
            return locate_metadata(self._tenants[0], rest)
        if folder == "targets":
            scope, _, file = rest.rpartition("/")
            digest, _, last = file.partition(".")
            return locate_manifest(f"{scope}/{last}", digest, self._tenants)[0]
        if name in self._chunks:
            return self._chunks[name]
        raise BlobMissingError(f"no manifest that was read names {name}", "read the manifest of the target first")

    def _learn(self, data: bytes) -> None:
        """Where the chunks of a manifest are. It is not verified yet; what is read there will be."""
        try:
            manifest: object = decode(data, ArtefactManifest, SnapshotManifest, KeyRegister)
        except UnreadableError:  # whoever has asked for it finds out
            return
        if isinstance(manifest, ArtefactManifest | SnapshotManifest):
            path = path_of(manifest)
            self._chunks.update({chunk_name(chunk): locate_chunk(path, chunk.digest) for chunk in manifest.chunks})
