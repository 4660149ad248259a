"""A collection is carried to a site without a link as one file, which is believed no more than a link is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.carrying_hub import FAQ, CarryingHub, change_carried, frames_of, open_hub, rewrite
from tests.support.trust_hub import DAY, NOW, at
from tidegate.schemas import CollectionHead, LogPosition, TidegateError, decode, encode
from tidegate.sync.bundle import digest_of_tail
from tidegate.sync.carrying import JoinedCollection, join_file
from tidegate.sync.follower import take_event
from tidegate.sync.reader import CollectionUnknownError
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.rules.replica import ReplicaEvent
from tidegate.sync.snapshots import SnapshotRefusedError
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.carried import CarriedStatement, carry_snapshot, seal
from tidegate.sync.trust.client import NotProvisionedError
from tidegate.sync.trust.faults import (
    BadSignatureError,
    MixedUpTargetError,
    RevokedKeyError,
    RolledBackError,
    TrustError,
    UnknownKeyError,
)

pytestmark = pytest.mark.anyio
END = LogPosition(1, 7)


class Island:
    """A site that no link leads to."""

    def __init__(self, directory: Path, name: str = "site1") -> None:
        directory.mkdir()
        self.trust = directory / "trust"
        self.store = ReplicaStore(directory / "kiosk.sqlite", name, "ab" * 8)

    def lease(self) -> None:
        """Have a lease, and know of the collection."""
        self.store.put_collection(FAQ)
        with self.store.writing() as writer:
            take_event(writer, "faq", ReplicaEvent("lease-granted"))

    async def join(self, file: Path, now_ms: int = NOW) -> JoinedCollection:
        """Join what is in a file."""
        return await join_file({"kiosk": self.store}, file, self.trust, at(now_ms))

    def texts(self) -> dict[str, str]:
        """The documents as readers get them."""
        found = self.store.changes_since("faq", 0).documents
        return {each.document_id: each.resolved.content.text for each in found if each.resolved.content}


@pytest.fixture
async def hub(tmp_path: Path) -> CarryingHub:
    return await open_hub(tmp_path)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[CarryingHub, bytes]:
    """A hub that nothing more happens at, and the file that it wrote."""
    directory = tmp_path_factory.mktemp("exported")
    hub = asyncio.run(open_hub(directory))
    return hub, asyncio.run(hub.export(directory / "faq.bundle")).read_bytes()


@pytest.fixture
def island(hub: CarryingHub, tmp_path: Path) -> Island:
    island = Island(tmp_path / "island")
    hub.provision(island.trust)
    island.lease()
    return island


async def test_a_file_fills_a_site_that_has_no_link(hub: CarryingHub, island: Island, tmp_path: Path) -> None:
    file = tmp_path / "faq.bundle"
    written = await hub.exporter().export("kiosk", "faq", file, NOW)
    assert (written.position, written.documents, written.deltas, written.size) == (END, 6, 2, file.stat().st_size)
    joined = await island.join(file)
    assert (joined.position, joined.documents, joined.is_new, joined.known_at_ms) == (END, 6, True, NOW)
    assert island.store.record("faq").checksum == hub.store.record("faq").checksum
    assert island.texts()["e"] == "e: as it is"
    again = await island.join(file)
    assert (again.position, again.is_new) == (END, False)


async def test_an_older_file_changes_nothing_and_a_newer_one_brings_what_is_new(
    hub: CarryingHub, island: Island, tmp_path: Path
) -> None:
    old = await hub.export(tmp_path / "old.bundle")
    await hub.write("a", "new")
    new = await hub.export(tmp_path / "new.bundle")
    await island.join(old)
    assert (await island.join(new)).position == LogPosition(1, 8)
    assert (await island.join(old)).is_new is False
    assert island.texts()["a"] == "a: new"
    assert island.store.record("faq").replica.state == "following"


async def test_a_snapshot_alone_is_a_file_too(hub: CarryingHub, island: Island, tmp_path: Path) -> None:
    await hub.snapshot()
    file = await hub.export(tmp_path / "faq.bundle")
    assert (await island.join(file)).documents == 6


def tamper_chunk(frames: list[bytes]) -> list[bytes]:
    chunk = bytearray(frames[2])
    chunk[-1] ^= 1
    return [*frames[:2], bytes(chunk), *frames[3:]]


def forge_freshness(frames: list[bytes]) -> list[bytes]:
    head = decode(frames[0], CollectionHead)
    return [encode(msgspec.structs.replace(head, known_at_ms=NOW + DAY)), *frames[1:]]


def forge_statement(frames: list[bytes]) -> list[bytes]:
    head = decode(frames[0], CollectionHead)
    forged = forge_freshness(frames)

    def change(carried: object) -> dict[str, bytes]:
        statement = msgspec.msgpack.decode(carried.statement, type=CarriedStatement)  # type: ignore[attr-defined]
        late = msgspec.structs.replace(head, known_at_ms=NOW + DAY)
        return {"statement": msgspec.msgpack.encode(msgspec.structs.replace(statement, head=late))}

    return change_carried(forged, change)


def give_to_all(frames: list[bytes]) -> list[bytes]:
    def change(carried: object) -> dict[str, bytes]:
        statement = msgspec.msgpack.decode(carried.statement, type=CarriedStatement)  # type: ignore[attr-defined]
        rules = msgspec.structs.replace(FAQ, sites_write=True)
        return {"statement": msgspec.msgpack.encode(msgspec.structs.replace(statement, rules=rules))}

    return change_carried(frames, change)


def swap_manifest(frames: list[bytes]) -> list[bytes]:
    return change_carried(frames, lambda carried: {"manifest": carried.manifest.replace(b"faq", b"fax")})


def leave_out_keys(frames: list[bytes]) -> list[bytes]:
    return change_carried(
        frames, lambda carried: {"files": {name: each for name, each in carried.files.items() if "keys/" not in name}}
    )


def sign_as_somebody(frames: list[bytes]) -> list[bytes]:
    return change_carried(frames, lambda _: {"signer": "ab" * 32})


ATTACKS: dict[str, tuple[Callable[[list[bytes]], list[bytes]], type[TidegateError]]] = {
    "a tampered chunk": (tamper_chunk, SnapshotRefusedError),
    "a head that claims to be fresher": (forge_freshness, MixedUpTargetError),
    "a statement that claims to be fresher": (forge_statement, BadSignatureError),
    "other rules": (give_to_all, BadSignatureError),
    "the last delta left out": (lambda frames: frames[:-1], MixedUpTargetError),
    "deltas in another order": (lambda frames: [*frames[:-2], frames[-1], frames[-2]], MixedUpTargetError),
    "another manifest": (swap_manifest, MixedUpTargetError),
    "an unknown key": (sign_as_somebody, UnknownKeyError),
    "no register of keys": (leave_out_keys, TrustError),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_what_was_changed_on_its_way_is_named_and_applied_nowhere(
    attack: str, exported: tuple[CarryingHub, bytes], tmp_path: Path
) -> None:
    hub, data = exported
    island = Island(tmp_path / "island")
    hub.provision(island.trust)
    island.lease()
    file = tmp_path / "faq.bundle"
    await asyncio.to_thread(file.write_bytes, data)
    change, refused = ATTACKS[attack]
    frames = frames_of(file)
    rewrite(file, change(frames))
    with pytest.raises(refused) as error:
        await island.join(file)
    assert error.value.hint
    assert island.texts() == {}
    assert island.store.record("faq").replica.position is None
    rewrite(file, frames)
    assert (await island.join(file)).documents == 6


async def test_a_revoked_key_of_the_hub_signs_no_file(hub: CarryingHub, island: Island, tmp_path: Path) -> None:
    exporter = hub.exporter()
    hub.trust.keys.revoke(hub.key.key_id, NOW, "stolen")
    hub.publish_keys(NOW + 1)
    await exporter.export("kiosk", "faq", tmp_path / "faq.bundle", NOW)
    with pytest.raises(RevokedKeyError, match="stolen"):
        await island.join(tmp_path / "faq.bundle", NOW + 2)
    assert island.texts() == {}


async def test_the_hub_s_author_key_alone_publishes_no_snapshot(
    hub: CarryingHub, island: Island, tmp_path: Path
) -> None:
    old = carry_snapshot(hub.trust.repository, "kiosk", "faq")
    await hub.write("g")
    await hub.snapshot()
    file = await hub.export(tmp_path / "faq.bundle")
    frames = frames_of(file)
    head = decode(frames[0], CollectionHead)
    published = carry_snapshot(hub.trust.repository, "kiosk", "faq")
    signer = hub.trust.keys.signer(hub.key.key_id, NOW)
    mixed = msgspec.structs.replace(published, data=old.data, manifest=old.manifest)
    rewrite(file, [frames[0], seal(mixed, head, FAQ, digest_of_tail(()), signer), *frames[2:]])
    with pytest.raises(MixedUpTargetError, match="not the one that is published"):
        await island.join(file)
    assert island.texts() == {}


async def test_a_file_of_an_older_state_of_the_repository_is_refused(
    hub: CarryingHub, island: Island, tmp_path: Path
) -> None:
    old = await hub.export(tmp_path / "old.bundle")
    await hub.write("g")
    await hub.snapshot()
    await island.join(await hub.export(tmp_path / "new.bundle"))
    with pytest.raises(RolledBackError):
        await island.join(old)
    assert island.texts()["g"] == "g: as it was"


async def test_whose_file_it_is_not_gets_nothing_of_it(tmp_path: Path) -> None:
    hub = CarryingHub(tmp_path / "hub", msgspec.structs.replace(FAQ, sites=("site2",)))
    await hub.write("a")
    await hub.snapshot()
    file = await hub.export(tmp_path / "faq.bundle")
    island = Island(tmp_path / "island")
    with pytest.raises(NotProvisionedError):
        await island.join(file)
    hub.provision(island.trust)
    with pytest.raises(NotOwnedError, match="site1 may not read faq"):
        await island.join(file)
    with pytest.raises(CollectionUnknownError):
        island.store.record("faq")
    with pytest.raises(NotOwnedError, match="does not serve kiosk"):
        await join_file({"bank": island.store}, file, island.trust, at(NOW))
