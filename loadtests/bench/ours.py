"""Our side: the pipeline's stages in the product's own worker, over the product's own bus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from loadtests.bench.chain import AT_SITE, HANDLERS, SITE
from tidegate.brokers.handover import HandOver
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.worker import run


@contextlib.asynccontextmanager
async def walked(url: str) -> AsyncIterator[None]:
    """Declare the site and work its seven stages until left; one connection for all, as in `tidegate worker all`."""
    async with JetStreamBus.open(NatsSettings(url=url), SITE) as bus:
        await declare_site(bus.link.client, SITE, AT_SITE)
        stop, together = asyncio.Event(), HandOver(bus)
        async with asyncio.TaskGroup() as group:
            for stage, handle in zip(AT_SITE, HANDLERS, strict=True):
                group.create_task(run(stage, handle, together, stop))
            try:
                yield
            finally:
                stop.set()
