"""What the tests of servers and topology share: waiting, connecting, and a fleet that is declared."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.client import Client

from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.servers.credentials import seed_file_of
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.roles import roles_of
from tidegate.services.pipeline import WORKERS

STAGES = tuple(WORKERS.values())
WAIT_S = 30.0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as it holds; fail after thirty seconds."""
    async with asyncio.timeout(WAIT_S):
        while not await holds():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.005)


def nats_of(fleet: Fleet, domain: str, role: str) -> NatsSettings:
    """How a domain's user with this role connects, once its server was ready."""
    server = fleet.hub if domain == HUB else fleet.sites[domain]
    return NatsSettings(url=server.url, nkey_seed_file=str(seed_file_of(fleet.state_dir, domain, role)))


async def publish(nc: Client, subject: str, data: bytes = b"x") -> None:
    """Store a message, in whatever stream takes its subject."""
    await nc.jetstream().publish(subject, data)


async def count(nc: Client, stream: str) -> int:
    """How many messages the stream holds."""
    state = (await jetstream_api.call(nc, f"STREAM.INFO.{stream}"))["state"]
    return int(state["messages"])


async def arrived(nc: Client, stream: str, number: int) -> None:
    """Return when the stream holds as many."""

    async def enough() -> bool:
        return await count(nc, stream) >= number

    await until(enough)


async def acknowledged(nc: Client, stream: str, consumer: str, sequence: int) -> None:
    """Return when the receiver has told the consumer that it has everything up to `sequence`."""

    async def is_acknowledged() -> bool:
        info = await jetstream_api.call(nc, f"CONSUMER.INFO.{stream}.{consumer}")
        return int(info["ack_floor"]["stream_seq"]) >= sequence

    await until(is_acknowledged)


async def send_lost(site: Client, hub: Client, site_name: str) -> int:
    """Store at the hub, under its id, what it lacks of a site's EDITS: nats-server loses some of what it acknowledges
    (decision 0025), and a site's worker sends it again past the stream. Returns how many messages that are."""
    of_site = f"edits.{site_name}.>"
    there = {stored.headers["Nats-Msg-Id"] for stored in await messages(hub, "EDITS", of_site)}
    lost = [each for each in await messages(site, "EDITS", of_site) if each.headers["Nats-Msg-Id"] not in there]
    for stored in lost:
        headers = {"Nats-Msg-Id": stored.headers["Nats-Msg-Id"]}
        await hub.jetstream().publish(stored.subject, stored.data, headers=headers)
    return len(lost)


@dataclass
class Linked:
    """A declared fleet, with a client at every server."""

    fleet: Fleet
    hub: Client
    sites: dict[str, Client] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def linked(
    state_dir: Path, sites: Sequence[str] = ("site1", "site2"), downlinks: Mapping[str, Downlink] | None = None
) -> AsyncIterator[Linked]:
    """A fleet with its topology and clients."""
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_fleet(state_dir, sites, roles_of))
        await declare_fleet(servers, STAGES, downlinks)
        hub = await stack.enter_async_context(client_of(servers.hub))
        clients = {name: await stack.enter_async_context(client_of(server)) for name, server in servers.sites.items()}
        yield Linked(servers, hub, clients)


@contextlib.asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[Client]:
    """A client of the server's domain."""
    domain = HUB if server.name == HUB else server.name
    async with connect(server.nats, domain) as client:
        yield client
