"""What is published at the hub is at every site soon, and what a site writes at the hub and at the others."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from tests.support.sync_fleet import NOTICES, SyncFleet, now_ms, sync_fleet, until
from tidegate.brokers.jetstream import api, stored
from tidegate.schemas import replace
from tidegate.schemas.replica import CollectionRequest, ConflictList, DocumentsWritten, ReplicaStatus, ResolveConflict
from tidegate.schemas.subjects import CORPUS, HUB
from tidegate.sync.shells.hub_shell import HubPorts
from tidegate.sync.store import reading_store

pytestmark = pytest.mark.anyio
EVERYWHERE = CollectionRequest(tenant="kiosk", collection="notices")


async def test_what_the_hub_publishes_is_at_both_sites_and_an_edit_of_a_site_everywhere(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        written = await fleet.write(HUB, {"a": "one", "b": "two"})
        assert [str(dot) for dot in written.dots.values()] == ["hub@1:1", "hub@1:2"]
        await fleet.agree({"a": "one", "b": "two"})
        await fleet.write("site1", {"b": "three", "c": "four"}, deleted=["a", "never"])
        await fleet.agree({"b": "three", "c": "four"})
        assert ("site2", "kiosk", "notices") in fleet.changed
        await until(lambda: not outbox(fleet, "site1"))
        at_site = (await fleet.ask("site1", "status", CollectionRequest(), ReplicaStatus)).collections[0]
        assert (at_site.state, at_site.lag, at_site.pending, at_site.fault) == ("following", 0, 0, "")
        assert at_site.position == at_site.head == "1.5"
        assert at_site.is_fresh
        with reading_store(tmp_path / "site2" / "replicas" / "kiosk.sqlite") as reader:  # as other processes do
            assert now_ms() - reader.record("notices").known_at_ms < 10_000
        labels = {"tenant": "kiosk", "collection": "notices"}
        assert REGISTRY.get_sample_value("tidegate_sync_documents", labels) == 3
        assert REGISTRY.get_sample_value("tidegate_sync_applied_total", labels)


async def test_edits_made_apart_are_the_same_siblings_everywhere_until_somebody_decides(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.write(HUB, {"a": "one"})
        await fleet.agree({"a": "one"})
        fleet.servers.hub.kill()
        for site in ("site1", "site2"):
            await fleet.write(site, {"a": f"by {site}"})
            assert fleet.texts(site) == {"a": f"by {site}"}
        await fleet.servers.hub.start()
        await until(lambda: len({fleet.checksum(each) for each in fleet.workers}) == 1 and not outbox(fleet, "site1"))
        found = [await fleet.ask(each, "conflicts", EVERYWHERE, ConflictList) for each in fleet.workers]
        assert found[0] == found[1] == found[2]
        [conflict] = found[0].conflicts
        assert (conflict.is_open, [each.text for each in conflict.versions]) == (True, ["by site1", "by site2"])
        status = await fleet.ask("site2", "status", EVERYWHERE, ReplicaStatus)
        assert status.collections[0].conflicts == 1
        keep = ResolveConflict(tenant="kiosk", collection="notices", document_id="a", keep=conflict.versions[0].dot)
        await fleet.ask("site2", "resolve", keep, DocumentsWritten)
        await fleet.agree({"a": "by site1"})
        assert not (await fleet.ask("site1", "conflicts", EVERYWHERE, ConflictList)).conflicts


async def test_killed_servers_and_workers_lose_nothing(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        hub, site1 = fleet.servers.hub, fleet.servers.sites["site1"]
        await fleet.write(HUB, {"a": "0"})
        await fleet.agree({"a": "0"})
        site1.kill()
        await fleet.write(HUB, {"a": "1", "b": "1"})
        await site1.start()
        await fleet.agree({"a": "1", "b": "1"})
        await fleet.write("site1", {"c": "2"})
        hub.kill()
        await fleet.write("site2", {"d": "3"})
        await fleet.stop(HUB, "site2")
        await hub.start()
        await fleet.start(HUB, "site2")
        await fleet.agree({"a": "1", "b": "1", "c": "2", "d": "3"})
        await fleet.stop("site1")
        await fleet.write("site2", {"a": "4"}, deleted=["b"])
        await fleet.agree({"a": "4", "c": "2", "d": "3"}, HUB, "site2")
        await fleet.start("site1")
        await fleet.agree({"a": "4", "c": "2", "d": "3"})


async def test_a_rule_that_changes_is_learned_and_what_a_site_may_not_hold_any_more_goes(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.write(HUB, {"a": "one"})
        await fleet.agree({"a": "one"})
        await fleet.put(replace(NOTICES, sites=("site2",)))
        await until(lambda: not fleet.texts("site1"))
        await fleet.write(HUB, {"b": "two"})
        await fleet.agree({"a": "one", "b": "two"}, HUB, "site2")
        assert fleet.texts("site1") == {}
        assert ("site1", "kiosk", "notices") in fleet.changed
        await fleet.put(NOTICES)
        await fleet.agree({"a": "one", "b": "two"})


class Lease:
    """A lease that comes and goes."""

    is_held = False

    def has_lease(self) -> bool:
        return self.is_held

    def is_leased(self, site: str, now_ms: int) -> bool:
        return self.is_held and bool(site and now_ms)

    def is_revoked(self, site: str) -> bool:
        return not site


async def test_without_a_lease_nothing_is_read_and_with_one_all_that_was_missed(tmp_path: Path) -> None:
    lease = Lease()
    options = {HUB: {"ports": HubPorts(gate=lease)}, "site1": {"lease": lease}}
    async with sync_fleet(tmp_path, ["site1"], options=options) as fleet:
        await fleet.put(replace(NOTICES, is_sensitive=True))
        store = fleet.site("site1").tenants["kiosk"].store
        # These grants look at no lease, as a hub's own do before `put` returns: here only the site holds back.
        await until(lambda: store.record("notices").collection.is_sensitive)
        await fleet.write(HUB, {"a": "one"})
        faults = fleet.site("site1").faults
        await until(lambda: "no lease" in faults.about("kiosk/notices"), faults.all)
        assert fleet.texts("site1") == {}
        lease.is_held = True
        await fleet.agree({"a": "one"})
        lease.is_held = False
        await until(lambda: not store.record("notices").replica.has_lease)
        await fleet.write(HUB, {"a": "two"})
        await until(lambda: "no lease" in faults.about("kiosk/notices"), faults.all)
        assert fleet.texts("site1") == {"a": "one"}
        lease.is_held = True
        await fleet.agree({"a": "two"})


async def test_what_a_full_log_does_not_take_is_taken_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "STORED_WITHIN_S", 1.0)
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        await fleet.write(HUB, {"a": "one"})
        await fleet.agree({"a": "one"})
        client = (await fleet.bus(HUB)).link.client
        config = (await api.streams(client))[CORPUS]
        await api.put_stream(client, {**config, "max_msgs": 1}, is_new=False)
        written = await fleet.write(HUB, {"b": "two"})
        assert written.dots
        faults = fleet.hub.faults
        assert "maximum messages exceeded" in " ".join(faults.all())
        await api.put_stream(client, {**config, "max_msgs": -1}, is_new=False)
        await fleet.agree({"a": "one", "b": "two"})
        await until(lambda: not faults.all(), faults.all)


def outbox(fleet: SyncFleet, site: str) -> int:
    with fleet.workers[site].tenants["kiosk"].store.reading() as reader:
        return len(reader.pending())
