"""The hub's TUF repository: a directory of bytes, in which the timestamp is written last.

A crash leaves the state before or the one after, and a copy of the directory is a whole repository (an air gap).
What is read is verified before it is signed anew. Next: roles.py; client.py, who believes it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec
from tuf.api.metadata import MetaFile, Snapshot, TargetFile, Targets, Timestamp

from tidegate.schemas.artefact import ArtefactDescriptor, ArtefactManifest
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.sync import SnapshotChunk, SnapshotManifest
from tidegate.schemas.trust import TrustedKey
from tidegate.sync.trust.chunks import CHUNK_BYTES, cut, is_chunk, store_chunk
from tidegate.sync.trust.faults import RolledBackError, TamperedChunkError
from tidegate.sync.trust.files import replace_file
from tidegate.sync.trust.keyring import public_key
from tidegate.sync.trust.metadata import MetadataDirectory, RepositoryState, empty_state
from tidegate.sync.trust.roles import (
    HUB_TIME,
    Lifetimes,
    RoleKeys,
    Signers,
    TufRole,
    first_root,
    next_root,
    sign_role,
    sign_root,
    without_key,
)
from tidegate.sync.trust.targets import (
    PREPARED,
    TargetManifest,
    artefact_path,
    artefacts_in,
    blob_name,
    read_manifest,
    target_of,
)


class RepositoryExistsError(TidegateError):
    """There is a repository here already."""

    hint = "exchange its keys with `tidegate keys rotate`, or name another directory with --repository"


class StoredFile(msgspec.Struct, frozen=True):
    """A file that a repository holds as chunks; published once a manifest with these is."""

    chunks: tuple[SnapshotChunk, ...]
    digest: str
    size: int


class Repository:
    """A TUF repository with consistent snapshots. Every change takes `signers` (keys of the roles that it touches) and
    `now_ms`, the hub's time; it raises `ThresholdNotMetError` before anything is written where keys are missing."""

    def __init__(self, directory: Path, lifetimes: Lifetimes | None = None) -> None:
        self.directory = directory
        self._metadata = MetadataDirectory(directory)
        self._lifetimes = lifetimes or Lifetimes()

    @property
    def exists(self) -> bool:
        """Whether it was ever made."""
        return self._metadata.exists

    def create(self, roles: Mapping[TufRole, RoleKeys], signers: Signers, now_ms: int) -> bytes:
        """Make it, empty; the first root, which sites are provisioned with. Raises `RepositoryExistsError`,
        `ThresholdNotMetError`."""
        with self._metadata.changing():
            if self.exists:
                raise RepositoryExistsError(f"{self.directory} is a repository already")
            root = first_root(roles, self._lifetimes.end("root", now_ms))
            data = sign_root(root, signers)
            self._metadata.write({"1.root.json": data, **self._sign_all(empty_state(root), {}, signers, now_ms)})
            return data

    def state(self) -> RepositoryState:
        """The metadata in force, verified. Raises `RepositoryMissingError`, `MalformedMetadataError`."""
        return self._metadata.state()

    def publish(
        self, manifests: Sequence[TargetManifest], signers: Signers, now_ms: int, withdrawn: Collection[str] = ()
    ) -> None:
        """Publish manifests whose chunks are stored, and the targets `withdrawn` no longer, all at once.

        Raises `RolledBackError` for an artefact that does not come after the epoch that is published,
        `ThresholdNotMetError`, `OSError`.
        """

        def change(targets: dict[str, TargetFile]) -> None:
            known = artefacts_in(targets)
            for path in withdrawn:
                targets.pop(path, None)
            for manifest in manifests:
                if isinstance(manifest, ArtefactManifest):
                    _check_epoch(manifest.artefact, known.get(artefact_path(manifest.artefact)))
                target, data = target_of(manifest)
                replace_file(self.directory / blob_name(target), data)
                targets[target.path] = target

        self._change(change, signers, now_ms)

    def store(self, file: BinaryIO, chunk_bytes: int = CHUNK_BYTES) -> StoredFile:
        """Store a file as chunks, for a manifest that is to be published. Raises `OSError`."""
        whole, chunks = sha256(), []
        for chunk, data in cut(file, chunk_bytes):
            whole.update(data)
            self._put(chunk, data)
            chunks.append(chunk)
        return StoredFile(tuple(chunks), whole.hexdigest(), sum(chunk.size for chunk in chunks))

    def put_chunk(self, chunk: SnapshotChunk, data: bytes) -> None:
        """Store one chunk, for a manifest that is to be published soon. Raises `TamperedChunkError` where these are not
        its bytes, `OSError`."""
        if not is_chunk(chunk, data):
            raise TamperedChunkError(f"these are not the {chunk.size} bytes of the chunk {chunk.digest}")
        self._put(chunk, data)

    def changing(self) -> AbstractContextManager[None]:
        """Nobody else changes the repository meanwhile, in any process. Raises `OSError`."""
        return self._metadata.changing()

    def renew(self, signers: Signers, now_ms: int) -> None:
        """Sign a fresh timestamp; snapshot and targets too, where less than a third of their time is left."""
        with self._metadata.changing():
            state = self.state()
            is_late = any(
                _is_late(signed.expires, now_ms, lasts_s)
                for signed, lasts_s in (
                    (state.snapshot, self._lifetimes.snapshot_s),
                    (state.targets, self._lifetimes.targets_s),
                )
            )
            sign = self._sign_all(state, state.targets.targets, signers, now_ms) if is_late else None
            self._metadata.write(sign or self._sign_timestamp(state, state.timestamp.snapshot_meta, signers, now_ms))

    def supersede(self, above: int, signers: Signers, now_ms: int) -> None:
        """Go on after a backup was restored: what is published now follows upon whatever a site has seen.

        `above` is the highest version that any site knows. As no epoch of an artefact is higher than that either, every
        artefact gets the next one, with the same bytes; snapshots are withdrawn, as newer ones were seen.
        """
        with self._metadata.changing():
            state = self.state()
            for signed in (state.timestamp, state.snapshot, state.targets):
                signed.version = max(signed.version, above)
            targets: dict[str, TargetFile] = {}
            for path, target in state.targets.targets.items():
                manifest = read_manifest(target, (self.directory / blob_name(target)).read_bytes())
                if isinstance(manifest, SnapshotManifest) or path.startswith(PREPARED):
                    continue
                targets[path] = target
                if isinstance(manifest, ArtefactManifest):
                    artefact = msgspec.structs.replace(manifest.artefact, epoch=max(manifest.artefact.epoch, above) + 1)
                    targets[path], data = target_of(msgspec.structs.replace(manifest, artefact=artefact))
                    replace_file(self.directory / blob_name(targets[path]), data)
            self._metadata.write(self._sign_all(state, targets, signers, now_ms))

    def rotate(self, role: TufRole, key: TrustedKey, signers: Signers, now_ms: int) -> int:
        """Give a role one more key, and sign what the role signs with it as well; the version of the new root.

        The keys before it stay good, so that no site is between two: `revoke` them when all have the new root. Needs
        the root's keys. Raises `ThresholdNotMetError`.
        """
        with self._metadata.changing():
            state = self.state()
            root = next_root(state.root, self._lifetimes.end("root", now_ms))
            root.add_key(public_key(key), role)
            after = msgspec.structs.replace(state, root=root)
            files = self._resign(after, (role,), signers, now_ms)
            self._metadata.write({f"{root.version}.root.json": sign_root(root, signers, state.root)})
            self._metadata.write(files)
            return root.version

    def revoke(self, key_id: str, signers: Signers, now_ms: int) -> int:
        """Let a key sign nothing any more; the version of the new root. Needs the root's keys.

        What it signed is signed by the others first, which the root before knows too. Raises `UnknownKeyError`,
        `LastKeyError`, `ThresholdNotMetError`.
        """
        with self._metadata.changing():
            state = self.state()
            root, roles = without_key(state.root, key_id, self._lifetimes.end("root", now_ms))
            files = self._resign(msgspec.structs.replace(state, root=root), roles, signers, now_ms)
            data = sign_root(root, signers, state.root)
            self._metadata.write(files)
            self._metadata.write({f"{root.version}.root.json": data})
            return root.version

    def _put(self, chunk: SnapshotChunk, data: bytes) -> None:
        with self._metadata.changing():  # or it could be deleted at this moment: see withdrawal.py
            store_chunk(self.directory, chunk, data)

    def _change(self, change: Callable[[dict[str, TargetFile]], None], signers: Signers, now_ms: int) -> None:
        with self._metadata.changing():
            state = self.state()
            targets = dict(state.targets.targets)
            change(targets)
            self._metadata.write(self._sign_all(state, targets, signers, now_ms))

    def _resign(
        self, state: RepositoryState, roles: Sequence[TufRole], signers: Signers, now_ms: int
    ) -> dict[str, bytes]:
        """What is signed anew once the keys of these roles have changed; nothing for the root's alone."""
        if {"targets", "snapshot"} & set(roles):
            return self._sign_all(state, state.targets.targets, signers, now_ms)
        if "timestamp" in roles:
            return self._sign_timestamp(state, state.timestamp.snapshot_meta, signers, now_ms)
        return {}

    def _sign_all(
        self, state: RepositoryState, targets: Mapping[str, TargetFile], signers: Signers, now_ms: int
    ) -> dict[str, bytes]:
        """Targets, snapshot and timestamp, one version on, in the order in which they are written."""
        number, lifetimes = state.targets.version + 1, self._lifetimes
        signed = Targets(version=number, expires=lifetimes.end("targets", now_ms), targets=dict(targets))
        data = sign_role(signed, state.root, signers)
        snapshot = Snapshot(
            version=state.snapshot.version + 1,
            expires=lifetimes.end("snapshot", now_ms),
            meta={"targets.json": MetaFile.from_data(number, data, ["sha256"])},
        )
        snapshot_data = sign_role(snapshot, state.root, signers)
        meta = MetaFile.from_data(snapshot.version, snapshot_data, ["sha256"])
        return {
            f"{number}.targets.json": data,
            f"{snapshot.version}.snapshot.json": snapshot_data,
            **self._sign_timestamp(state, meta, signers, now_ms),
        }

    def _sign_timestamp(
        self, state: RepositoryState, snapshot: MetaFile, signers: Signers, now_ms: int
    ) -> dict[str, bytes]:
        told_ms = max(now_ms, state.timestamp.unrecognized_fields.get(HUB_TIME, 0))
        timestamp = Timestamp(
            version=state.timestamp.version + 1,
            expires=self._lifetimes.end("timestamp", now_ms),
            snapshot_meta=snapshot,
            unrecognized_fields={HUB_TIME: told_ms},
        )
        return {"timestamp.json": sign_role(timestamp, state.root, signers)}


def _check_epoch(artefact: ArtefactDescriptor, published: ArtefactDescriptor | None) -> None:
    """Raises `RolledBackError` unless the artefact is of a later epoch than the published one, or that one itself."""
    if published is None or artefact.epoch > published.epoch or artefact == published:
        return
    raise RolledBackError(
        f"{artefact_path(artefact)} is published in epoch {published.epoch}, {artefact.epoch} does not follow it",
        f"publish it as epoch {published.epoch + 1}",
    )


def _is_late(expires: datetime, now_ms: int, lasts_s: int) -> bool:
    """Whether less than a third of its time is left."""
    return int(expires.timestamp()) * 3 - now_ms // 1000 * 3 < lasts_s
