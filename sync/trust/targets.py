"""What a repository publishes, as TUF targets: artefacts, snapshots of collections, and the register of keys.

The target is the signed manifest; its chunks are verified by the manifest. A manifest is believed only under its own
name. Next: repository.py, which publishes; client.py, which reads."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from tuf.api.metadata import TargetFile

from tidegate.schemas.artefact import ArtefactDescriptor, ArtefactManifest
from tidegate.schemas.message import decode, encode
from tidegate.schemas.sync import SnapshotManifest
from tidegate.schemas.trust import KeyRegister
from tidegate.sync.trust.faults import MixedUpTargetError

TargetManifest = ArtefactManifest | SnapshotManifest | KeyRegister
KEYS = "keys/register"
PREPARED = "prepared/"


def artefact_path(artefact: ArtefactDescriptor) -> str:
    """The target of an artefact: one for all of its epochs."""
    return f"artefacts/{artefact.tenant}/{artefact.kind}/{artefact.name}"


def prepared_path(artefact: ArtefactDescriptor) -> str:
    """The target of an artefact that sites are to hold, and not to use yet."""
    return f"{PREPARED}{artefact.tenant}/{artefact.kind}/{artefact.name}"


def snapshot_path(tenant: str, collection: str) -> str:
    """The target of a collection's newest snapshot."""
    return f"snapshots/{tenant}/{collection}"


def path_of(manifest: TargetManifest) -> str:
    """The target that a manifest is published as."""
    if isinstance(manifest, ArtefactManifest):
        return (prepared_path if manifest.is_prepared else artefact_path)(manifest.artefact)
    if isinstance(manifest, SnapshotManifest):
        return snapshot_path(manifest.tenant, manifest.collection)
    return KEYS


def target_of(manifest: TargetManifest) -> tuple[TargetFile, bytes]:
    """The signed description of a manifest, with what a site may want to know before it fetches it, and its bytes."""
    data = encode(manifest)
    target = TargetFile.from_data(path_of(manifest), data, ["sha256"])
    target.unrecognized_fields["custom"] = _custom(manifest)
    return target, data


def blob_name(target: TargetFile) -> str:
    """Where the bytes of a target are: under their own digest, so that no version replaces another.

    Source: TUF specification §6.2.1, consistent snapshots.
    """
    folder, _, name = target.path.rpartition("/")
    return f"targets/{folder}/{target.hashes['sha256']}.{name}"


def read_manifest(target: TargetFile, data: bytes) -> TargetManifest:
    """The manifest of a target, whose bytes are verified already. Raises `UnreadableError`, and `MixedUpTargetError`
    where it is another's, or not what was said of it."""
    manifest: TargetManifest = decode(data, ArtefactManifest, SnapshotManifest, KeyRegister)
    if path_of(manifest) != target.path:
        raise MixedUpTargetError(f"{target.path} holds {path_of(manifest)}")
    if not _is_as_described(manifest, target):
        raise MixedUpTargetError(f"{target.path} is not what the repository says of it")
    if isinstance(manifest, ArtefactManifest) and manifest.artefact.size != sum(each.size for each in manifest.chunks):
        raise MixedUpTargetError(f"the chunks of {target.path} are not as long as it is")
    return manifest


def artefacts_in(targets: Mapping[str, TargetFile]) -> dict[str, ArtefactDescriptor]:
    """The descriptors of all artefacts that the targets hold, by target, as the hub signed them. A kind that a newer
    hub publishes and this version does not know is left out: it must not keep a site from what it does know."""
    found = {}
    for path, target in targets.items():
        with suppress(msgspec.ValidationError, KeyError, TypeError):
            found[path] = msgspec.convert(target.custom["artefact"], ArtefactDescriptor)
    return found


def _is_as_described(manifest: TargetManifest, target: TargetFile) -> bool:
    """Whether it is what the repository says of it. Artefacts are compared as such: equal ones may differ as JSON."""
    if isinstance(manifest, ArtefactManifest):
        return artefacts_in({target.path: target}) == {target.path: manifest.artefact}
    return bool(target.custom == _custom(manifest))


def _custom(manifest: TargetManifest) -> dict[str, Any]:
    if isinstance(manifest, ArtefactManifest):
        return {"kind": manifest.artefact.kind, "artefact": msgspec.to_builtins(manifest.artefact)}
    if isinstance(manifest, SnapshotManifest):
        return {
            "kind": "snapshot",
            "position": [manifest.position.epoch, manifest.position.index],
            "size": manifest.size,
            "documents": manifest.documents,
            "made_at_ms": manifest.made_at_ms,
        }
    return {"kind": "keys", "keys": len(manifest.keys)}
