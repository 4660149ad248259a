"""A site's client of the hub's repository: python-tuf decides what is trusted, by the hub's time, not the wall clock.

1. A refresh that is refused, for whatever reason, leaves the generation before it in force.
2. Expiry stops an update, and never what is held: that ages along its budgets (holdings.py).
3. A file is under its digest only once it is whole and verified; a cut transfer goes on behind its last good chunk.

Next: generation.py; verdicts.py, the names of what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from weakref import WeakValueDictionary

import msgspec
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import LengthOrHashMismatchError, Metadata, Root, TargetFile, Timestamp
from tuf.ngclient import Updater

from tidegate.schemas.artefact import ArtefactManifest
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.trust import KeyRegister
from tidegate.sync.trust.chunks import BlobSource, download
from tidegate.sync.trust.faults import (
    MalformedMetadataError,
    MixedUpTargetError,
    UnknownTargetError,
)
from tidegate.sync.trust.files import replace_file
from tidegate.sync.trust.generation import Generation, StoredGeneration, check_successor, read_generation
from tidegate.sync.trust.keyring import Keyring
from tidegate.sync.trust.roles import HUB_TIME, moment
from tidegate.sync.trust.sources import BlobFetcher
from tidegate.sync.trust.targets import KEYS, TargetManifest, blob_name, read_manifest
from tidegate.sync.trust.trusted_clock import TIME_FILE, Clocks, TrustedClock
from tidegate.sync.trust.verdicts import name_fault

TIMESTAMP = "metadata/timestamp.json"
MOST_TIMESTAMP_BYTES = 16_384


class NotProvisionedError(TidegateError, LookupError):
    """The site was never given the root of the hub's repository, or has never seen the repository."""

    hint = "provision the site with the hub's root, and refresh it once"


class FetchedTarget(msgspec.Struct, frozen=True):
    """A target whose manifest is verified, and the file with its bytes, verified too; a register has no file."""

    manifest: TargetManifest
    file: Path | None = None


