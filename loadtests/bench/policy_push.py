"""How soon a policy that is published at the hub is in force at a site while a snapshot fills the link, beside idle.

Both sides are one hub and one site, real servers behind a link of 50 Mbit/s and 20 ms; the snapshot comes at the
40 Mbit/s that the site's settings allow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Sampled, Target, interleaved, quantile
from loadtests.bench.race_sites import linked_servers
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.jetstream.granting import Carrier, read_carriers
from tidegate.brokers.process.background import running
from tidegate.brokers.servers.fleet import Fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas import Collection, PublishArtefact, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.trust_hub import HubTrust, HubTrustPorts, open_hub_trust, open_stores
from tidegate.services.fleet.trust_site import SiteTrust, SiteTrustPorts, open_site_trust
from tidegate.services.settings import Settings
from tidegate.sync.settings import SyncSettings
from tidegate.sync.trust.chunks import CHUNK_BYTES

SCRATCH = Path(".tidegate")
SITE, TENANT, COLLECTION, STREAM = "site1", "kiosk", "faq", "OBJ_index"
LINK_BYTES_S = 50_000_000 / 8
RTT_MS = 20.0
SNAPSHOT_KBIT_S = 40_000
WAITING_CHUNKS = 96
"""Of the snapshot, in front of the link: 48 MiB, ten seconds of it."""
IN_FLIGHT = 8
LOOK_EVERY_S = 0.5
PUSHES = 20
WITHIN_S = 30.0
PUSH, SNAPSHOT = "push", "snapshot in flight"


class Pusher:
    """A hub and a site; `block` pushes policies, one after the other."""

    def __init__(self, fleet: Fleet, directory: Path, settings: Settings) -> None:
        self.fleet = fleet
        self.file = directory / "policy.yaml"
        self.settings = settings
        self.pushed = self.chunks = 0
        self.in_force = asyncio.Event()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Have the trust of both run until left."""
        hub_server, site_server = self.fleet.hub, self.fleet.sites[SITE]
        async with contextlib.AsyncExitStack() as stack:
            self.hub_bus = await stack.enter_async_context(bus_of(hub_server, HUB))
            self.site_bus = await stack.enter_async_context(bus_of(site_server, SITE))
            collections = [Collection(tenant=TENANT, name=COLLECTION)]
            ports = HubTrustPorts(collections=lambda: collections)
            hub_settings = replace(self.settings, site=HUB)
            self.hub: HubTrust = await stack.enter_async_context(open_hub_trust(hub_settings, self.hub_bus, ports))
            site_ports = SiteTrustPorts(boot_id=secrets.token_hex(8), activate=self._on_activated)
            site_settings = replace(self.settings, site=SITE)
            self.site: SiteTrust = await stack.enter_async_context(
                open_site_trust(site_settings, self.site_bus, site_ports)
            )
            yield

    async def idle(self) -> Sampled:
        """Pushes over a link that carries nothing else."""
        return await self._push_all()

    async def under_snapshot(self) -> Sampled:
        """Pushes while a snapshot is in flight, from before the first until after the last."""
        await self._put_chunks(WAITING_CHUNKS)
        started_s, before = time.perf_counter(), await self._arrived_bytes()
        async with running(self._keep_waiting()):
            sampled = await self._push_all()
        carried = (await self._arrived_bytes() - before) * 8e-6 / (time.perf_counter() - started_s)
        if not (await self._carrier()).pending:
            raise MeasurementError("the snapshot was there before the policies were")
        for bus in (self.hub_bus, self.site_bus):
            await api.call(bus.link.client, f"STREAM.PURGE.{STREAM}")
        return Sampled(sampled.value, {**sampled.samples, SNAPSHOT: (carried,)})

    async def _keep_waiting(self) -> None:
        """Have so much of the snapshot wait for the link that it is never at its end."""
        while True:
            if (await self._carrier()).pending < WAITING_CHUNKS:
                await self._put_chunks(WAITING_CHUNKS // 4)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _carrier(self) -> Carrier:
        return (await read_carriers(self.hub_bus.link.client, SITE))[STREAM]

    async def _arrived_bytes(self) -> int:
        return int((await api.call(self.site_bus.link.client, f"STREAM.INFO.{STREAM}"))["state"]["bytes"])

    async def _put_chunks(self, count: int) -> None:
        """Chunks of a snapshot, in the store of the hub."""
        index = open_stores(self.hub_bus)["index"]
        for first in range(self.chunks, self.chunks + count, IN_FLIGHT):
            names = [f"{TENANT}.{COLLECTION}.load.{number}" for number in range(first, first + IN_FLIGHT)]
            await asyncio.gather(*(index.put(name, os.urandom(CHUNK_BYTES)) for name in names))
        self.chunks += count

    async def _push_all(self) -> Sampled:
        taken_ms = tuple([await self._push_ms() for _ in range(PUSHES)])
        return Sampled(quantile(taken_ms, 0.5) or 0.0, {PUSH: taken_ms})

    async def _push_ms(self) -> float:
        self.pushed += 1
        await asyncio.to_thread(self.file.write_text, f"policy: {self.pushed}\n")
        self.in_force.clear()
        started_s = time.perf_counter()
        asked = PublishArtefact(tenant=TENANT, kind="policy", name="default", path=str(self.file))
        await self.hub.answer_publish(asked)
        async with asyncio.timeout(WITHIN_S):
            await self.in_force.wait()
        return (time.perf_counter() - started_s) * 1000

    async def _on_activated(self, _: str) -> None:
        if any(row.epoch >= self.pushed for row in self.site.status()):
            self.in_force.set()


def bus_of(server: Server, domain: str) -> contextlib.AbstractAsyncContextManager[JetStreamBus]:
    """A bus of the domain."""
    return JetStreamBus.open(server.nats, domain)


async def policy_push_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Milliseconds from the call that publishes a policy at the hub until readers of the site get it, medians."""
    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as scratch:
        directory = Path(scratch)
        settings = Settings(
            state_dir=scratch,
            models_dir=str(directory / "models"),
            tenants=(TENANT,),
            sync=SyncSettings(head_every_s=0.5, link_kbit_s=SNAPSHOT_KBIT_S),
        )
        await asyncio.to_thread(provision_fleet, settings, [SITE])
        async with linked_servers(directory, [SITE]) as (fleet, links):
            await declare_fleet(fleet, (), {SITE: Downlink(tenants=(TENANT,), collections=((TENANT, COLLECTION),))})
            links[SITE].set(rtt_ms=RTT_MS, rate=LINK_BYTES_S)
            pusher = Pusher(fleet, directory, settings)
            async with pusher.open():
                async for block in interleaved(repeats, pusher.under_snapshot, pusher.idle):
                    yield block


POLICY_PUSH_ENTRIES = (
    Entry(
        name="sync_policy_push_under_snapshot",
        unit="ms from publishing at the hub to in force at the site, p50",
        peer_name="the same over an idle link",
        target=Target("≤", 4.0),
        blocks=policy_push_blocks,
        bars=(
            Bar(samples=PUSH, quantile=0.99, of="ratio", target=Target("≤", 4.0)),
            Bar(samples=PUSH, quantile=0.99),
            Bar(samples=PUSH, quantile=0.99, of="peer"),
            Bar(samples=SNAPSHOT, quantile=0.5, unit="Mbit/s"),
        ),
    ),
)
