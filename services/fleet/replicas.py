"""How commands reach the sync workers of this machine: one domain's, or those of all that are up.

Promises to fail at once where no server listens. Next: sync/shells/replica_client.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.endpoints import find_server, read_endpoints
from tidegate.services.settings import Settings
from tidegate.sync.shells.replica_client import ReplicaClient


@asynccontextmanager
async def open_replica_bus(settings: Settings) -> AsyncIterator[JetStreamBus]:
    """The bus of `settings.site`. Raises `FleetNotRunningError`, `UnknownSiteError`, `UnreachableError`."""
    server = find_server(settings)
    async with connect(server, settings.site):  # fails at once where nothing listens; a bus would go on trying
        pass
    async with JetStreamBus.open(server, settings.site) as bus:
        yield bus


@asynccontextmanager
async def open_replica_client(settings: Settings) -> AsyncIterator[ReplicaClient]:
    """A client of the sync worker of `settings.site`; whether that runs is known when it is asked. Raises as
    `open_replica_bus` does."""
    async with open_replica_bus(settings) as bus:
        yield ReplicaClient(bus)


def list_domains(settings: Settings) -> tuple[Settings, ...]:
    """The settings of every domain that is up: the hub and the sites of this machine, or the one whose server the
    settings name. Raises `FleetNotRunningError`, `StateFileDamagedError`."""
    if settings.nats != NatsSettings():
        return (settings,)
    return tuple(replace(settings, site=name) for name in (HUB, *read_endpoints(settings).sites))
