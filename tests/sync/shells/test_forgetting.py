"""Deletions are forgotten by hub and sites that run, and a site that was away edits nothing back to life."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.snapshot_options import with_snapshots
from tests.support.sync_fleet import SyncFleet, damage, sync_fleet, until
from tidegate.brokers.jetstream import api
from tidegate.schemas import Collection, LogPosition
from tidegate.schemas.replica import CollectionRequest, RepairOutcomes
from tidegate.schemas.subjects import CORPUS, HUB
from tidegate.sync.shells import hub_shell

pytestmark = pytest.mark.anyio
AT_ONCE = {"forget_deleted_from": 1, "forget_every_s": 0.3}
NOTICES_ONLY = CollectionRequest(tenant="kiosk", collection="notices")
KEPT = {"a": "one", "b": "two", "c": "three"}


def rows(fleet: SyncFleet, domain: str, collection: str = "notices") -> set[str]:
    """The documents of which a domain holds anything, be it a tombstone."""
    with fleet.workers[domain].tenants["kiosk"].store.reading() as reader:
        return {each.document_id for each in reader.documents(collection)}


def position(fleet: SyncFleet, domain: str) -> LogPosition | None:
    return fleet.workers[domain].tenants["kiosk"].store.record("notices").replica.position


async def test_a_site_that_was_away_for_too_long_edits_nothing_back_to_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_shell, "RECOVER_EVERY_S", 0.3)
    more = with_snapshots(tmp_path, "site1", "site2", forget_deleted_after_s=1.0, **AT_ONCE)
    async with sync_fleet(tmp_path, **more) as fleet:
        await fleet.write(HUB, {**KEPT, "gone": "old"})
        await fleet.agree({**KEPT, "gone": "old"})
        hub, away = fleet.servers.hub, fleet.servers.sites["site2"]
        hub.kill()
        await fleet.write("site2", {"gone": "edited", "new": "by site2", "a": "changed"})
        await fleet.stop("site2")
        away.kill()
        await hub.start()
        await fleet.write(HUB, {}, deleted=["gone"])
        await until(lambda: "gone" not in rows(fleet, HUB), lambda: rows(fleet, HUB))
        await fleet.agree(KEPT, HUB, "site1")
        assert rows(fleet, HUB) == rows(fleet, "site1") == set(KEPT)
        await away.start()
        await fleet.start("site2")
        texts = {**KEPT, "new": "by site2", "a": "changed"}
        await fleet.agree(texts)
        assert fleet.options["site2"]["snapshots"].fetched
        await fleet.write("site1", {"gone": "another one"})  # its name can be used again
        await fleet.agree({**texts, "gone": "another one"})
        epoch = position(fleet, HUB)
        assert epoch is not None
        assert epoch.epoch <= 4, "no epoch begins without a reason"


async def test_what_a_site_has_not_heard_of_is_not_forgotten_while_it_is_waited_for(tmp_path: Path) -> None:
    more = with_snapshots(tmp_path, "site1", "site2", **AT_ONCE)
    async with sync_fleet(tmp_path, **more) as fleet:
        await fleet.write(HUB, {"a": "one", "gone": "old"})
        await fleet.agree({"a": "one", "gone": "old"})
        tenant = fleet.hub.tenants["kiosk"]
        await until(lambda: "site2" in tenant.seen._seen.get("notices", {}))
        await fleet.stop("site2")
        await fleet.write(HUB, {}, deleted=["gone"])
        await fleet.agree({"a": "one"}, HUB, "site1")
        now_ms = fleet.hub.now_ms()
        assert tenant.seen.stable("notices", now_ms, fleet.settings) is None
        assert "gone" in rows(fleet, HUB)
        await fleet.start("site2")
        await until(lambda: all(rows(fleet, each) == {"a"} for each in (HUB, "site1", "site2")))
        await fleet.agree({"a": "one"})


@pytest.mark.parametrize("is_in_log", [True, False])
async def test_what_was_written_before_a_forgotten_deletion_is_still_made_whole_again(
    tmp_path: Path, is_in_log: bool
) -> None:
    async with sync_fleet(tmp_path, ["site1"], **with_snapshots(tmp_path, "site1", **AT_ONCE)) as fleet:
        await fleet.write(HUB, {**KEPT, "gone": "old"})
        await fleet.agree({**KEPT, "gone": "old"})
        await fleet.write(HUB, {}, deleted=["gone"])
        await until(lambda: all(rows(fleet, each) == set(KEPT) for each in (HUB, "site1")))
        await fleet.agree(KEPT)
        if not is_in_log:  # it is older than what the log keeps: only the site has it
            await api.call((await fleet.bus(HUB)).link.client, f"STREAM.PURGE.{CORPUS}")
        damage(tmp_path / HUB / "replicas" / "kiosk.sqlite", "a")
        await fleet.ask(HUB, "repair", NOTICES_ONLY, RepairOutcomes)
        assert fleet.texts(HUB) == (KEPT if is_in_log else {name: KEPT[name] for name in ("b", "c")})
        await fleet.ask("site1", "repair", NOTICES_ONLY, RepairOutcomes)
        await fleet.agree(KEPT)


async def test_what_stays_in_its_domain_is_forgotten_there_and_made_whole_all_the_same(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"], **with_snapshots(tmp_path, "site1", **AT_ONCE)) as fleet:
        await fleet.put(Collection(tenant="kiosk", name="prices", owner="hub"))
        await fleet.put(Collection(tenant="kiosk", name="diary", owner="site"), at="site1")
        for domain, collection in ((HUB, "prices"), ("site1", "diary")):
            await fleet.write(domain, {**KEPT, "gone": "old"}, collection=collection)
            await fleet.write(domain, {}, deleted=["gone"], collection=collection)

            def are_left(domain: str = domain, collection: str = collection) -> bool:
                return rows(fleet, domain, collection) == set(KEPT)

            await until(are_left)
            damage(tmp_path / domain / "replicas" / "kiosk.sqlite", "a")
            asked = CollectionRequest(tenant="kiosk", collection=collection)
            [mended] = (await fleet.ask(domain, "repair", asked, RepairOutcomes)).outcomes
            assert (mended.documents, mended.fault) == ({"disk": ("a",)}, "")
            assert fleet.texts(domain, collection) == KEPT
            await fleet.write(domain, {"gone": "new"}, collection=collection)
            assert fleet.texts(domain, collection) == {**KEPT, "gone": "new"}
