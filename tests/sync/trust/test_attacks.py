"""The attack table: what is forged, replayed, exchanged or withheld on the way to a site is refused, under its name.

Each row is tried again with the check taken out that refuses it, and goes through then: the row can fail.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from tests.support.trust_hub import DAY, NOW, POLICY, TrustHub, at, describe
from tidegate.schemas import ArtefactManifest, decode, encode
from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.trust.chunks import BlobSource, download
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import (
    BadSignatureError,
    BlobMissingError,
    FrozenTimestampError,
    MalformedMetadataError,
    MixedUpTargetError,
    MixedVersionsError,
    RolledBackError,
    TamperedChunkError,
    ThresholdNotMetError,
    TrustError,
    UnknownKeyError,
)
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.sources import DirectorySource
from tidegate.sync.trust.targets import blob_name, target_of

pytestmark = pytest.mark.anyio
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


def forget(*_: object) -> bytes:
    """A client that remembers no state."""
    raise FileNotFoundError


async def by_chunks_alone(source: BlobSource, chunks: Sequence[SnapshotChunk], path: Path, digest: str) -> None:  # noqa: ARG001
    await download(source, chunks, path)


ALWAYS: Callable[..., bool] = lambda *_: False  # noqa: E731
NOTHING: Callable[..., None] = lambda *_: None  # noqa: E731
UNCHECKED = {"tidegate.sync.trust.client.check_successor": NOTHING}
ANY_NAME = {
    "tidegate.sync.trust.client.read_manifest": lambda _, data: decode(data, ArtefactManifest),
}
SIGNED = {"tuf.api.metadata.Root.verify_delegate": NOTHING}
MATCHES = {"tuf.api.metadata.MetaFile.verify_length_and_hashes": NOTHING}

ATTACKS: tuple[tuple[Callable[[Scene], None], type[TrustError], Patches], ...] = (
    (tampered_chunk, TamperedChunkError, {"tidegate.sync.trust.chunks.is_chunk": lambda *_: True}),
    (endless_chunk, TamperedChunkError, {"tidegate.sync.trust.chunks.is_chunk": lambda *_: True}),
    (withheld_chunk, BlobMissingError, {}),
    (replayed_repository, RolledBackError, {**UNCHECKED, "tuf.ngclient.Updater._load_local_metadata": forget}),
    (replayed_snapshot, MixedVersionsError, MATCHES),
    (replayed_targets, MixedVersionsError, MATCHES),
    (mixed_versions, MixedVersionsError, MATCHES),
    (frozen_timestamp, FrozenTimestampError, {"tuf.api.metadata.Timestamp.is_expired": ALWAYS}),
    (
        exchanged_targets,
        MixedUpTargetError,
        {"tuf.api.metadata.TargetFile.verify_length_and_hashes": NOTHING, **ANY_NAME},
    ),
    (manifest_of_another, MixedUpTargetError, ANY_NAME),
    (chunks_of_another, MixedUpTargetError, {"tidegate.sync.trust.client.download": by_chunks_alone}),
    (older_epoch, RolledBackError, UNCHECKED),
    (unknown_key, UnknownKeyError, SIGNED),
    (unknown_root, UnknownKeyError, SIGNED),
    (one_signature_of_two, ThresholdNotMetError, SIGNED),
    (changed_timestamp, BadSignatureError, SIGNED),
    (no_metadata, MalformedMetadataError, {}),
    (endless_timestamp, MixedVersionsError, {}),
)
OF_BYTES = (TamperedChunkError, BlobMissingError, MixedUpTargetError)
"""Found when the bytes come: the state of the repository is good by itself."""
rows = pytest.mark.parametrize(
    ("attack", "fault", "patches"), ATTACKS, ids=lambda value: getattr(value, "__name__", "")
)


async def under(attack: Callable[[Scene], None], scene: Scene) -> RepositoryClient:
    """The site, which is offered what the attacker made of the hub's newest state."""
    await scene.begin()
    if attack in (replayed_repository, older_epoch):
        await RepositoryClient(scene.site, DirectorySource(scene.offered)).refresh(at(scene.now_ms))
    attack(scene)
    return RepositoryClient(scene.site, DirectorySource(scene.offered), timeout_s=5)


async def refusal(client: RepositoryClient, scene: Scene) -> TrustError | None:
    """Why the site takes nothing of what is offered; None where it takes all of it."""
    try:
        await client.refresh(at(scene.now_ms))
        await client.fetch(POLICY)
    except TrustError as refused:
        return refused
    return None


@rows
async def test_an_attack_is_refused_by_name_and_changes_nothing(
    tmp_path: Path, attack: Callable[[Scene], None], fault: type[TrustError], patches: Patches
) -> None:
    assert isinstance(patches, dict)
    scene = Scene(tmp_path)
    client = await under(attack, scene)
    before, holdings = client.generation(), Holdings(scene.site, client.blobs)
    refused = await refusal(client, scene)
    assert type(refused) is fault
    assert refused.hint
    if fault not in OF_BYTES:
        assert client.generation() == before
    assert holdings.file(POLICY).read_bytes() == GOOD
    assert {path.read_bytes() for path in client.blobs.iterdir() if path.suffix != ".part"} == {GOOD}

    for _ in range(3):  # beyond whatever a holder of its keys signed in its name
        scene.hub.repository.publish([], scene.hub.signers(), scene.now_ms)
    scene.hub.publish(NEWER, epoch=9, now_ms=scene.now_ms)
    shutil.rmtree(scene.offered)
    shutil.copytree(scene.hub.files, scene.offered)
    assert await refusal(client, scene) is None
    assert (client.blobs / describe(NEWER).digest).read_bytes() == NEWER
    assert client.generation().artefacts[POLICY].epoch == 9


@rows
async def test_without_its_check_the_attack_is_not_refused_under_its_name(
    tmp_path: Path,
    attack: Callable[[Scene], None],
    fault: type[TrustError],
    patches: Patches,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not patches:
        pytest.skip("what refuses it is no check that could be taken out: the thing is not there, or cannot be read")
    scene = Scene(tmp_path)
    client = await under(attack, scene)
    for name, instead in patches.items():
        monkeypatch.setattr(name, instead)
    assert type(await refusal(client, scene)) is not fault


async def test_without_an_attack_the_site_gets_the_new_state(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    client = await under(lambda _: None, scene)
    assert (await client.refresh(at(scene.now_ms))).artefacts[POLICY].epoch == 2
    assert encode((await client.fetch(POLICY)).manifest)
