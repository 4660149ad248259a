"""The attack table over real object stores: an attacker writes the hub's buckets, or what lies between, as he likes.

What he puts reaches the site's mirror; the site refuses it under its name, and goes on with what it had.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import Linked, linked, until
from tests.support.refused_attacks import FAULTS, KNOWS_NEWEST, Attack, expect_refusal, name_of, refusal
from tests.support.trust_attacks import NEWER, Scene, chunks_of_another, replayed_targets
from tests.support.trust_hub import POLICY, at, describe
from tests.support.trust_link import NOTICES, TENANT, bus_of, stores_of
from tidegate.brokers.objects import ObjectStore
from tidegate.schemas.subjects import object_description
from tidegate.sync.shells.repository_link import ObjectSource, Stores
from tidegate.sync.shells.repository_objects import ObjectLocation, locate_chunk, locate_manifest, locate_metadata
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import TamperedChunkError

pytestmark = pytest.mark.anyio
ATTACKS = [attack for attack in FAULTS if attack not in (replayed_targets, chunks_of_another)]
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


async def client_of(scene: Scene, wire: Wire) -> RepositoryClient:
    """The site of the scene, which has the first state in force, and reads its mirror from now on."""
    await scene.begin()
    return RepositoryClient(scene.site, ObjectSource(wire.site, [TENANT]), timeout_s=5)


@pytest.mark.parametrize("attack", ATTACKS, ids=name_of)
async def test_an_attack_on_the_stores_is_refused_by_name_and_changes_nothing(
    wire: Wire, tmp_path: Path, attack: Attack
) -> None:
    scene = Scene(tmp_path)
    client = await client_of(scene, wire)
    if attack in KNOWS_NEWEST:
        await wire.offer(scene.offered)
        await client.refresh(at(scene.now_ms))
    attack(scene)
    await wire.offer(scene.offered)
    await expect_refusal(client, scene, FAULTS[attack])


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
    await wire.policies.delete(name)  # or the same bytes, put again, would find it there
