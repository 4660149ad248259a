"""A hub's repository and its sites over real servers: keys, object stores, mirrors, clients that believe the root."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.nats_fleet import Linked, linked, until
from tests.support.trust_hub import TrustHub
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.objects import JetStreamObjectStore
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.subjects import BUCKETS
from tidegate.sync.rules.staleness import Now
from tidegate.sync.shells.hub_repository import HubRepository
from tidegate.sync.shells.repository_link import ObjectSource, RepositoryUploader, Stores
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.generation import Generation
from tidegate.sync.trust.live_keys import LiveKeys

TENANT = "kiosk"
NOTICES = Downlink(tenants=(TENANT,), collections=((TENANT, "branch-notices"),))
MACHINE = "cd" * 8


def wall_ms() -> int:
    """The time of this machine."""
    return int(time.time() * 1000)


def machine_now() -> Now:
    """The clocks of this machine."""
    return Now(boot_id=MACHINE, monotonic_ms=int(time.monotonic() * 1000), wall_ms=wall_ms())


def stores_of(bus: JetStreamBus) -> Stores:
    """The object stores of a domain."""
    return {bucket: JetStreamObjectStore(bus.link, bus.publisher, bucket) for bucket in BUCKETS}


@contextlib.asynccontextmanager
async def bus_of(server: Server) -> AsyncIterator[JetStreamBus]:
    """A bus of the server's domain."""
    async with JetStreamBus.open(server.nats, server.name) as bus:
        yield bus


@dataclass
class LinkedHub:
    """A hub that publishes into its stores, and what a site needs to read them from its mirrors."""

    all_: Linked
    trust: TrustHub
    bus: JetStreamBus
    repository: HubRepository
    sites: Mapping[str, JetStreamBus]
    directory: Path

    def source(self, site: str = "site1", tenants: Sequence[str] = (TENANT,)) -> ObjectSource:
        """What a site reads."""
        return ObjectSource(stores_of(self.sites[site]), tenants)

    def client(self, site: str = "site1", source: ObjectSource | None = None) -> RepositoryClient:
        """A client with a directory of its own, provisioned with the first root."""
        client = RepositoryClient(self.directory / site / "trust", source or self.source(site), timeout_s=5)
        client.provision(self.trust.root)
        return client


@contextlib.asynccontextmanager
async def linked_hub(
    directory: Path, downlinks: Mapping[str, Downlink] | None = None, tenants: Sequence[str] = (TENANT,)
) -> AsyncIterator[LinkedHub]:
    """A hub and its sites, `site1` where nothing else is named."""
    granted = downlinks or {"site1": NOTICES}
    async with contextlib.AsyncExitStack() as stack:
        all_ = await stack.enter_async_context(linked(directory / "fleet", list(granted), granted))
        bus = await stack.enter_async_context(bus_of(all_.fleet.hub))
        sites = {name: await stack.enter_async_context(bus_of(all_.fleet.sites[name])) for name in granted}
        trust = TrustHub(directory / "hub", now_ms=wall_ms())
        keys = LiveKeys(directory / "hub" / "keys", "hub")
        uploader = RepositoryUploader(trust.repository, stores_of(bus), tenants)
        repository = HubRepository(trust.repository, keys, uploader, wall_ms)
        yield LinkedHub(all_, trust, bus, repository, sites, directory)


async def refreshed(client: RepositoryClient, path: str = "", epoch: int = 0) -> Generation:
    """The generation of a site, once it has the target, in this epoch or a later one."""
    found: list[Generation] = []

    async def is_there() -> bool:
        with contextlib.suppress(TidegateError):
            found.append(await client.refresh(machine_now()))
        if not found or (path and path not in found[-1].targets):
            return False
        artefact = found[-1].artefacts.get(path)
        return artefact is None or artefact.epoch >= epoch

    await until(is_there)
    return found[-1]