class RepositoryClient:
    """One site's view of one repository, below `directory`; one at a time for each directory.

    `source` is asked in the loop that calls; no answer takes longer than `timeout_s`.
    """

    def __init__(self, directory: Path, source: BlobSource, timeout_s: float = 30.0) -> None:
        self._directory = directory
        self._source = source
        self._timeout_s = timeout_s
        self._refreshing = asyncio.Lock()
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.clock = TrustedClock(directory / TIME_FILE)

    @property
    def blobs(self) -> Path:
        """Where verified files are, by digest."""
        return self._directory / "blobs"

    def provision(self, root: bytes) -> None:
        """Believe this root, which came here by a way that is trusted. Raises `MalformedMetadataError`, `OSError`."""
        try:
            metadata = Metadata[Root].from_bytes(root)
            if metadata.signed.type != Root.type:
                raise MalformedMetadataError(f"this is no root of a repository, but its {metadata.signed.type}")
            metadata.signed.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
        except RepositoryError as error:
            raise MalformedMetadataError(f"this is no root of a repository: {error}") from error
        replace_file(self._directory / "provisioned.root.json", root)

    def generation(self) -> Generation:
        """What was last verified and applied. Raises `NotProvisionedError`, `MalformedMetadataError`."""
        try:
            return read_generation((self._directory / "generation.msgpack").read_bytes())
        except FileNotFoundError as error:
            raise NotProvisionedError(f"{self._directory} has seen no state of a repository") from error

    async def refresh(self, clocks: Clocks, is_copy: bool = False) -> Generation:
        """Verify the repository's present state, and apply it; what was in force before stays where that fails.

        `is_copy`: the repository was carried here. Its timestamp may have expired on the way: then what is held is as
        old as the hub's time in it, and ages from there. Raises a `TrustError` that names what is wrong,
        `NotProvisionedError`, `TimeWentBackError`, `OSError`. Source: TUF specification §5.
        """
        async with self._refreshing:
            root = await asyncio.to_thread(self._provisioned)
            reference_ms, pinned = self.clock.judge(clocks).trusted_ms, {}
            if is_copy:
                pinned[TIMESTAMP] = await self._source.read(TIMESTAMP, 0, MOST_TIMESTAMP_BYTES)
                reference_ms = min(reference_ms, _hub_time(pinned[TIMESTAMP]))
            fetcher = BlobFetcher(self._source, asyncio.get_running_loop(), self._timeout_s, pinned)
            return await asyncio.to_thread(self._apply, fetcher, root, reference_ms, clocks)

    async def fetch(self, path: str) -> FetchedTarget:
        """A target of the generation in force, and its bytes, each chunk verified as it comes.

        Raises `UnknownTargetError`, `MixedUpTargetError`, `TamperedChunkError`, `BlobMissingError`,
        `SourceUnavailableError`, `UnreadableError`, `OSError`; what was verified is kept for the next time.
        """
        target = self._target(path)
        manifest = read_manifest(target, await self._read_target(target))
        if isinstance(manifest, KeyRegister):
            return FetchedTarget(manifest)
        digest = manifest.artefact.digest if isinstance(manifest, ArtefactManifest) else ""
        file = self.blobs / (digest or target.hashes["sha256"])
        async with self._fetching.setdefault(file.name, asyncio.Lock()):  # two would write into one part
            await download(self._source, manifest.chunks, file, digest)
        return FetchedTarget(manifest, file)

    async def manifest(self, path: str) -> TargetManifest:
        """The manifest of a target of the generation in force, without its bytes. Raises as `fetch` does."""
        target = self._target(path)
        return read_manifest(target, await self._read_target(target))

    async def keyring(self) -> Keyring:
        """The keys that the hub trusts. Raises as `fetch` does, and `WrongKeyError`."""
        manifest = await self.manifest(KEYS)
        assert isinstance(manifest, KeyRegister)  # `read_manifest` knows each by its name
        return Keyring.of(manifest)

    def _target(self, path: str) -> TargetFile:
        target = self.generation().targets.get(path)
        if target is None:
            raise UnknownTargetError(f"the repository has nothing under {path}")
        return target

    async def _read_target(self, target: TargetFile) -> bytes:
        data = await self._source.read(blob_name(target), 0, target.length + 1)
        try:
            target.verify_length_and_hashes(data)
        except LengthOrHashMismatchError as error:
            raise MixedUpTargetError(f"{blob_name(target)} holds something else") from error
        return data

    def _provisioned(self) -> bytes:
        try:
            return (self._directory / "provisioned.root.json").read_bytes()
        except FileNotFoundError as error:
            raise NotProvisionedError(f"{self._directory} was never given the root of a repository") from error

    def _apply(self, fetcher: BlobFetcher, root: bytes, reference_ms: int, clocks: Clocks) -> Generation:
        """Update python-tuf's own files, and replace the generation by what they say; in a thread."""
        metadata = self._directory / "metadata"
        metadata.mkdir(parents=True, exist_ok=True)
        updater = Updater(str(metadata), "metadata/", fetcher=fetcher, bootstrap=root)
        # python-tuf takes the wall clock and offers no other; a test of a wrong wall clock fails should this go
        updater._trusted_set.reference_time = moment(reference_ms)
        try:
            updater.refresh()
        except (RepositoryError, DownloadError) as error:
            trusted = Metadata[Root].from_bytes((metadata / "root.json").read_bytes()).signed
            raise name_fault(error, fetcher.last, trusted) from error
        files = ((metadata / f"{role}.json").read_bytes() for role in ("root", "timestamp", "snapshot", "targets"))
        data = msgspec.msgpack.encode(StoredGeneration(*files))
        after = read_generation(data)
        check_successor(self._before(), after)
        replace_file(self._directory / "generation.msgpack", data)
        self.clock.tell(after.hub_time_ms, clocks)
        return after

    def _before(self) -> Generation | None:
        """The generation in force; None where there is none that can be read."""
        try:
            return self.generation()
        except (NotProvisionedError, MalformedMetadataError):
            return None


def _hub_time(timestamp: bytes) -> int:
    """The time in a timestamp that is not verified yet: python-tuf gets the same bytes. Raises
    `MalformedMetadataError`."""
    try:
        return int(Metadata[Timestamp].from_bytes(timestamp).signed.unrecognized_fields[HUB_TIME])
    except (RepositoryError, KeyError, ValueError, TypeError) as error:
        raise MalformedMetadataError(f"{TIMESTAMP}: {error}") from error
