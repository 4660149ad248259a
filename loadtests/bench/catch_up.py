"""How soon the streams of a site and the hub have all again after either was killed, beside what nats-server does.

Both sides are a hub and a site of their own, real servers that sync each message. Ours carries its streams by declared
durable consumers; the peer by those that a mirror makes itself, which may create consumers at the other side.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from nats.aio.client import Client

from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Sampled, Target, interleaved
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.fleet import Fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.topology.downlink import Downlink
from tidegate.brokers.topology.streams import hub_streams, site_streams
from tidegate.schemas.subjects import CORPUS, EDITS, HUB, corpus, edits_of

SCRATCH = Path(".tidegate")
SITE, TENANT, COLLECTION = "site1", "kiosk", "faq"
OUTSTANDING = 6000
BODY = bytes(512)
PATIENCE_S = 180.0
AFTER_HUB, AFTER_SITE = "hub killed", "site killed"


class PermissiveFleet(Fleet):
    """Servers whose leaf may do anything, as mirrors without declared consumers need it."""

    def hub_conf(self, sites: Sequence[str]) -> conf.Conf:
        settings = super().hub_conf(sites)
        for user in settings["accounts"][conf.ACCOUNT]["users"]:
            user.pop("permissions", None)
        return settings


async def declare_ours(fleet: Fleet) -> None:
    """The product's own topology."""
    granted = Downlink(tenants=(TENANT,), collections=((TENANT, COLLECTION),))
    await declare_fleet(fleet, (), {SITE: granted})


async def declare_peer(fleet: Fleet) -> None:
    """The same streams, sourced and mirrored as nats-server does it by itself."""
    at_hub, at_site = hub_streams(()), site_streams(SITE)
    from_site, from_hub = ({"external": {"api": f"$JS.{domain}.API", "deliver": ""}} for domain in (SITE, HUB))
    async with client_of(fleet.hub) as hub, client_of(fleet.sites[SITE]) as site:
        await api.put_stream(site, at_site[EDITS], is_new=True)
        await api.put_stream(hub, at_hub[CORPUS], is_new=True)
        await api.put_stream(hub, {**at_hub[EDITS], "sources": [{"name": EDITS, **from_site}]}, is_new=True)
        await api.put_stream(site, {**at_site[CORPUS], "mirror": {"name": CORPUS, **from_hub}}, is_new=True)


class CaughtUp:
    """One side: its servers, and how many messages each of its two streams must have."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.stored = {EDITS: 0, CORPUS: 0}

    async def block(self) -> Sampled:
        """Seconds from the start of the hub that was killed to the last edit in it, and the same of the site."""
        hub, site = self.fleet.hub, self.fleet.sites[SITE]
        await self.store(site, EDITS, 1)
        await self.store(hub, CORPUS, 1)
        await holds(hub, EDITS, self.stored[EDITS])
        await holds(site, CORPUS, self.stored[CORPUS])
        after_hub_s = await self.restarted(hub, site, EDITS)
        after_site_s = await self.restarted(site, hub, CORPUS)
        return Sampled(after_hub_s, {AFTER_HUB: (after_hub_s,), AFTER_SITE: (after_site_s,)})

    async def restarted(self, killed: Server, other: Server, stream: str) -> float:
        """Seconds from the start of `killed` until it has what was stored at the other server in the meantime."""
        killed.kill()
        await self.store(other, stream, OUTSTANDING)
        started_s = time.perf_counter()
        await killed.start()
        await holds(killed, stream, self.stored[stream])
        return time.perf_counter() - started_s

    async def store(self, server: Server, stream: str, messages: int) -> None:
        """Store so many more, pipelined."""
        first = self.stored[stream]
        async with JetStreamBus.open(server.nats, server.name) as bus:
            for start in range(first, first + messages, 500):
                numbers = range(start, min(start + 500, first + messages))
                await asyncio.gather(*(self._publish(bus, stream, number) for number in numbers))
        self.stored[stream] += messages

    async def _publish(self, bus: JetStreamBus, stream: str, number: int) -> None:
        document = f"d{number}"
        edited, published = edits_of(SITE, TENANT, COLLECTION, document), corpus(TENANT, COLLECTION, document)
        await bus.publisher.publish(
            edited if stream == EDITS else published, BODY, {"Nats-Msg-Id": f"{stream}.{number}"}
        )


@contextlib.asynccontextmanager
async def client_of(server: Server) -> AsyncIterator[Client]:
    """A client of the server's domain."""
    async with api.connect(server.nats, server.name) as client:
        yield client


async def holds(server: Server, stream: str, messages: int) -> None:
    """Return when the stream has as many. Raises `MeasurementError` where it has more, or never that many."""
    found = 0
    async with client_of(server) as client:
        deadline_s = time.monotonic() + PATIENCE_S
        while found < messages:
            found = (await api.call(client, f"STREAM.INFO.{stream}"))["state"]["messages"]
            if time.monotonic() > deadline_s:
                raise MeasurementError(f"{stream} at {server.name} has {found} of {messages} after {PATIENCE_S:g} s")
            await asyncio.sleep(0.01)
    if found > messages:
        raise MeasurementError(f"{stream} at {server.name} has {found}, of {messages} that were stored")


async def catch_up_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Seconds until the hub has what waited at the site, from its start on."""
    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as directory:
        sides = Fleet(Path(directory) / "ours"), PermissiveFleet(Path(directory) / "peer")
        try:
            for fleet, declare in zip(sides, (declare_ours, declare_peer), strict=True):
                await fleet.start([SITE])
                await declare(fleet)
            ours, peer = (CaughtUp(fleet) for fleet in sides)
            async for block in interleaved(repeats, ours.block, peer.block, is_warm=True):
                yield block
        finally:
            for fleet in sides:
                await asyncio.to_thread(fleet.stop)


_most = partial(Bar, quantile=1.0, unit="s")
CATCH_UP_ENTRIES = (
    Entry(
        name="sync_streams_catch_up",
        unit=f"s to {OUTSTANDING} deltas after the hub was killed",
        peer_name="sources and mirrors as nats-server makes them by itself, without declared consumers",
        target=Target("≤", 1.0),
        blocks=catch_up_blocks,
        bars=(
            _most(samples=AFTER_HUB, target=Target("≤", 10.0)),
            _most(samples=AFTER_SITE, target=Target("≤", 2.0)),
            _most(samples=AFTER_HUB, of="peer"),
            _most(samples=AFTER_SITE, of="peer"),
        ),
    ),
)
