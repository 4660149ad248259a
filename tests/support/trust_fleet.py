"""A provisioned hub and its sites on real servers, each with its trust as the sync worker of its domain opens it."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from tests.support.nats_fleet import STAGES, Linked, client_of, linked
from tests.support.trust_link import bus_of
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas import ArtefactPublished, Collection, PublishArtefact, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.trust_hub import HubTrust, HubTrustPorts, open_hub_trust
from tidegate.services.fleet.trust_site import SiteTrust, SiteTrustPorts, open_site_trust
from tidegate.services.settings import Settings
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.artefact_publishing import PublishOptions

TENANT = "kiosk"
QUICK = SyncSettings(head_every_s=0.2, timestamp_every_s=5.0)


async def publish_at(
    hub: HubTrust, tenant: str, kind: str, name: str, path: Path, options: PublishOptions | None = None
) -> ArtefactPublished:
    """Publish a file at the hub, as the command does whose request its sync worker answers."""
    terms = msgspec.structs.asdict(options or PublishOptions())
    return await hub.answer_publish(PublishArtefact(tenant=tenant, kind=kind, name=name, path=str(path), **terms))


@dataclass
class SiteLog:
    """What a site was told to do: tenants whose readers got what is in force."""

    activated: list[str] = field(default_factory=list)

    async def activate(self, tenant: str) -> None:
        self.activated.append(tenant)


@dataclass
class TrustFleet:
    """What is up. `collections` are those of the hub; whoever changes them changes what sites are granted."""

    settings: Settings
    all_: Linked
    buses: dict[str, JetStreamBus]
    links: dict[str, Link] = field(default_factory=dict)
    collections: list[Collection] = field(default_factory=list)
    logs: dict[str, SiteLog] = field(default_factory=dict)

    def make_known(self) -> None:
        """Have commands find the servers."""
        sites = {name: server.nats for name, server in self.all_.fleet.sites.items()}
        hub = self.all_.fleet.hub.nats
        write_endpoints(self.settings, Endpoints(pid=os.getpid(), hub=hub, sites=sites))

    def settings_of(self, domain: str) -> Settings:
        return replace(self.settings, site=domain)

    def open_hub(
        self, bus: JetStreamBus | None = None, **ports: Any
    ) -> contextlib.AbstractAsyncContextManager[HubTrust]:
        """The hub's trust, until left."""
        given = HubTrustPorts(collections=lambda: list(self.collections), **ports)
        return open_hub_trust(self.settings_of(HUB), bus or self.buses[HUB], given)

    def open_site(self, site: str, **ports: Any) -> contextlib.AbstractAsyncContextManager[SiteTrust]:
        """A site's trust, in a start of its own, until left."""
        log = self.logs.setdefault(site, SiteLog())
        given = {"activate": log.activate, **ports}
        return open_site_trust(
            self.settings_of(site), self.buses[site], SiteTrustPorts(boot_id=secrets.token_hex(8), **given)
        )


def quick_settings(directory: Path, **sync: Any) -> Settings:
    """Settings with short intervals, and a directory of models that is small."""
    models = directory / "models"
    models.mkdir(parents=True, exist_ok=True)
    (models / "reader.onnx").write_bytes(b"weights")
    return Settings(
        state_dir=str(directory / "state"),
        models_dir=str(models),
        tenants=(TENANT,),
        sync=replace(QUICK, **sync),
    )


@contextlib.asynccontextmanager
async def linked_trust_fleet(directory: Path, sites: Sequence[str], **sync: Any) -> AsyncIterator[TrustFleet]:
    """The same, with a link to each site that can be cut, in `links`."""
    settings = quick_settings(directory, **sync)
    provision_fleet(settings, sites)
    async with contextlib.AsyncExitStack() as stack:
        servers, links = await stack.enter_async_context(linked_servers(Path(settings.state_dir), sites))
        await declare_fleet(servers, STAGES, {site: Downlink(tenants=(TENANT,)) for site in sites})
        hub = await stack.enter_async_context(client_of(servers.hub))
        clients = {name: await stack.enter_async_context(client_of(server)) for name, server in servers.sites.items()}
        domains = {HUB: servers.hub, **servers.sites}
        buses = {name: await stack.enter_async_context(bus_of(server)) for name, server in domains.items()}
        yield TrustFleet(settings, Linked(servers, hub, clients), buses, links)


@contextlib.asynccontextmanager
async def trust_fleet(directory: Path, sites: Sequence[str] = ("site1",), **sync: Any) -> AsyncIterator[TrustFleet]:
    """A provisioned fleet whose servers are up; what runs on them is opened by the test."""
    settings = quick_settings(directory, **sync)
    provision_fleet(settings, sites)
    granted = {site: Downlink(tenants=(TENANT,)) for site in sites}
    async with contextlib.AsyncExitStack() as stack:
        all_ = await stack.enter_async_context(linked(Path(settings.state_dir), sites, granted))
        servers = {HUB: all_.fleet.hub, **all_.fleet.sites}
        buses = {name: await stack.enter_async_context(bus_of(server)) for name, server in servers.items()}
        yield TrustFleet(settings, all_, buses)
