"""A disk that is new, older than it was, or damaged, at a site and at the hub: found, named, and made whole again."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.support.nats_fleet import arrived
from tests.support.snapshot_options import with_snapshots
from tests.support.sync_fleet import SyncFleet, damage, sync_fleet, until
from tests.support.trusted_snapshots import RepositoryBlobs
from tidegate.brokers.jetstream import api
from tidegate.schemas import Collection, LogPosition
from tidegate.schemas.replica import CollectionRequest, Done, RepairOutcomes, ReplicaStatus
from tidegate.schemas.subjects import CORPUS, HUB, LOCAL
from tidegate.sync.author import AuthorFencedError
from tidegate.sync.reader import CollectionUnknownError

pytestmark = pytest.mark.anyio
NOTICES_ONLY = CollectionRequest(tenant="kiosk", collection="notices")


def replicas(path: Path, domain: str) -> Path:
    return path / domain / "replicas"


def position(fleet: SyncFleet, domain: str) -> LogPosition | None:
    return fleet.workers[domain].tenants["kiosk"].store.record("notices").replica.position


async def test_a_site_with_an_empty_disk_begins_with_a_snapshot_and_writes_as_its_next_incarnation(
    tmp_path: Path,
) -> None:
    more = with_snapshots(tmp_path, "site1", "site2", snapshot_after_deltas=20)
    async with sync_fleet(tmp_path, **more) as fleet:
        texts = {f"d{number}": f"text {number}" for number in range(30)}
        await fleet.write(HUB, texts)
        await fleet.write("site1", {"mine": "first"})
        texts["mine"] = "first"
        await fleet.agree(texts)
        blobs: RepositoryBlobs = fleet.options[HUB]["ports"].blobs("kiosk")
        await until(lambda: bool(blobs.published))
        await fleet.stop("site1")
        shutil.rmtree(replicas(tmp_path, "site1"))
        client = (await fleet.bus(HUB)).link.client
        await api.call(client, f"STREAM.PURGE.{CORPUS}", {"keep": 3})  # the log does not reach back any more
        await fleet.start("site1")
        faults = fleet.site("site1").faults
        await until(lambda: "the hub knows 1 operations of site1@1, this disk 0" in " ".join(faults.all()), faults.all)
        with pytest.raises((AuthorFencedError, CollectionUnknownError)):
            await fleet.write("site1", {"mine": "second"})
        granted = fleet.hub.tenants["kiosk"].relay.grant_incarnation("site1")
        await fleet.site("site1").readmit(granted)  # as a lease of the hub says
        await fleet.agree(texts)
        assert fleet.options["site1"]["snapshots"].fetched
        await fleet.write("site1", {"mine": "second"})
        await fleet.agree({**texts, "mine": "second"})
        await until(lambda: not faults.all(), faults.all)


async def test_a_hub_whose_log_lost_its_end_goes_on_in_a_new_epoch_and_nothing_is_lost(tmp_path: Path) -> None:
    more = with_snapshots(tmp_path, "site1", "site2")
    async with sync_fleet(tmp_path, **more) as fleet:
        await fleet.write(HUB, {"a": "one"})
        await fleet.write("site1", {"b": "two"})
        await fleet.agree({"a": "one", "b": "two"})
        await fleet.stop(HUB)
        backup = tmp_path / "backup"
        shutil.copytree(replicas(tmp_path, HUB), backup)
        await fleet.start(HUB)
        await fleet.write(HUB, {"a": "three"})
        await fleet.write("site1", {"c": "four"})
        await fleet.agree({"a": "three", "b": "two", "c": "four"})
        # The hub is restored from its backup, with a log that lost what came after it.
        await fleet.stop(HUB)
        shutil.rmtree(replicas(tmp_path, HUB))
        shutil.copytree(backup, replicas(tmp_path, HUB))
        client = (await fleet.bus(HUB)).link.client
        await api.call(client, f"STREAM.PURGE.{CORPUS}")
        await fleet.start(HUB)
        await fleet.agree({"a": "three", "b": "two", "c": "four"})
        end = position(fleet, HUB)
        assert end is not None
        assert end.epoch == 2
        await until(lambda: position(fleet, "site1") == position(fleet, "site2") == end)
        await fleet.write("site2", {"d": "five"})
        written = await fleet.write(HUB, {"a": "six"})  # as an incarnation that nobody has seen
        assert str(written.dots["a"]) == "hub@2:1"
        await fleet.agree({"a": "six", "b": "two", "c": "four", "d": "five"})


async def test_a_flipped_bit_is_found_and_repaired_at_a_site_and_at_the_hub(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        texts = {f"d{number}": "text" for number in range(20)}
        await fleet.write(HUB, texts)
        await fleet.write("site1", {"d3": "changed"})
        texts["d3"] = "changed"
        await fleet.agree(texts)
        damage(replicas(tmp_path, "site2") / "kiosk.sqlite", "d3")
        [seen] = (await fleet.ask("site2", "verify", NOTICES_ONLY, RepairOutcomes)).outcomes
        assert (seen.documents, seen.fault) == ({"disk": ("d3",)}, "")
        await fleet.agree(texts)  # by itself: it holds something else than the hub at the same position
        at_site = await fleet.ask("site2", "status", NOTICES_ONLY, ReplicaStatus)
        mended = at_site.collections[0].last_repair
        assert mended is not None
        assert mended.documents == {"disk": ("d3",)}
        assert 0 < mended.bytes_on_wire < 10_000
        [(domain, event)] = fleet.reported
        assert (domain, event.kind, event.tenant, event.act.reason) == ("site2", "repaired", "kiosk", "disk 1")
        await fleet.stop("site1", "site2")  # none of them is to offer it: the log has it
        damage(replicas(tmp_path, HUB) / "kiosk.sqlite", "d3")
        for verb, found in (("verify", ("d3",)), ("repair", ("d3",)), ("verify", ())):
            [outcome] = (await fleet.ask(HUB, verb, NOTICES_ONLY, RepairOutcomes)).outcomes
            assert outcome.documents.get("disk", ()) == found, verb
        await fleet.agree(texts)


async def test_a_site_that_is_an_older_copy_of_itself_is_fenced_and_that_is_reported_once(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.write("site1", {"a": "one"})
        await fleet.agree({"a": "one"})
        await fleet.stop("site1")
        shutil.copytree(replicas(tmp_path, "site1"), tmp_path / "older")
        await fleet.start("site1")
        await fleet.write("site1", {"a": "two"})
        await fleet.agree({"a": "two"})
        await fleet.stop("site1")
        shutil.rmtree(replicas(tmp_path, "site1"))
        shutil.copytree(tmp_path / "older", replicas(tmp_path, "site1"))
        await fleet.start("site1")
        await until(lambda: bool(fleet.reported))
        await asyncio.sleep(1.0)  # it is asked for its head again meanwhile, and is fenced still
    [(domain, event)] = fleet.reported
    assert (domain, event.kind, event.act.about) == ("site1", "site_fenced", "site1")
    assert "the hub knows" in event.act.reason


async def test_what_the_hub_lost_of_its_disk_and_its_log_is_offered_by_a_site(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.write(HUB, {"a": "one", "b": "two"})
        await fleet.agree({"a": "one", "b": "two"})
        await api.call((await fleet.bus(HUB)).link.client, f"STREAM.PURGE.{CORPUS}", {"seq": 2})
        damage(replicas(tmp_path, HUB) / "kiosk.sqlite", "a")
        await fleet.ask(HUB, "repair", NOTICES_ONLY, RepairOutcomes)
        assert fleet.texts(HUB) == {"b": "two"}
        await fleet.ask("site1", "repair", NOTICES_ONLY, RepairOutcomes)
        await fleet.agree({"a": "one", "b": "two"})


async def test_a_log_that_loses_its_end_while_the_hub_runs_goes_on_in_a_new_epoch(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"], **with_snapshots(tmp_path, "site1")) as fleet:
        hub = fleet.servers.hub
        await fleet.write(HUB, {"a": "one"})
        await fleet.agree({"a": "one"})
        hub.kill()
        shutil.copytree(hub.directory / "store", tmp_path / "backup")
        await hub.start()
        await fleet.write(HUB, {"b": "two"})
        await fleet.agree({"a": "one", "b": "two"})
        hub.kill()  # and its disk gives back what it held before
        shutil.rmtree(hub.directory / "store")
        shutil.copytree(tmp_path / "backup", hub.directory / "store")
        await hub.start()
        await fleet.write(HUB, {"c": "three"})
        await fleet.agree({"a": "one", "b": "two", "c": "three"})
        assert position(fleet, "site1") == position(fleet, HUB)
        assert str(position(fleet, HUB)).startswith("2.")


async def test_an_entry_that_the_log_has_lost_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, **with_snapshots(tmp_path, "site1", "site2")) as fleet:
        await fleet.write(HUB, {"a": "one"})
        await fleet.agree({"a": "one"})
        await fleet.stop("site2")
        await fleet.write(HUB, {"b": "two"})
        await fleet.write(HUB, {"c": "three"})
        for domain in (HUB, "site2"):
            client = (await fleet.bus(domain)).link.client
            await arrived(client, CORPUS, 3)
            await api.call(client, f"STREAM.MSG.DELETE.{CORPUS}", {"seq": 2})
        await fleet.start("site2")
        await fleet.agree({"a": "one", "b": "two", "c": "three"})
        assert fleet.options["site2"]["snapshots"].fetched


async def test_what_stays_in_its_domain_is_made_whole_again_from_its_stream(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        await fleet.put(Collection(tenant="kiosk", name="prices", owner="hub"))
        await fleet.put(Collection(tenant="kiosk", name="diary", owner="site"), at="site1")
        for domain, collection in ((HUB, "prices"), ("site1", "diary")):
            await fleet.write(domain, {"x": "one", "y": "two"}, collection=collection)
            await fleet.write(domain, {"x": "three"}, collection=collection)
            before = fleet.checksum(domain, collection)
            damage(replicas(tmp_path, domain) / "kiosk.sqlite", "x")
            asked = CollectionRequest(tenant="kiosk", collection=collection)
            [mended] = (await fleet.ask(domain, "repair", asked, RepairOutcomes)).outcomes
            assert (mended.documents, mended.fault) == ({"disk": ("x",)}, "")
            assert fleet.texts(domain, collection) == {"x": "three", "y": "two"}
            assert fleet.checksum(domain, collection) == before
            await api.call((await fleet.bus(domain)).link.client, f"STREAM.PURGE.{LOCAL}")
            damage(replicas(tmp_path, domain) / "kiosk.sqlite", "y")
            [lost] = (await fleet.ask(domain, "repair", asked, RepairOutcomes)).outcomes
            assert "nothing of it is in the stream LOCAL" in lost.fault
            status = await fleet.ask(domain, "status", asked, ReplicaStatus)
            assert "nothing of it" in status.collections[0].fault


async def test_without_a_writer_of_snapshots_asking_for_one_says_so(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        with pytest.raises(Exception, match="nowhere to publish"):
            await fleet.ask(HUB, "snapshot", NOTICES_ONLY, Done)
