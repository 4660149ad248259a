"""A hub's trust and its sites', as their sync workers open them, on real servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.nats_fleet import until
from tests.support.trust_fleet import TENANT, TrustFleet, publish_at, trust_fleet
from tidegate.schemas import RejectError, ReplicaStatus, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.measured import accept_own_sites
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.replica_status import find_replica_problems
from tidegate.services.fleet.trust_site import SiteTrust
from tidegate.sync.shells.artefact_publishing import (
    ActivationAbortedError,
    PublishOptions,
    UnknownArtefactKindError,
)

pytestmark = pytest.mark.anyio
POLICY = f"artefacts/{TENANT}/policy/default"


def write(fleet: TrustFleet, text: str) -> Path:
    file = Path(fleet.settings.state_dir) / "file"
    file.write_text(text)
    return file


async def has_epoch(site: SiteTrust, epoch: int, name: str = "default") -> None:
    async def is_there() -> bool:
        return any(row.name == name and row.epoch == epoch for row in site.status())

    await until(is_there)


def site_is_leased(site: SiteTrust) -> Callable[[], Awaitable[bool]]:
    async def is_so() -> bool:
        return site.is_leased

    return is_so


async def test_what_is_published_is_in_force_at_every_site_and_the_same_bytes_are_not_new(tmp_path: Path) -> None:
    async with (
        trust_fleet(tmp_path, ("site1", "site2")) as fleet,
        fleet.open_hub() as hub,
        fleet.open_site("site1") as one,
        fleet.open_site("site2") as two,
    ):
        first = await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: strict\n"))
        assert (first.epoch, first.is_new) == (1, True)
        for site in (one, two):
            await has_epoch(site, 1)
        again = await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: strict\n"))
        assert (again.epoch, again.is_new) == (1, False)
        await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: stricter\n"))
        await has_epoch(one, 2)
        assert one.client.blobs.joinpath(one.status()[0].digest).read_text() == "policy: stricter\n"
        assert set(fleet.logs["site1"].activated) == {TENANT}
        assert one.faults() == two.faults() == hub.faults() == ()
        with pytest.raises(UnknownArtefactKindError):
            await publish_at(hub, TENANT, "poetry", "default", write(fleet, "x"))
        with pytest.raises(UnknownArtefactKindError):
            await publish_at(hub, TENANT, "prompt", "p", write(fleet, "x"), PublishOptions(is_critical=True))


async def test_a_site_that_starts_later_or_again_has_it_too(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet:
        async with fleet.open_hub() as hub:
            await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: strict\n"))
        async with fleet.open_site("site1") as site:
            await has_epoch(site, 1)
        fleet.all_.fleet.hub.stop()
        fleet.logs.clear()
        async with fleet.open_site("site1") as site:
            await has_epoch(site, 1)

            async def is_applied() -> bool:
                return fleet.logs["site1"].activated == [TENANT]

            await until(is_applied)
            assert site.standing().rung in ("full", "local-only")


async def test_a_site_attests_itself_and_keeps_its_lease(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path, lease_lasts_s=10) as fleet, fleet.open_hub() as hub:
        await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: strict\n"))
        async with fleet.open_site("site1") as site:

            async def is_leased() -> bool:
                return site.is_leased and hub.gate.leased(TENANT, hub.repository.now_ms()) == {"site1"}

            await until(is_leased)
            before = site.attester.report
            assert (before.code, before.assurance, before.incarnation) == ("", "software", 1)
            assert {"code", "configuration", "models"} <= before.measured.keys()
            again = await site.attester.attest()
            assert again.counter == before.counter + 1
            assert site.is_leased


async def test_a_critical_policy_is_in_force_nowhere_before_all_sites_hold_it(tmp_path: Path) -> None:
    async with (
        trust_fleet(tmp_path, ("site1", "site2")) as fleet,
        fleet.open_hub() as hub,
        fleet.open_site("site1") as one,
        fleet.open_site("site2") as two,
    ):

        async def are_leased() -> bool:
            return hub.gate.leased(TENANT, hub.repository.now_ms()) == {"site1", "site2"}

        await until(are_leased)
        critical = PublishOptions(is_critical=True)
        done = await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: 1\n"), critical)
        assert done.epoch == 1
        for site in (one, two):
            await has_epoch(site, 1)

        async def is_stated() -> bool:
            return all(record.epochs == {f"{TENANT}/default": 1} for record in hub.records())

        await until(is_stated)


async def test_a_site_that_could_not_use_it_aborts_the_activation_and_all_go_on(tmp_path: Path) -> None:
    def refuse(artefact: object, file: Path) -> None:  # noqa: ARG001
        if "nonsense" in file.read_text():
            raise RejectError("it is nonsense")

    async with (
        trust_fleet(tmp_path, ("site1", "site2")) as fleet,
        fleet.open_hub() as hub,
        fleet.open_site("site1") as one,
        fleet.open_site("site2", check=refuse) as two,
    ):

        async def are_leased() -> bool:
            return hub.gate.leased(TENANT, hub.repository.now_ms()) == {"site1", "site2"}

        await until(are_leased)
        critical = PublishOptions(is_critical=True)
        await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: 1\n"), critical)
        with pytest.raises(ActivationAbortedError):
            await publish_at(hub, TENANT, "policy", "default", write(fleet, "nonsense\n"), critical)
        after = await publish_at(hub, TENANT, "policy", "default", write(fleet, "policy: 3\n"), critical)
        assert after.epoch == 3
        for site in (one, two):
            await has_epoch(site, 3)


async def test_sites_of_the_hub_s_machine_may_be_started_with_other_models_and_settings(tmp_path: Path) -> None:
    async with trust_fleet(tmp_path) as fleet, fleet.open_hub(), fleet.open_site("site1") as site:
        await until(site_is_leased(site))
        assert accept_own_sites(fleet.settings, ["site1"]) == (), "nothing has changed"
        (Path(fleet.settings.models_dir) / "reader.onnx").write_bytes(b"those of the next version")
        refused = await site.attester.attest()
        assert (refused.code, "tidegate site accept" in refused.hint) == ("unexpected_digest", True)
        assert accept_own_sites(fleet.settings, ["site1"]) == ("site1",)
        assert (await site.attester.attest()).code == ""
        assert accept_own_sites(fleet.settings, ["site1"]) == (), "it states them now"
        changed = replace(fleet.settings, router=replace(fleet.settings.router, k=3))
        assert accept_own_sites(changed, ["site1"]) == ("site1",)
        spooled = EventSpool(StatePaths(fleet.settings_of(HUB)).audit_events).waiting(9)
        events = [each.event for each in spooled if each.event is not None]
        reasons = [event.act.reason for event in events if event.kind == "site_accepted"]
        assert reasons == [f"it was started on the hub's machine with other {of}" for of in ("models", "configuration")]


async def test_a_site_whose_lease_is_refused_is_a_problem_of_the_fleet() -> None:
    status = ReplicaStatus(domain="site1", trusted_ms=5, faults=("site1 runs other models",))
    assert find_replica_problems("site1", status) == ["site1: it has no lease: site1 runs other models"]
    assert find_replica_problems("site1", replace(status, lease_until_ms=6)) == []
    assert find_replica_problems("hub", status) == [], "it needs none"
