"""What is done to a site by whoever stands between it and the hub, for the attack table."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from tests.support.trust_hub import DAY, NOW, POLICY, TrustHub, at, describe
from tidegate.schemas import ArtefactManifest
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.targets import blob_name, target_of

OTHER = "artefacts/kiosk/policy/other"
GOOD, NEWER, EVIL = b"policy: strict\n", b"policy: stricter\n", b"policy: lenient!\n"
Patches = Mapping[str, Any]


class Scene:
    """A hub in its second state, which a site that knows the first one is about to see, and what an attacker may have:
    the old state, and a hub of his own."""

    def __init__(self, directory: Path) -> None:
        self.hub = TrustHub(directory / "hub", {"timestamp": 2})
        self.hub.publish(GOOD)
        self.hub.publish(b"other", name="other")
        self.site = directory / "site"
        self.old = directory / "old"
        self.offered = directory / "offered"
        self.mallory = TrustHub(directory / "mallory")
        self.now_ms = NOW + 60_000

    async def begin(self) -> None:
        client = self.hub.client(self.site)
        generation = await client.refresh(at(NOW))
        await client.fetch(POLICY)
        Holdings(self.site, client.blobs).activate(POLICY, generation)
        shutil.copytree(self.hub.files, self.old)
        self.hub.publish(NEWER, epoch=2, now_ms=self.now_ms)
        shutil.copytree(self.hub.files, self.offered)

    def file(self, name: str) -> Path:
        """A metadata file that is offered."""
        return self.offered / "metadata" / f"{name}.json"

    def newest(self, role: str) -> str:
        """The name of the newest metadata of a role in what is offered."""
        versions = [int(path.name.split(".")[0]) for path in (self.offered / "metadata").glob(f"*.{role}.json")]
        return f"{max(versions)}.{role}"

    def target(self, path: str = POLICY) -> TargetFile:
        return self.hub.repository.state().targets.targets[path]

    def resign(self, change: Callable[[Targets, Snapshot, Timestamp], None], *, snapshot_meta: bool = True) -> None:
        """What a holder of all keys of the hub could offer: its newest state, changed, and signed again."""
        targets = Metadata[Targets].from_bytes(self.file(self.newest("targets")).read_bytes())
        snapshot = Metadata[Snapshot].from_bytes(self.file(self.newest("snapshot")).read_bytes())
        timestamp = Metadata[Timestamp].from_bytes(self.file("timestamp").read_bytes())
        for metadata in (targets, snapshot, timestamp):
            metadata.signed.version += 1
        change(targets.signed, snapshot.signed, timestamp.signed)
        data = self._sign(targets)
        self.file(f"{targets.signed.version}.targets").write_bytes(data)
        snapshot.signed.meta["targets.json"] = MetaFile.from_data(targets.signed.version, data, ["sha256"])
        data = self._sign(snapshot)
        self.file(f"{snapshot.signed.version}.snapshot").write_bytes(data)
        if snapshot_meta:
            timestamp.signed.snapshot_meta = MetaFile.from_data(snapshot.signed.version, data, ["sha256"])
        self.file("timestamp").write_bytes(self._sign(timestamp))

    def _sign(self, metadata: Metadata[Any]) -> bytes:
        metadata.signatures.clear()
        for key_id, signer in self.hub.signers().items():
            if key_id in self.hub.repository.state().root.roles[metadata.signed.type].keyids:
                metadata.sign(signer, append=True)
        return metadata.to_bytes()


def tampered_chunk(scene: Scene) -> None:
    path = scene.offered / "chunks" / describe(NEWER).digest
    path.write_bytes(NEWER.replace(b"stricter", b"lenienter"[:8]))


def endless_chunk(scene: Scene) -> None:
    path = scene.offered / "chunks" / describe(NEWER).digest
    path.write_bytes(NEWER * 1000)


def withheld_chunk(scene: Scene) -> None:
    (scene.offered / "chunks" / describe(NEWER).digest).unlink()


def replayed_repository(scene: Scene) -> None:
    shutil.rmtree(scene.offered)
    shutil.copytree(scene.old, scene.offered)
    scene.file("timestamp").unlink()
    # the site has seen the newest state already: see `KNOWS_NEWEST`
    shutil.copy(scene.old / "metadata" / "timestamp.json", scene.file("timestamp"))


def replayed_snapshot(scene: Scene) -> None:
    name = scene.newest("snapshot")
    old = sorted((scene.old / "metadata").glob("*.snapshot.json"), key=lambda path: int(path.name.split(".")[0]))[-1]
    shutil.copy(old, scene.file(name))


def replayed_targets(scene: Scene) -> None:
    name = scene.newest("targets")
    old = sorted((scene.old / "metadata").glob("*.targets.json"), key=lambda path: int(path.name.split(".")[0]))[-1]
    shutil.copy(old, scene.file(name))


def frozen_timestamp(scene: Scene) -> None:
    scene.now_ms = NOW + 2 * DAY


def exchanged_targets(scene: Scene) -> None:
    shutil.copy(scene.offered / blob_name(scene.target(OTHER)), scene.offered / blob_name(scene.target()))


def manifest_of_another(scene: Scene) -> None:
    """The hub's own mistake: it signed another artefact's manifest under this name."""

    def change(targets: Targets, snapshot: Snapshot, timestamp: Timestamp) -> None:  # noqa: ARG001
        other = targets.targets[OTHER]
        data = (scene.offered / blob_name(other)).read_bytes()
        mixed = TargetFile.from_data(POLICY, data, ["sha256"])
        mixed.unrecognized_fields["custom"] = other.custom
        targets.targets[POLICY] = mixed
        (scene.offered / blob_name(mixed)).write_bytes(data)

    scene.resign(change)


def chunks_of_another(scene: Scene) -> None:
    """The manifest of a holder of the keys lists good chunks, which are not the artefact."""

    def change(targets: Targets, snapshot: Snapshot, timestamp: Timestamp) -> None:  # noqa: ARG001
        stored = scene.mallory.repository.store(io.BytesIO(EVIL))
        shutil.copytree(scene.mallory.files / "chunks", scene.offered / "chunks", dirs_exist_ok=True)
        artefact = describe(NEWER, epoch=3)
        target, data = target_of(ArtefactManifest(artefact=artefact, chunks=stored.chunks))
        targets.targets[POLICY] = target
        (scene.offered / blob_name(target)).write_bytes(data)

    scene.resign(change)


def older_epoch(scene: Scene) -> None:
    def change(targets: Targets, snapshot: Snapshot, timestamp: Timestamp) -> None:  # noqa: ARG001
        manifest = ArtefactManifest(artefact=describe(GOOD, epoch=1), chunks=())
        target, data = target_of(
            msgspec.structs.replace(manifest, chunks=scene.hub.repository.store(io.BytesIO(GOOD)).chunks)
        )
        targets.targets[POLICY] = target
        (scene.offered / blob_name(target)).write_bytes(data)

    scene.resign(change)


def unknown_key(scene: Scene) -> None:
    timestamp = Metadata[Timestamp].from_bytes(scene.file("timestamp").read_bytes())
    timestamp.signed.version += 1
    timestamp.signatures.clear()
    timestamp.sign(scene.mallory.keys.signer(scene.mallory.key("timestamp").key_id, NOW))
    scene.file("timestamp").write_bytes(timestamp.to_bytes())


def unknown_root(scene: Scene) -> None:
    """His own root, as the next version of the hub's."""
    root = Metadata[Root].from_bytes(scene.mallory.root)
    root.signed.version = 2
    root.signatures.clear()
    root.sign(scene.mallory.keys.signer(scene.mallory.key("root").key_id, NOW))
    shutil.rmtree(scene.offered)
    scene.mallory.publish(EVIL, epoch=9, now_ms=scene.now_ms)
    shutil.copytree(scene.mallory.files, scene.offered)
    scene.file("2.root").write_bytes(root.to_bytes())


