"""Which object of which store holds a file of the hub's repository: names that the filters of a downlink tell apart.

The tenant is the first word, the collection of a snapshot the second. What is signed for all tenants is put once for
each. Pure. Next: repository_link.py; brokers/topology/downlink.py, the filters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tidegate.schemas.artefact import ArtefactKind
from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.rules.transfers import TransferClass
from tidegate.sync.trust.faults import BlobMissingError
from tidegate.sync.trust.targets import KEYS

CLASS_OF: dict[ArtefactKind, TransferClass] = {
    "policy": "policy",
    "switch": "policy",
    "prompt": "prompt",
    "intents": "prompt",
    "calibration": "prompt",
    "thesaurus": "prompt",
    "site-settings": "prompt",
    "replies": "prompt",
    "confidence": "adapter",
    "adapter": "adapter",
    "model": "weights",
}
"""The class, and so the store, of an artefact's bytes; small parts of a pack go with the prompts."""
METADATA_CLASS: TransferClass = "policy"
"""Nothing overtakes it: no site learns of anything without it."""


class ObjectLocation(msgspec.Struct, frozen=True, order=True):
    """An object: its store, by the class of what it holds, and its name there."""

    bucket: TransferClass
    name: str


def locate_metadata(tenant: str, name: str) -> ObjectLocation:
    """A metadata file, `timestamp.json` or `<version>.<role>.json`, as one tenant's sites read it."""
    return ObjectLocation(METADATA_CLASS, f"{tenant}.metadata.{name.removesuffix('.json')}")


def locate_manifest(path: str, digest: str, tenants: Sequence[str]) -> tuple[ObjectLocation, ...]:
    """The manifest of a target, by the digest of its bytes; the register of keys is put for each of `tenants`.

    Raises `BlobMissingError` for what is no target of ours.
    """
    if path == KEYS:
        return tuple(ObjectLocation(METADATA_CLASS, f"{tenant}.manifest.{digest}") for tenant in tenants)
    bucket, owner = _owner_of(path)
    return (ObjectLocation(bucket, f"{owner}.manifest.{digest}"),)


def locate_chunk(path: str, digest: str) -> ObjectLocation:
    """A chunk of a target. Raises `BlobMissingError` for what is no target of ours."""
    bucket, owner = _owner_of(path)
    return ObjectLocation(bucket, f"{owner}.chunk.{digest}")


def locate_chunks(path: str, chunks: Iterable[SnapshotChunk]) -> dict[str, ObjectLocation]:
    """The chunks of a target, by digest."""
    return {chunk.digest: locate_chunk(path, chunk.digest) for chunk in chunks}


def class_of(path: str) -> TransferClass:
    """The class of a target. Raises `BlobMissingError` for what is no target of ours."""
    return METADATA_CLASS if path == KEYS else _owner_of(path)[0]


def _owner_of(path: str) -> tuple[TransferClass, str]:
    """The class of a target, and the first words of the names of its objects."""
    match path.split("/"):
        case ["snapshots", tenant, collection]:
            return "index", f"{tenant}.{collection}"
        case ["artefacts" | "prepared", tenant, kind, _] if kind in CLASS_OF:
            return CLASS_OF[kind], tenant
    raise BlobMissingError(f"{path} is no target of a repository", "fetch what the repository names as a target")
