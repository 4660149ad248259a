"""The attack table: what is forged, replayed, exchanged or withheld on the way to a site is refused, under its name.

Each row is tried again with the check taken out that refuses it, and goes through then: the row can fail.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from tuf.api.exceptions import EqualVersionNumberError, RepositoryError
from tuf.api.metadata import Timestamp
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.fetcher import FetcherInterface

from tests.support.refused_attacks import FAULTS, KNOWS_NEWEST, Attack, expect_refusal, name_of, refusal
from tests.support.trust_attacks import (
    NEWER,
    Patches,
    Scene,
    changed_timestamp,
    chunks_of_another,
    endless_chunk,
    endless_timestamp,
    exchanged_targets,
    frozen_timestamp,
    manifest_of_another,
    mixed_versions,
    no_metadata,
    older_epoch,
    one_signature_of_two,
    replayed_repository,
    replayed_snapshot,
    replayed_targets,
    tampered_chunk,
    unknown_key,
    unknown_root,
    withheld_chunk,
)
from tests.support.trust_hub import POLICY, at, describe
from tidegate.schemas import ArtefactManifest, decode, encode
from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.trust.chunks import BlobSource, download
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.sources import DirectorySource

pytestmark = pytest.mark.anyio


def forget(*_: object) -> bytes:
    """A client that remembers no state."""
    raise FileNotFoundError


async def by_chunks_alone(source: BlobSource, chunks: Sequence[SnapshotChunk], path: Path, digest: str) -> None:  # noqa: ARG001
    await download(source, chunks, path)


def read_or_nothing(path: Path, offset: int, size: int) -> bytes:
    """A source for which a chunk that is not there is an empty one."""
    if path.parent.name == "chunks" and not path.exists():
        return b""
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def without_limit(fetcher: FetcherInterface, url: str, max_length: int) -> bytes:  # noqa: ARG001
    return b"".join(fetcher._fetch(url))


def go_on_with_the_known(known: TrustedMetadataSet, data: bytes) -> Timestamp:
    """A client for which whatever cannot be read is no news."""
    try:
        return UPDATE_TIMESTAMP(known, data)
    except RepositoryError as error:
        raise EqualVersionNumberError from error


UPDATE_TIMESTAMP = TrustedMetadataSet.update_timestamp
ALWAYS: Callable[..., bool] = lambda *_: False  # noqa: E731
NOTHING: Callable[..., None] = lambda *_: None  # noqa: E731
UNCHECKED = {"tidegate.sync.trust.client.check_successor": NOTHING}
ANY_NAME = {
    "tidegate.sync.trust.client.read_manifest": lambda _, data: decode(data, ArtefactManifest),
}
SIGNED = {"tuf.api.metadata.Root.verify_delegate": NOTHING}
MATCHES = {"tuf.api.metadata.MetaFile.verify_length_and_hashes": NOTHING}

CHECKS: dict[Attack, Patches] = {
    tampered_chunk: {"tidegate.sync.trust.chunks.is_chunk": lambda *_: True},
    endless_chunk: {"tidegate.sync.trust.chunks.is_chunk": lambda *_: True},
    withheld_chunk: {"tidegate.sync.trust.sources._read": read_or_nothing},
    replayed_repository: {**UNCHECKED, "tuf.ngclient.Updater._load_local_metadata": forget},
    replayed_snapshot: MATCHES,
    replayed_targets: MATCHES,
    mixed_versions: MATCHES,
    frozen_timestamp: {"tuf.api.metadata.Timestamp.is_expired": ALWAYS},
    exchanged_targets: {"tuf.api.metadata.TargetFile.verify_length_and_hashes": NOTHING, **ANY_NAME},
    manifest_of_another: ANY_NAME,
    chunks_of_another: {"tidegate.sync.trust.client.download": by_chunks_alone},
    older_epoch: UNCHECKED,
    unknown_key: SIGNED,
    unknown_root: SIGNED,
    one_signature_of_two: SIGNED,
    changed_timestamp: SIGNED,
    no_metadata: {
        "tuf.ngclient._internal.trusted_metadata_set.TrustedMetadataSet.update_timestamp": go_on_with_the_known
    },
    endless_timestamp: {"tuf.ngclient.fetcher.FetcherInterface.download_bytes": without_limit},
}
"""What takes the check out that refuses an attack."""
rows = pytest.mark.parametrize("attack", CHECKS, ids=name_of)


async def under(attack: Attack, scene: Scene) -> RepositoryClient:
    """The site, which is offered what the attacker made of the hub's newest state."""
    await scene.begin()
    if attack in KNOWS_NEWEST:
        await RepositoryClient(scene.site, DirectorySource(scene.offered)).refresh(at(scene.now_ms))
    attack(scene)
    return RepositoryClient(scene.site, DirectorySource(scene.offered), timeout_s=5)


@rows
async def test_an_attack_is_refused_by_name_and_changes_nothing(tmp_path: Path, attack: Attack) -> None:
    scene = Scene(tmp_path)
    client = await under(attack, scene)
    await expect_refusal(client, scene, FAULTS[attack])

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
    tmp_path: Path, attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    client = await under(attack, scene)
    for name, instead in CHECKS[attack].items():
        monkeypatch.setattr(name, instead)
    assert type(await refusal(client, scene)) is not FAULTS[attack]


async def test_without_an_attack_the_site_gets_the_new_state(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    client = await under(lambda _: None, scene)
    assert (await client.refresh(at(scene.now_ms))).artefacts[POLICY].epoch == 2
    assert encode((await client.fetch(POLICY)).manifest)
