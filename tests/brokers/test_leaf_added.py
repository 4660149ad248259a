"""A site that comes later is served like the first, and one that has lost what it was sent gets it again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.nats_fleet import STAGES, acknowledged, arrived, client_of, linked, publish
from tidegate.brokers.jetstream.declare import connect_site_to_hub, plan_hub, plan_site
from tidegate.brokers.servers.fleet import Fleet
from tidegate.brokers.servers.nats_server import Server

pytestmark = pytest.mark.anyio


async def add_site(fleet: Fleet, name: str) -> Server:
    """One more site, while the hub and the others run."""
    fleet.hub.settings = fleet.hub_conf((*fleet.sites, name))
    fleet.hub._write_conf()
    os.kill(fleet.hub.pid or 0, signal.SIGHUP)
    await fleet.make_site(name, fleet.hub.leaf_url).start()
    await fleet.wait_until_linked()
    return fleet.sites[name]


async def test_a_site_that_is_added_later_is_served_like_the_first(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        added = await add_site(all_.fleet, "site3")
        async with client_of(added) as site:
            await connect_site_to_hub(all_.hub, site, "site3", STAGES)
            assert (await plan_site(site, "site3", STAGES)).steps == ()
            assert (await plan_hub(all_.hub, ["site1", "site3"], STAGES)).steps == ()
            for name, nc in (("site1", all_.sites["site1"]), ("site3", site)):
                await publish(nc, f"escalations.{name}.kiosk.r1")
                await publish(all_.hub, f"verdicts.{name}.kiosk.r1")
                await arrived(nc, "VERDICTS", 1)
            await arrived(all_.hub, "ESCALATIONS", 2)


async def test_a_site_that_lost_its_disk_gets_its_verdicts_again_and_so_does_a_hub(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        site = all_.sites["site1"]
        await publish(site, "escalations.site1.kiosk.r1")
        await publish(all_.hub, "verdicts.site1.kiosk.r1")
        await acknowledged(all_.hub, "VERDICTS", "to-site1", 1)  # from here on it would not be sent again by itself
        await acknowledged(site, "ESCALATIONS", "to-hub", 1)
        await site.jetstream().delete_stream("VERDICTS")
        await connect_site_to_hub(all_.hub, site, "site1", STAGES)
        await arrived(site, "VERDICTS", 1)
        await all_.hub.jetstream().delete_stream("ESCALATIONS")
        await connect_site_to_hub(all_.hub, site, "site1", STAGES)
        await arrived(all_.hub, "ESCALATIONS", 1)
