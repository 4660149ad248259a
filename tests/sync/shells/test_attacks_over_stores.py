"""The attack table over real object stores: an attacker writes the hub's buckets, or what lies between, as he likes.

What he puts reaches the site's mirror; the site refuses it under its name, and goes on with what it had.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import Linked, linked, until
from tests.support.trust_attacks import (
    GOOD,
    NEWER,
    Scene,
    changed_timestamp,
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
    tampered_chunk,
    unknown_key,
    unknown_root,
    withheld_chunk,
)
from tests.support.trust_hub import POLICY, at, describe
from tests.support.trust_link import NOTICES, TENANT, bus_of, stores_of
from tidegate.brokers.objects import ObjectStore
from tidegate.schemas.subjects import object_description
from tidegate.sync.shells.repository_link import ObjectSource, Stores
from tidegate.sync.shells.repository_objects import ObjectLocation, locate_chunk, locate_manifest, locate_metadata
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

pytestmark = pytest.mark.anyio
ATTACKS: tuple[tuple[Callable[[Scene], None], type[TrustError]], ...] = (
    (tampered_chunk, TamperedChunkError),
    (endless_chunk, TamperedChunkError),
    (withheld_chunk, BlobMissingError),
    (replayed_repository, RolledBackError),
    (replayed_snapshot, MixedVersionsError),
    (mixed_versions, MixedVersionsError),
    (frozen_timestamp, FrozenTimestampError),
    (exchanged_targets, MixedUpTargetError),
    (manifest_of_another, MixedUpTargetError),
    (older_epoch, RolledBackError),
    (unknown_key, UnknownKeyError),
    (unknown_root, UnknownKeyError),
    (one_signature_of_two, ThresholdNotMetError),
    (changed_timestamp, BadSignatureError),
    (no_metadata, MalformedMetadataError),
    (endless_timestamp, MixedVersionsError),
)
MARKER = f"{TENANT}.marker"


class Wire:
    """The stores of a hub, and those of a site, which mirrors them."""

    def __init__(self, all_: Linked, hub: Stores, site: Stores) -> None:
        self.all_, self.hub, self.site = all_, hub, site
        self._offers = 0

    @property
    def policies(self) -> ObjectStore:
        return self.hub["policy"]

    async def offer(self, directory: Path) -> None:
        """Have the stores hold just these files, and return when the site's mirror does."""
        wanted = located(directory)
        there = {ObjectLocation("policy", info.name) for info in await self.policies.list_objects()}
        for location in there - wanted.keys():
            await self.policies.delete(location.name)
        for location, path in wanted.items():
            await self.policies.put(location.name, path.read_bytes())
        await self.arrived()

    async def arrived(self) -> None:
        """Return when what was put until now is in the mirror."""
        self._offers += 1
        marker = str(self._offers).encode()
        await self.policies.put(MARKER, marker)

        async def is_there() -> bool:
            found = [info for info in await self.site["policy"].list_objects() if info.name == MARKER]
            return bool(found) and found[0].sha256 == sha256(marker).hexdigest()

        await until(is_there)


def located(directory: Path) -> dict[ObjectLocation, Path]:
    """The files of a repository, by where the hub would have put them."""
    return {location: path for path in directory.rglob("*") if (location := locate(directory, path))}


def locate(directory: Path, path: Path) -> ObjectLocation | None:
    """Where the hub would have put a file of a repository, all of whose targets are policies of one tenant."""
    match path.relative_to(directory).parts:
        case ["metadata", name] if name.endswith(".json"):
            return locate_metadata(TENANT, name)
        case ["chunks", digest]:
            return locate_chunk(POLICY, digest)
        case ["targets", *folders, file] if path.is_file():
            digest, _, name = file.partition(".")
            return locate_manifest("/".join([*folders, name]), digest, [TENANT])[0]
    return None


@pytest.fixture(scope="module")
async def wire(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wire]:
    directory = tmp_path_factory.mktemp("wire")
    async with (
        linked(directory, ["site1"], {"site1": NOTICES}) as all_,
        bus_of(all_.fleet.hub) as hub,
        bus_of(all_.fleet.sites["site1"]) as site,
    ):
        yield Wire(all_, stores_of(hub), stores_of(site))


async def refusal(client: RepositoryClient, scene: Scene) -> TrustError | None:
    """Why the site takes nothing of what is offered; None where it takes all of it."""
    try:
        await client.refresh(at(scene.now_ms))
        await client.fetch(POLICY)
    except TrustError as refused:
        return refused
    return None


async def client_of(scene: Scene, wire: Wire) -> RepositoryClient:
    """The site of the scene, which has the first state in force, and reads its mirror from now on."""
    await scene.begin()
    return RepositoryClient(scene.site, ObjectSource(wire.site, [TENANT]), timeout_s=5)


@pytest.mark.parametrize(("attack", "fault"), ATTACKS, ids=lambda value: getattr(value, "__name__", ""))
async def test_an_attack_on_the_stores_is_refused_by_name_and_changes_nothing(
    wire: Wire, tmp_path: Path, attack: Callable[[Scene], None], fault: type[TrustError]
) -> None:
    scene = Scene(tmp_path)
    client = await client_of(scene, wire)
    if attack in (replayed_repository, older_epoch):
        await wire.offer(scene.offered)
        await client.refresh(at(scene.now_ms))
    attack(scene)
    await wire.offer(scene.offered)
    before = client.generation()
    refused = await refusal(client, scene)
    assert type(refused) is fault
    assert refused.hint
    if fault not in (TamperedChunkError, BlobMissingError, MixedUpTargetError):
        assert client.generation() == before
    assert Holdings(scene.site, client.blobs).file(POLICY).read_bytes() == GOOD
    assert {path.read_bytes() for path in client.blobs.iterdir() if path.suffix != ".part"} == {GOOD}


async def test_without_an_attack_the_mirror_gives_the_new_state(wire: Wire, tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    client = await client_of(scene, wire)
    await wire.offer(scene.offered)
    assert await refusal(client, scene) is None
    assert (client.blobs / describe(NEWER).digest).read_bytes() == NEWER


async def test_bytes_that_are_exchanged_below_their_description_are_a_tampered_chunk(
    wire: Wire, tmp_path: Path
) -> None:
    scene = Scene(tmp_path)
    client = await client_of(scene, wire)
    await wire.offer(scene.offered)
    name = locate_chunk(POLICY, describe(NEWER).digest).name
    info = await wire.policies.info(name)
    forged = {**info.metadata, "chunk-digests": info.metadata["chunk-digests"].swapcase()}
    described = msgspec.json.encode(msgspec.structs.replace(info, metadata=forged))
    await wire.all_.hub.jetstream().publish(object_description("policy", name), described)
    await wire.arrived()
    assert type(await refusal(client, scene)) is TamperedChunkError
