"""A nats-server of a site, kept up as `tidegate up` keeps one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats

from tidegate.brokers.base import Bus
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.servers.nats_server import Server
from tidegate.services.fleet.server_guard import ServerGuard
from tidegate.services.pipeline import SITE_WORKERS


@asynccontextmanager
async def on_server(state: Path, name: str) -> AsyncIterator[Bus]:
    """A nats-server of its own with the site's topology, kept up as `up` keeps one, with less patience."""
    async with Server(name, state / "nats") as server, kept_up(server, state):
        client = await nats.connect(server.url)
        await declare_site(client, name, SITE_WORKERS)
        await client.close()
        async with JetStreamBus.open(server.nats, name) as bus:
            yield bus


@asynccontextmanager
async def kept_up(server: Server, state: Path) -> AsyncIterator[None]:
    """The server is started again when it ends, freezes, or cannot store though it has room."""
    keeping = asyncio.create_task(ServerGuard(server, state / "faults" / "nats-server", patience_s=2.0).keep())
    try:
        yield
    finally:
        await end_tasks(keeping)
