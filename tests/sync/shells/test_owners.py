"""The data split over the wire: what stays at a site is nowhere else, and nobody takes it for what is shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.nats_fleet import arrived, count
from tests.support.sync_fleet import NOTICES, sync_fleet, until
from tidegate.schemas import Collection
from tidegate.schemas.replica import CollectionRequest, Done, RepairOutcomes, ReplicaStatus
from tidegate.schemas.subjects import HUB, LOCAL
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.shells.hub_shell import OwnerChangedError
from tidegate.sync.shells.local_endpoints import DocumentIdTakenError

pytestmark = pytest.mark.anyio
DIARY = Collection(tenant="kiosk", name="diary", owner="site")
PRICES = Collection(tenant="kiosk", name="prices", owner="hub")
SITES = ("site1", "site2")
SECRET, INTERNAL = "Only-at-site1-d41d8", "Only-at-the-hub-98ecf"


def files_with(directory: Path, wanted: str) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and wanted.encode() in path.read_bytes()]


async def test_what_is_a_site_s_own_is_in_no_byte_of_another_domain_and_the_hub_s_in_none_of_a_site(
    tmp_path: Path,
) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.put(PRICES)
        await fleet.put(DIARY)  # the rule is the hub's, the documents are not
        await until(lambda: all("diary" in fleet.workers[each].tenants["kiosk"].collections() for each in SITES))
        await fleet.write("site1", {"d1": SECRET}, collection="diary")
        await fleet.write("site1", {"n1": "for all"})
        await fleet.write(HUB, {"p1": INTERNAL}, collection="prices")
        await fleet.agree({"n1": "for all"})
        await fleet.ask("site1", "repair", CollectionRequest(tenant="kiosk"), RepairOutcomes)
        with pytest.raises(NotOwnedError):
            await fleet.write(HUB, {"d2": "x"}, collection="diary")
        site1, hub = await fleet.bus("site1"), await fleet.bus(HUB)
        await arrived(site1.link.client, LOCAL, 1)
        await arrived(hub.link.client, LOCAL, 1)
        assert await count((await fleet.bus("site2")).link.client, LOCAL) == 0
        with fleet.workers["site1"].tenants["kiosk"].store.reading() as reader:
            assert not reader.pending(-1, ("LOCAL",))
        assert fleet.texts("site1", "diary") == {"d1": SECRET}
        await fleet.stop(HUB, *SITES)
    assert files_with(tmp_path / "site1", SECRET)
    assert files_with(tmp_path / HUB, INTERNAL)
    assert not files_with(tmp_path / HUB, SECRET) + files_with(tmp_path / "site2", SECRET)
    assert not files_with(tmp_path / "site1", INTERNAL) + files_with(tmp_path / "site2", INTERNAL)


async def test_names_and_ids_that_are_taken_are_refused(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        await fleet.agree({})
        await fleet.put(DIARY, at="site1")
        await fleet.write("site1", {"d1": SECRET}, collection="diary")
        with pytest.raises(NotOwnedError):
            await fleet.put(NOTICES, at="site1")
        with pytest.raises(OwnerChangedError):
            await fleet.put(Collection(tenant="kiosk", name="notices", owner="site"), at="site1")
        with pytest.raises(DocumentIdTakenError, match="d1 is a document of diary"):
            await fleet.write("site1", {"d1": "other"})
        await fleet.write("site1", {}, deleted=["d1"], collection="diary")
        await fleet.write("site1", {"d1": "shared now", "n1": "new"})
        await fleet.agree({"d1": "shared now", "n1": "new"})
        with pytest.raises(OwnerChangedError):
            await fleet.put(Collection(tenant="kiosk", name="notices", owner="hub"))
        # A collection of the hub that is called as one of the site's own: the site's documents stay its own.
        await fleet.write("site1", {"d2": SECRET}, collection="diary")
        await fleet.put(Collection(tenant="kiosk", name="diary", sites_write=True))
        await fleet.write(HUB, {"h1": "hub's"}, collection="diary")
        faults = fleet.site("site1").faults
        await until(lambda: "diary is site here, and shared at the hub" in " ".join(faults.all()), faults.all)
        assert fleet.texts("site1", "diary") == {"d2": SECRET}
        assert fleet.texts(HUB, "diary") == {"h1": "hub's"}
        status = await fleet.ask("site1", "status", CollectionRequest(collection="diary"), ReplicaStatus)
        assert [(each.owner, each.state) for each in status.collections] == [("site", "local")]
        with pytest.raises(NotOwnedError):
            await fleet.ask("site1", "snapshot", CollectionRequest(tenant="kiosk"), Done)
