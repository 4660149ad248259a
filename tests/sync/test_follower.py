"""A site joins by a snapshot and its tail, goes on where it was cut, and holds where its state says so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.sync_parts import NOTICES, NOW, DirectClient, Hub, Site, make_hub, make_site, text
from tidegate.schemas import CollectionDelta, CollectionHead, LogPosition, replace
from tidegate.sync.follower import ReplicaHeldError
from tidegate.sync.rules.plan import HoleError, OriginRolledBackError
from tidegate.sync.signing import UntrustedOperationError
from tidegate.sync.snapshots import SnapshotRefusedError


class CutClient(DirectClient):
    """A hub whose log begins at `first`, over a link that is cut after so many chunks; -1: it holds."""

    def __init__(self, hub: Hub, site: str, first: int, cut: int) -> None:
        super().__init__(hub, site)
        self.first, self.cut, self.fetched = first, cut, list[str]()

    async def head(self, collection: str) -> CollectionHead:
        return self.hub.state.head(self.site, collection, NOW, first=self.first)

    async def chunk(self, collection: str, digest: str) -> bytes:
        if len(self.fetched) == self.cut:
            raise ConnectionError("the link is cut")
        self.fetched.append(digest)
        return await super().chunk(collection, digest)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return make_hub(tmp_path)


def publish(hub: Hub, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        hub.author.write("notices", f"d{number}", text(f"text {number} " + "x" * 200), NOW)
    asyncio.run(hub.relay.take_own(NOW))


def test_an_empty_site_reads_a_short_log_from_its_beginning(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 5)
    site = make_site(tmp_path, "site1", hub)
    assert site.texts() == {}
    assert asyncio.run(site.follower.follow("notices")) == LogPosition(1, 5)
    assert len(site.texts()) == 5
    assert site.checksum() == hub.store.record("notices").checksum.digest
    with site.store.reading() as mine, hub.store.reading() as theirs:
        assert mine.tree("notices").digest == theirs.tree("notices").digest


def test_readers_get_nothing_of_a_replica_before_it_was_whole(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 5)
    site = make_site(tmp_path, "site1", hub)
    site.follower.receive("notices", hub.log.deltas["notices"][:3])
    assert site.texts() == {}
    asyncio.run(site.follower.follow("notices"))
    assert len(site.texts()) == 5


def test_a_replica_that_meets_the_log_in_its_middle_reads_it_from_its_beginning(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 5)  # so few that the hub has made no snapshot of them
    site = make_site(tmp_path, "site1", hub)
    with pytest.raises(HoleError):
        site.follower.receive("notices", hub.log.deltas["notices"][3:])
    assert asyncio.run(site.follower.follow("notices")) == LogPosition(1, 5)
    assert len(site.texts()) == 5


@pytest.mark.parametrize("cut", range(0, 10, 3))
def test_a_snapshot_that_was_cut_goes_on_behind_its_last_chunk(hub: Hub, tmp_path: Path, cut: int) -> None:
    publish(hub, 60)
    manifest = asyncio.run(hub.snapshot(chunk_bytes=2048))
    publish(hub, 2, first=60)
    hub.log.deltas["notices"] = hub.log.deltas["notices"][60:]  # the log reaches back to the snapshot only
    origin = CutClient(hub, "site1", first=61, cut=cut)
    site = Site(tmp_path / "site1", "site1", origin).join()
    with pytest.raises(ConnectionError):
        asyncio.run(site.follower.follow("notices"))
    assert site.texts() == {}
    site.store.close()
    origin.cut = -1
    again = Site(site.path, "site1", origin, boot=1)
    asyncio.run(again.follower.follow("notices"))
    assert sorted(origin.fetched) == sorted(each.digest for each in manifest.chunks), "each once"
    assert len(again.texts()) == 62
    assert again.checksum() == hub.store.record("notices").checksum.digest


def test_a_changed_chunk_is_refused_and_nothing_of_it_is_read(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 20)
    manifest = asyncio.run(hub.snapshot())
    site = make_site(tmp_path, "site1", hub)
    publish(hub, 1, first=20)
    asyncio.run(hub.relay.begin_epoch("notices", 1))
    fresh = asyncio.run(hub.snapshot())
    assert fresh.position == LogPosition(2, 0)
    digest = fresh.chunks[-1].digest
    good = hub.blobs.chunks["notices", digest]
    hub.blobs.chunks["notices", digest] = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(SnapshotRefusedError):
        asyncio.run(site.follower.follow("notices"))
    assert site.texts() == {}
    hub.blobs.chunks["notices", digest] = good
    asyncio.run(site.follower.follow("notices"))
    assert len(site.texts()) == 21
    assert manifest.position < fresh.position


def test_deltas_in_any_order_are_applied_once_and_a_hole_is_named(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 6)
    deltas, site = hub.log.deltas["notices"], make_site(tmp_path, "site1", hub)
    assert site.follower.receive("notices", deltas[:1]) == 1
    with pytest.raises(HoleError) as raised:
        site.follower.receive("notices", [deltas[0], deltas[3]])
    assert raised.value.missing == (1, 2, 3)
    assert site.follower.receive("notices", [deltas[2], deltas[0], deltas[1], deltas[0]]) == 2
    assert site.follower.receive("notices", deltas[:3]) == 0
    assert site.follower.receive("notices", deltas) == 3


def test_a_delta_that_its_author_did_not_sign_is_not_applied(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 1)
    [delta] = hub.log.deltas["notices"]
    payload = delta.operation.payload.replace(b"text 0", b"text 1")
    forged = CollectionDelta(
        tenant="kiosk",
        collection="notices",
        position=delta.position,
        operation=type(delta.operation)(payload=payload, signature=delta.operation.signature),
    )
    site = make_site(tmp_path, "site1", hub)
    with pytest.raises(UntrustedOperationError):
        site.follower.receive("notices", [forged])
    assert site.store.record("notices").replica.position is None


def test_a_log_that_ends_too_early_fences_the_replica_until_a_new_epoch(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 4)
    site = make_site(tmp_path, "site1", hub)
    asyncio.run(site.follower.follow("notices"))
    old = make_hub(tmp_path / "old")
    publish(old, 2)
    site.origin.hub = old
    with pytest.raises(OriginRolledBackError):
        asyncio.run(site.follower.follow("notices"))
    assert site.store.record("notices").replica.state == "fenced"
    with pytest.raises(ReplicaHeldError):
        site.follower.receive("notices", [moved(hub.log.deltas["notices"][0], LogPosition(1, 5))])
    asyncio.run(old.relay.begin_epoch("notices", 1))
    asyncio.run(old.snapshot())
    asyncio.run(site.follower.follow("notices"))
    assert site.store.record("notices").replica.state == "following"
    assert len(site.texts()) == 4, "what the hub lost is still here"


def moved(delta: CollectionDelta, position: LogPosition) -> CollectionDelta:
    return CollectionDelta(tenant="kiosk", collection="notices", position=position, operation=delta.operation)


def test_without_a_lease_nothing_is_fetched(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 2)
    site = make_site(tmp_path, "site1", hub, replace(NOTICES, is_sensitive=True))
    site.follower.note("notices", "lease-expired")
    with pytest.raises(ReplicaHeldError):
        asyncio.run(site.follower.follow("notices"))
    site.follower.note("notices", "lease-granted")
    asyncio.run(site.follower.follow("notices"))
    assert len(site.texts()) == 2


def test_own_edits_survive_the_snapshot_that_is_joined(hub: Hub, tmp_path: Path) -> None:
    publish(hub, 3)
    site = make_site(tmp_path, "site1", hub)
    site.author.write("notices", "mine", text("written before anything came"), NOW)
    asyncio.run(hub.relay.begin_epoch("notices", 1))
    asyncio.run(hub.snapshot())
    asyncio.run(site.follower.follow("notices"))
    assert site.texts()["mine"] == "written before anything came"
    assert asyncio.run(site.send(hub)) == "relayed"
    asyncio.run(site.follower.follow("notices"))
    with site.store.reading() as reader:
        assert reader.pending() == ()
    assert site.checksum() == hub.store.record("notices").checksum.digest


def test_an_own_edit_in_the_log_is_in_the_outbox_no_more_though_no_receipt_came(hub: Hub, tmp_path: Path) -> None:
    site = make_site(tmp_path, "site1", hub)
    site.author.write("notices", "mine", text("x"), NOW)
    asyncio.run(site.send(hub, is_receipt_lost=True))
    asyncio.run(site.follower.follow("notices"))
    with site.store.reading() as reader:
        assert reader.pending() == ()
