"""What a collection in a file is verified by: the repository's metadata, and the hub's signature under all the rest.

The snapshot is believed for its target, as over a link; the end of the log, the deltas and the rules of the collection
for the signature of the hub's author key. Next: sync/carrying.py, which writes and reads such files; client.py."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import LengthOrHashMismatchError, Metadata, Timestamp

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import decode, encode
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection, CollectionHead, Digest, KeyId, SnapshotManifest
from tidegate.sync.rules.staleness import Now
from tidegate.sync.trust.client import TIMESTAMP, RepositoryClient
from tidegate.sync.trust.faults import BlobMissingError, MixedUpTargetError, MixedVersionsError, UnknownTargetError
from tidegate.sync.trust.keyring import Keyring, sign_bytes
from tidegate.sync.trust.metadata import METADATA
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.targets import KEYS, blob_name, read_manifest, snapshot_path

PURPOSE = b"tidegate-carried-collection-v1"
MOST_READINGS = 8


class CarriedStatement(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub vouches for with its own key: where the log ended and when, under which rules, and what belongs to
    it: `manifest` is the digest of the snapshot's manifest, `tail` that of the deltas behind it."""

    head: CollectionHead
    rules: Collection
    manifest: Digest
    tail: Digest


class CarriedManifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest with all that it is verified by: `files` are those of the repository, by name."""

    manifest: bytes
    files: dict[str, bytes]
    statement: bytes
    signer: KeyId
    signature: bytes


class CarriedSnapshot(msgspec.Struct, frozen=True):
    """The newest snapshot of a collection as the repository publishes it, with the files that say so."""

    manifest: SnapshotManifest
    data: bytes
    files: dict[str, bytes]


def carry_snapshot(repository: Repository, tenant: str, collection: str) -> CarriedSnapshot:
    """The newest snapshot, all of one state of the repository. Raises `UnknownTargetError`, `MixedVersionsError` where
    the repository changes faster than it is read, and what `Repository.state` raises."""
    path = snapshot_path(tenant, collection)
    for _ in range(MOST_READINGS):
        state = repository.state()
        targets = state.targets.targets
        if path not in targets or KEYS not in targets:
            raise UnknownTargetError(f"the repository has nothing under {path if path not in targets else KEYS}")
        names = [
            *sorted(each.name for each in (repository.directory / METADATA).glob("*.root.json")),
            "timestamp.json",
            f"{state.snapshot.version}.snapshot.json",
            f"{state.targets.version}.targets.json",
        ]
        files = {f"{METADATA}/{name}": (repository.directory / METADATA / name).read_bytes() for name in names}
        files[blob_name(targets[KEYS])] = (repository.directory / blob_name(targets[KEYS])).read_bytes()
        data = (repository.directory / blob_name(targets[path])).read_bytes()
        vouched = Metadata[Timestamp].from_bytes(files[TIMESTAMP]).signed.snapshot_meta.version
        if vouched == state.snapshot.version:
            manifest = read_manifest(targets[path], data)
            assert isinstance(manifest, SnapshotManifest)  # `read_manifest` knows each by its name
            return CarriedSnapshot(manifest, data, files)
    raise MixedVersionsError(f"{repository.directory} changes faster than it can be read")


def seal(snapshot: CarriedSnapshot, head: CollectionHead, rules: Collection, tail: str, signer: CryptoSigner) -> bytes:
    """The manifest with all that it is verified by, signed by the hub's author key; `tail` is the digest of the deltas
    behind it."""
    digest = sha256(snapshot.data).hexdigest()
    statement = msgspec.msgpack.encode(CarriedStatement(head=head, rules=rules, manifest=digest, tail=tail))
    return msgspec.msgpack.encode(
        CarriedManifest(
            manifest=snapshot.data,
            files=snapshot.files,
            statement=statement,
            signer=signer.public_key.keyid,
            signature=sign_bytes(signer, PURPOSE, statement),
        )
    )


class CarriedSource:
    """The files of a repository that came with a manifest; a `BlobSource`."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    async def read(self, name: str, offset: int, size: int) -> bytes:
        """Part of a file. Raises `BlobMissingError`."""
        if name not in self._files:
            raise BlobMissingError(f"the file does not hold {name}", "export it again at the hub")
        return self._files[name][offset : offset + size]


class VerifiedCollection(msgspec.Struct, frozen=True):
    """What was verified of a carried collection, and the keys that its operations are verified by."""

    manifest: SnapshotManifest
    statement: CarriedStatement
    keyring: Keyring


def read_carried(data: bytes) -> CarriedManifest:
    """Read a manifest that was carried, of which nothing is believed yet. Raises `UnreadableError`."""
    try:
        return msgspec.msgpack.decode(data, type=CarriedManifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(f"the signed part of the file: {error}") from error


def peek_manifest(data: bytes) -> SnapshotManifest:
    """The manifest that was carried, of which nothing is believed yet. Raises `UnreadableError`."""
    return decode(read_carried(data).manifest, SnapshotManifest)


async def verify_carried(data: bytes, trust: Path, now: Now) -> VerifiedCollection:
    """Verify it as a site does that reads the repository over a link; `trust` is where the site keeps what it believes.

    Raises a `TrustError` that names what is wrong, `UnreadableError`, `NotProvisionedError`, `OSError`; the generation
    of the repository that was in force stays then. An older state of it than is known is refused.
    """
    carried = read_carried(data)
    client = RepositoryClient(trust, CarriedSource(carried.files))
    generation = await client.refresh(now, is_copy=True)
    keyring = await client.keyring()
    key = keyring.find(carried.signer, "author", HUB, generation.hub_time_ms)
    keyring.check(key, PURPOSE, carried.statement, carried.signature)
    statement = _read_statement(carried.statement)
    path = snapshot_path(statement.head.tenant, statement.head.collection)
    target = generation.targets.get(path)
    if target is None:
        raise UnknownTargetError(f"the repository has nothing under {path}")
    try:
        target.verify_length_and_hashes(carried.manifest)
    except LengthOrHashMismatchError as error:
        raise MixedUpTargetError(f"the manifest is not the one that is published as {path}") from error
    manifest = read_manifest(target, carried.manifest)
    assert isinstance(manifest, SnapshotManifest)  # `read_manifest` knows each by its name
    if sha256(carried.manifest).hexdigest() != statement.manifest or not _is_consistent(statement):
        raise MixedUpTargetError(f"the manifest of {path} and the end of the log do not belong together")
    return VerifiedCollection(manifest, statement, keyring)


def check_end(statement: CarriedStatement, end: CollectionHead, tail: str) -> None:
    """Raises `MixedUpTargetError` unless the file has the end of the log, and the deltas, that the hub vouches for."""
    if encode(end) != encode(statement.head) or tail != statement.tail:
        raise MixedUpTargetError(f"the end of the log of {end.collection} is not the one that the hub signed")


def _read_statement(data: bytes) -> CarriedStatement:
    try:
        return msgspec.msgpack.decode(data, type=CarriedStatement)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(f"the statement of the hub: {error}") from error


def _is_consistent(statement: CarriedStatement) -> bool:
    head, rules = statement.head, statement.rules
    return (head.tenant, head.collection) == (rules.tenant, rules.name)
