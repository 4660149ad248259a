"""How long a tenant waits beside 3 000 requests of another one, and what a refusal costs, next to nobody else asking.

A site with its real gateway, server and streams; its stages are stand-ins that take `WORK_S` each at one place, as a
reader on one core does, so that a request which is in front of another one delays it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nats

from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Sampled, Target, quantile
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.process.background import running
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Asked, Message, Plan, Published, Receipt, Refused, decode
from tidegate.services.fleet.vault import open_vault
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError
from tidegate.services.gateway.turns import BESIDE_S
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings

SCRATCH = Path(".tidegate")
CROWD, QUIET = "crowd", "quiet"
CROWD_REQUESTS = 3_000
QUIET_REQUESTS = 40
WORK_S = 0.02
BUDGET_MS = 60_000
WAITED, REFUSAL = "the quiet tenant's answer", "a refusal"


class CrowdedSite:
    """A gateway, and one place where all requests are worked on, one after the other."""

    def __init__(self, ingress: Ingress, bus: JetStreamBus) -> None:
        self.ingress = ingress
        self.bus = bus
        self._number = 0

    async def work(self) -> None:
        """Answer whatever is asked, in the order in which it was stored, until cancelled."""
        stage = SITE_WORKERS[0]
        async with self.bus.subscribe(stage) as inbox:
            while True:
                delivery = await inbox.next()
                if delivery is None:
                    continue
                asked = decode(delivery.data, Asked)
                await asyncio.sleep(WORK_S)
                await self.bus.publish(answer_to(asked), id=f"{asked.tenant}.{asked.rid}.answer", headers={})
                await delivery.ack()

    async def ask(self, tenant: str) -> float | None:
        """Seconds until the answer, or None where it was refused."""
        self._number += 1
        asked = Asked(tenant=tenant, rid=f"r{self._number}", text="When?", asker=tenant, budget_ms=BUDGET_MS)
        began_s = time.perf_counter()
        try:
            reply = await self.ingress.submit(asked)
        except RequestRefusedError as error:
            if error.refused.code != "busy":
                raise
            return None
        if isinstance(reply, Refused):
            raise MeasurementError(f"not answered: {reply.reason}")
        return time.perf_counter() - began_s

    async def quiet_ms(self) -> tuple[float, ...]:
        """Milliseconds of the quiet tenant's requests, one after the other; the first of them, before which nobody knew
        of that tenant, included."""
        taken = [await self.ask(QUIET) for _ in range(QUIET_REQUESTS)]
        return tuple(taken_s * 1000 for taken_s in taken if taken_s is not None)

    async def alone(self) -> Sampled:
        """Nobody else asks."""
        waited = await self.quiet_ms()
        return Sampled(quantile(waited, 0.95) or 0.0, {WAITED: waited})

    async def beside(self) -> Sampled:
        """Beside the crowd, which asks all at once and again where it was refused."""
        refusals: list[float] = []
        crowd = asyncio.create_task(self._crowd(refusals))
        await asyncio.sleep(BESIDE_S + 1.0)  # until nobody knows of the quiet tenant any more
        waited = await self.quiet_ms()
        if crowd.done():
            raise MeasurementError("the crowd was over before the quiet tenant was")
        crowd.cancel()
        await asyncio.gather(crowd, return_exceptions=True)
        return Sampled(quantile(waited, 0.95) or 0.0, {WAITED: waited, REFUSAL: tuple(refusals)})

    async def _crowd(self, refusals: list[float]) -> None:
        async def ask_until_answered() -> None:
            while True:
                began_s = time.perf_counter()
                if await self.ask(CROWD) is not None:
                    return
                refusals.append((time.perf_counter() - began_s) * 1000)
                # What `retry-after` says, and no two at one moment: they are clients of this loop, and all at once it
                # is their own waking that the quiet tenant waits for.
                await asyncio.sleep(1.0 + random.random())

        async with asyncio.TaskGroup() as group:
            for _ in range(CROWD_REQUESTS):
                group.create_task(ask_until_answered())


def answer_to(asked: Asked) -> Message:
    """What the stages would publish."""
    plan = Plan(
        where="edge", may_escalate=False, k=1, model="none", shares_ms={}, config_version="bench", reason="bench"
    )
    receipt = Receipt(site=asked.site, route="edge", plan=plan, lineage=(), citations=(), decisions=(), degradations=())
    return Published(
        rid=asked.rid,
        tenant=asked.tenant,
        site=asked.site,
        asked_at_ms=asked.asked_at_ms,
        deadline_at_ms=asked.deadline_at_ms,
        outcome="answered",
        text="At nine.",
        receipt=receipt,
    )


@contextlib.asynccontextmanager
async def crowded_site() -> AsyncIterator[CrowdedSite]:
    """The site at work, with a server of its own and a store on disk."""
    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as state:
        settings = Settings(state_dir=state, tenants=(CROWD, QUIET), models_dir=f"{state}/models")
        async with contextlib.AsyncExitStack() as stack:
            vault = stack.enter_context(contextlib.closing(open_vault(settings)))
            server = await stack.enter_async_context(Server(settings.site, Path(state) / "nats"))
            client = await nats.connect(server.url)
            await declare_site(client, settings.site, SITE_WORKERS)
            await client.close()
            bus = await stack.enter_async_context(JetStreamBus.open(server.nats, settings.site))
            ingress = Ingress(settings, bus, vault)
            await ingress.open()
            site = CrowdedSite(ingress, bus)
            await stack.enter_async_context(running(site.work()))
            yield site


async def crowd_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Milliseconds until the quiet tenant has its answer, 95 of 100, beside the crowd and without it."""
    for _ in range(repeats):  # a site each: a crowd that was sent away leaves requests behind
        async with crowded_site() as site:
            alone, beside = await site.alone(), await site.beside()
        yield Measurement("peer", alone.value, alone.samples)
        yield Measurement("ours", beside.value, beside.samples)


TENANT_CROWD_ENTRIES = (
    Entry(
        name="tenant_beside_a_crowd",
        unit="ms until an answer, p95",
        peer_name="the same tenant with nobody else",
        target=Target("≤", 2.0),
        blocks=crowd_blocks,
        bars=(
            Bar(samples=WAITED, quantile=0.95, of="ratio", target=Target("≤", 2.0)),
            Bar(samples=WAITED, quantile=1.0),
            Bar(samples=REFUSAL, quantile=0.95, target=Target("≤", 5.0)),
        ),
    ),
)
