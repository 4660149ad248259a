"""What a site last verified of a repository, as one file: it stays good, whatever happens to the repository.

It keeps the hub's signatures, and is verified again when it is read, but never for expiry: age is judged by budgets.
Next: client.py, which makes it; sync/rules/staleness.py."""

from __future__ import annotations

import msgspec
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from tidegate.schemas.artefact import ArtefactDescriptor
from tidegate.schemas.message import decoder_of
from tidegate.sync.trust.faults import MalformedMetadataError, RolledBackError
from tidegate.sync.trust.roles import HUB_TIME
from tidegate.sync.trust.targets import artefacts_in


class StoredGeneration(msgspec.Struct, frozen=True):
    """The metadata files of one state of a repository, as they were signed."""

    root: bytes
    timestamp: bytes
    snapshot: bytes
    targets: bytes


_read_stored = decoder_of(StoredGeneration)


class Generation(msgspec.Struct, frozen=True):
    """One state of a repository, verified. `hub_time_ms` is when the hub said that this is its present state."""

    version: int
    hub_time_ms: int
    targets: dict[str, TargetFile]

    @property
    def artefacts(self) -> dict[str, ArtefactDescriptor]:
        """The artefacts that are published, by target."""
        return artefacts_in(self.targets)


def read_generation(data: bytes) -> Generation:
    """The generation of a file, its signatures verified anew: a disk may have changed it.

    Raises `MalformedMetadataError`.
    """
    try:
        stored = _read_stored(data)
        root = Metadata[Root].from_bytes(stored.root).signed
        timestamp, snapshot, targets = (
            Metadata[Timestamp].from_bytes(stored.timestamp),
            Metadata[Snapshot].from_bytes(stored.snapshot),
            Metadata[Targets].from_bytes(stored.targets),
        )
        timestamp.signed.snapshot_meta.verify_length_and_hashes(stored.snapshot)
        snapshot.signed.meta["targets.json"].verify_length_and_hashes(stored.targets)
        for role in (timestamp, snapshot, targets):
            root.verify_delegate(role.signed.type, role.signed_bytes, role.signatures)
        hub_time_ms = timestamp.signed.unrecognized_fields[HUB_TIME]
    except (RepositoryError, msgspec.DecodeError, KeyError) as error:
        raise MalformedMetadataError(
            f"what is held of the repository is damaged: {error}", "refresh the site"
        ) from error
    return Generation(timestamp.signed.version, hub_time_ms, targets.signed.targets)


def check_successor(before: Generation | None, after: Generation) -> None:
    """Raises `RolledBackError` where the hub signed a state in which something is older than in the one before.

    TUF's versions do not show it: whoever holds the keys can sign an old artefact anew, by mistake too.
    """
    if before is None:
        return
    if after.hub_time_ms < before.hub_time_ms:
        raise RolledBackError(f"the hub's time went back by {before.hub_time_ms - after.hub_time_ms} ms")
    known = before.artefacts
    for path, artefact in after.artefacts.items():
        if path in known and artefact.epoch < known[path].epoch:
            raise RolledBackError(f"{path}: epoch {artefact.epoch} is offered, {known[path].epoch} is known")
    for path, target in after.targets.items():
        position, held = _position(target), _position(before.targets.get(path))
        if position < held:
            raise RolledBackError(f"{path}: a snapshot of position {position} is offered, {held} is known")


def _position(target: TargetFile | None) -> list[int]:
    """The position of the log that a snapshot is of; for anything else the same always."""
    return (target.custom or {}).get("position", []) if target else []