def one_signature_of_two(scene: Scene) -> None:
    timestamp = Metadata[Timestamp].from_bytes(scene.file("timestamp").read_bytes())
    timestamp.signed.version += 1
    timestamp.signatures.clear()
    timestamp.sign(scene.hub.keys.signer(scene.hub.key("timestamp").key_id, NOW))
    scene.file("timestamp").write_bytes(timestamp.to_bytes())


def changed_timestamp(scene: Scene) -> None:
    data = msgspec.json.decode(scene.file("timestamp").read_bytes())
    data["signed"]["version"] += 1
    scene.file("timestamp").write_bytes(msgspec.json.encode(data))


def mixed_versions(scene: Scene) -> None:
    """A new timestamp, and the snapshot and targets of another state that the hub signed as well."""
    scene.resign(lambda *_: None, snapshot_meta=False)
    scene.file(scene.newest("snapshot")).replace(scene.file("0.snapshot"))
    newest = scene.newest("snapshot")
    shutil.copy(scene.file("0.snapshot"), scene.file(newest))


def no_metadata(scene: Scene) -> None:
    scene.file("timestamp").write_bytes(b"<html>please log in</html>")


def endless_timestamp(scene: Scene) -> None:
    scene.file("timestamp").write_bytes(b" " * 100_000 + scene.file("timestamp").read_bytes())
