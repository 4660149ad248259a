"""Evidence-only over the wire: every online site has it within seconds, whatever it is busy with, and keeps it."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import until
from tests.support.trust_fleet import TENANT, TrustFleet, linked_trust_fleet, publish_at
from tidegate.schemas import TidegateError
from tidegate.schemas.switch import Switch
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.switches import SiteSwitches
from tidegate.services.fleet.trust_hub import HubTrust
from tidegate.sync.shells.artefact_publishing import SwitchUnusableError

pytestmark = pytest.mark.anyio
BOUND_S = 5.0


def switch(*, is_on: bool, why: str = "drill", site: str = "") -> Switch:
    return Switch(tenant=TENANT, site=site, is_on=is_on, why=why, at_ms=time.time_ns() // 1_000_000)


async def publish(fleet: TrustFleet, hub: HubTrust, wanted: Switch) -> int:
    file = Path(fleet.settings.state_dir) / "switch.json"
    file.write_bytes(msgspec.json.encode(wanted))
    return (await publish_at(hub, wanted.tenant, "switch", wanted.name, file)).epoch


async def is_on(fleet: TrustFleet, site: str) -> bool:
    return SiteSwitches(fleet.settings_of(site)).find(TENANT, "fees") is not None


async def is_off(fleet: TrustFleet, site: str) -> bool:
    return not await is_on(fleet, site)


async def test_it_is_in_force_at_every_online_site_in_time_and_outlives_a_restart_and_a_lost_link(
    tmp_path: Path,
) -> None:
    async def work_for_ever(_: str) -> None:
        await asyncio.Event().wait()  # parts of a pack that never come into force

    async with linked_trust_fleet(tmp_path, ("site1", "site2")) as fleet, fleet.open_hub() as hub:
        policy = tmp_path / "default.yaml"
        policy.write_text("policy_id: default\n")
        async with fleet.open_site("site1", activate=work_for_ever), fleet.open_site("site2"):
            await publish_at(hub, TENANT, "policy", "default", policy)
            await until(partial(has_started, fleet))
            began_s = time.monotonic()
            assert await publish(fleet, hub, switch(is_on=True)) == 1
            for site in ("site1", "site2"):
                await until(partial(is_on, fleet, site))
            assert time.monotonic() - began_s < BOUND_S
            fleet.links["site2"].cut()
            assert await publish(fleet, hub, switch(is_on=False)) == 2
            await until(partial(is_off, fleet, "site1"))
            assert await is_on(fleet, "site2"), "it has not heard of it"
        (StatePaths(fleet.settings_of("site2")).trust / "switches.msgpack").unlink()
        async with fleet.open_site("site2"):
            await until(partial(is_on, fleet, "site2"))  # by what it holds, with no hub
            fleet.links["site2"].heal()
            await until(partial(is_off, fleet, "site2"))


async def has_started(fleet: TrustFleet) -> bool:
    return (StatePaths(fleet.settings_of("site1")).trust / "activated.msgpack").exists()


async def test_what_is_no_switch_or_one_of_another_scope_is_not_published(tmp_path: Path) -> None:
    async with linked_trust_fleet(tmp_path, ("site1",)) as fleet, fleet.open_hub() as hub:
        file = tmp_path / "switch.json"
        for data, name in ((b"{}", "x"), (msgspec.json.encode(switch(is_on=False)), switch(is_on=True, site="a").name)):
            file.write_bytes(data)
            with pytest.raises(SwitchUnusableError):
                await publish_at(hub, TENANT, "switch", name, file)
        file.write_bytes(msgspec.json.encode(switch(is_on=True)))
        with pytest.raises(TidegateError, match="kiosk"):
            await publish_at(hub, "other", "switch", switch(is_on=True).name, file)
        assert hub.switches() == ()
