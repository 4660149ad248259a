"""Has every linked site be granted the collections that it may hold, and no other; known from what the servers have.

Promises that a mirror which lacks what was granted later is known as stale until it was made anew. Next:
brokers/jetstream/grant.py, which changes the carriers; hub_shell.py."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from tidegate.brokers.jetstream import grant as carriers
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.topology.downlink import Downlink
from tidegate.brokers.topology.faults import ReceiverFacts
from tidegate.schemas.following import MirrorState
from tidegate.sync.rules.ownership import NotOwnedError, may_hold
from tidegate.sync.shells.hub_tenant import HubTenant


class SiteSelection(Protocol):
    """Which tenants a site serves: see `hub_endpoints.SiteAdmission`."""

    def may_hold(self, site: str, tenant: str) -> bool:
        """Whether the site is sent anything of the tenant."""


class Granting(Protocol):
    """Says what each site is sent."""

    async def apply(self) -> None:
        """Have every site be sent what it may hold now, and nothing else."""

    async def stale_streams(self, site: str, mirrors: Mapping[str, MirrorState]) -> tuple[str, ...]:
        """The mirrors of a site that it is to make anew, by what it says that they hold."""

    async def rewind(self, site: str, stream: str) -> None:
        """Send a stream from its beginning to a mirror that the site has deleted."""


class Grants:
    """The grants of all sites of one hub. `selection`: None: every linked site serves every tenant."""

    def __init__(self, bus: JetStreamBus, tenants: Mapping[str, HubTenant], selection: SiteSelection | None) -> None:
        self._bus = bus
        self._tenants = tenants
        self._selection = selection
        self._stale: dict[str, tuple[str, ...]] = {}
        self._changing = asyncio.Lock()

    async def apply(self) -> None:
        """Have the grants of all linked sites be what the rules say. Raises `JetStreamApiError`, `UnreachableError`."""
        async with self._changing:
            client = self._bus.link.client
            for site, granted in (await carriers.read_grants(client)).items():
                wanted = self._wanted(site, granted)
                if _differs(granted, wanted):
                    await carriers.grant(client, site, wanted)
                self._stale[site] = await carriers.read_stale(client, site)

    async def stale_streams(self, site: str, mirrors: Mapping[str, MirrorState]) -> tuple[str, ...]:
        """The mirrors of a site that are to be made anew, also by what it says that they hold; a site that was not
        known is granted what it may hold first. Raises as `apply` does."""
        if site not in self._stale:
            await self.apply()
        if mirrors and site in self._stale:
            facts = [
                ReceiverFacts(stream=name, messages=each.messages, first=each.first, last=each.last)
                for name, each in mirrors.items()
            ]
            async with self._changing:
                client = self._bus.link.client
                if await carriers.find_stale(client, site, facts):
                    self._stale[site] = await carriers.read_stale(client, site)
        return self._stale.get(site, ())

    async def rewind(self, site: str, stream: str) -> None:
        """Send a stream from its beginning to a mirror that the site has deleted. Raises `NotOwnedError` for a stream
        that is not carried to sites, and as `apply` does."""
        if stream not in carriers.GRANTED:
            raise NotOwnedError(f"{site} asked for {stream} again, which is no stream of its own")
        async with self._changing:
            client = self._bus.link.client
            await carriers.rewind_carrier(client, site, stream)
            self._stale[site] = await carriers.read_stale(client, site)

    def _wanted(self, site: str, granted: Downlink) -> Downlink:
        tenants = [name for name in self._tenants if self._selection is None or self._selection.may_hold(site, name)]
        collections = [
            (tenant, name)
            for tenant in tenants
            for name, rule in self._tenants[tenant].collections().items()
            if rule.owner == "shared" and may_hold(rule, site)
        ]
        return Downlink(tenants=tuple(tenants), collections=tuple(collections), rates=granted.rates)


def _differs(granted: Downlink, wanted: Downlink) -> bool:
    return (set(granted.tenants), set(granted.collections)) != (set(wanted.tenants), set(wanted.collections))
