"""The attack table: under which name each attack is refused, and what the site has after that; for any way to it."""

from __future__ import annotations

from collections.abc import Callable

from tests.support.trust_attacks import (
    GOOD,
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
from tests.support.trust_hub import POLICY, at
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
from tidegate.sync.trust.generation import Generation
from tidegate.sync.trust.holdings import Holdings

Attack = Callable[[Scene], None]
FAULTS: dict[Attack, type[TrustError]] = {
    tampered_chunk: TamperedChunkError,
    endless_chunk: TamperedChunkError,
    withheld_chunk: BlobMissingError,
    replayed_repository: RolledBackError,
    replayed_snapshot: MixedVersionsError,
    replayed_targets: MixedVersionsError,
    mixed_versions: MixedVersionsError,
    frozen_timestamp: FrozenTimestampError,
    exchanged_targets: MixedUpTargetError,
    manifest_of_another: MixedUpTargetError,
    chunks_of_another: MixedUpTargetError,
    older_epoch: RolledBackError,
    unknown_key: UnknownKeyError,
    unknown_root: UnknownKeyError,
    one_signature_of_two: ThresholdNotMetError,
    changed_timestamp: BadSignatureError,
    no_metadata: MalformedMetadataError,
    endless_timestamp: MixedVersionsError,
}
OF_BYTES = (TamperedChunkError, BlobMissingError, MixedUpTargetError)
"""Found when the bytes come: the state of the repository is good by itself."""
KNOWS_NEWEST = (replayed_repository, older_epoch)
"""Attacks on a site that has seen the hub's newest state already."""


def name_of(value: object) -> str:
    """The name of an attack, for the id of its row."""
    return getattr(value, "__name__", "")


async def refusal(client: RepositoryClient, scene: Scene) -> TrustError | None:
    """Why the site takes nothing of what is offered; None where it takes all of it."""
    try:
        await client.refresh(at(scene.now_ms))
        await client.fetch(POLICY)
    except TrustError as refused:
        return refused
    return None


async def expect_refusal(client: RepositoryClient, scene: Scene, fault: type[TrustError]) -> None:
    """The site refuses what is offered under its name, and goes on with what it had."""
    before: Generation = client.generation()
    refused = await refusal(client, scene)
    assert type(refused) is fault
    assert refused.hint
    if fault not in OF_BYTES:
        assert client.generation() == before
    assert Holdings(scene.site, client.blobs).file(POLICY).read_bytes() == GOOD
    assert {path.read_bytes() for path in client.blobs.iterdir() if path.suffix != ".part"} == {GOOD}
