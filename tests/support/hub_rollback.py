"""A hub's server whose disk is replaced by an older copy, as after a restore of a backup."""

from __future__ import annotations

import asyncio
import shutil

from tidegate.brokers.servers.fleet import Fleet

LINK_WITHIN_S = 30.0


async def keep_copy(fleet: Fleet) -> None:
    """Copy what the hub has stored, while its server does not run."""
    hub = fleet.hub
    await asyncio.to_thread(hub.stop)
    await asyncio.to_thread(shutil.copytree, hub.directory / "store", hub.directory / "older")
    await start_again(fleet)


async def roll_back(fleet: Fleet) -> None:
    """Put the copy in the place of what the hub has stored since; all that it had stored since is gone."""
    hub = fleet.hub
    await asyncio.to_thread(hub.kill)
    await asyncio.to_thread(shutil.rmtree, hub.directory / "store")
    await asyncio.to_thread(shutil.copytree, hub.directory / "older", hub.directory / "store")
    await start_again(fleet)


async def start_again(fleet: Fleet) -> None:
    """Start the hub's server, and return when the sites are linked."""
    await fleet.hub.start()
    await fleet.wait_until_linked(LINK_WITHIN_S)
