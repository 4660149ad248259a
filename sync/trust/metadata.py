"""The metadata files of a repository: read and verified as a site would, changed by one process at a time.

They are written in the order that is given, each whole, so that the timestamp can be the last. Next: repository.py."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp
from tuf.api.serialization import DeserializationError

from tidegate.schemas.errors import TidegateError
from tidegate.sync.trust.faults import MalformedMetadataError
from tidegate.sync.trust.files import replace_file
from tidegate.sync.trust.roles import moment

METADATA = "metadata"
S = TypeVar("S", Root, Targets, Snapshot, Timestamp)


class RepositoryMissingError(TidegateError, LookupError):
    """There is no repository here."""

    hint = "make one with `tidegate keys init`, or name its directory with --repository"


class RepositoryState(msgspec.Struct, frozen=True):
    """The metadata that the timestamp vouches for."""

    root: Root
    timestamp: Timestamp
    snapshot: Snapshot
    targets: Targets


def empty_state(root: Root) -> RepositoryState:
    """What the first state of a repository follows upon: nothing, in version 0."""
    past = moment(0)
    state = RepositoryState(root, Timestamp(expires=past), Snapshot(expires=past), Targets(expires=past))
    for signed in (state.timestamp, state.snapshot, state.targets):
        signed.version = 0
    return state


class MetadataDirectory:
    """The metadata of one repository, below its directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._metadata = directory / METADATA

    @property
    def exists(self) -> bool:
        """Whether a timestamp was ever signed."""
        return (self._metadata / "timestamp.json").exists()

    @contextmanager
    def changing(self) -> Iterator[None]:
        """One process at a time gets here. Raises `OSError`."""
        self._metadata.mkdir(parents=True, exist_ok=True)
        with open(self._directory / ".lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def write(self, files: Mapping[str, bytes]) -> None:
        """Write the files one after the other, each durable before the next. Raises `OSError`."""
        for name, data in files.items():
            replace_file(self._metadata / name, data)

    def state(self) -> RepositoryState:
        """What is in force, verified. Raises `RepositoryMissingError`, `MalformedMetadataError`."""
        if not self.exists:
            raise RepositoryMissingError(f"{self._directory} is no repository")
        try:
            root = self._root()
            timestamp = self._read(root, Timestamp, "timestamp")
            meta = timestamp.snapshot_meta
            meta.verify_length_and_hashes(self._bytes(f"{meta.version}.snapshot"))
            snapshot = self._read(root, Snapshot, f"{meta.version}.snapshot")
            meta = snapshot.meta["targets.json"]
            meta.verify_length_and_hashes(self._bytes(f"{meta.version}.targets"))
            return RepositoryState(root, timestamp, snapshot, self._read(root, Targets, f"{meta.version}.targets"))
        except (RepositoryError, DeserializationError, OSError, KeyError) as error:
            raise MalformedMetadataError(f"{self._directory}: {error}", "copy the repository from a backup") from error

    def _root(self) -> Root:
        """The newest root, to which each one before it leads."""
        versions = sorted(int(path.name.split(".")[0]) for path in self._metadata.glob("*.root.json"))
        root: Root | None = None
        for version in versions:
            metadata = Metadata[Root].from_bytes(self._bytes(f"{version}.root"))
            for judge in (root or metadata.signed, metadata.signed):
                judge.verify_delegate("root", metadata.signed_bytes, metadata.signatures)
            root = metadata.signed
        if root is None:
            raise RepositoryMissingError(f"{self._directory} has no root")
        return root

    def _read(self, root: Root, kind: type[S], name: str) -> S:
        metadata: Metadata[S] = Metadata.from_bytes(self._bytes(name))
        root.verify_delegate(kind.type, metadata.signed_bytes, metadata.signatures)
        return metadata.signed

    def _bytes(self, name: str) -> bytes:
        return (self._metadata / f"{name}.json").read_bytes()
