"""Our side: the pipeline's stages in the product's own worker, over the product's own house."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from brokers.jetstream import JetStreamHouse
from brokers.settings import Nats
from brokers.topology import declare_site
from brokers.worker import run
from loadtests.chain import AT_SITE, HANDLERS, SITE


@contextlib.asynccontextmanager
async def walked(url: str) -> AsyncIterator[None]:
    """Declare the site and work its seven stages until left; one connection for all, as in `tidegate worker all`."""
    async with JetStreamHouse.open(Nats(url=url), SITE) as house:
        await declare_site(house.link.client, SITE, AT_SITE)
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for stage, handle in zip(AT_SITE, HANDLERS, strict=True):
                group.create_task(run(stage, handle, house, stop))
            try:
                yield
            finally:
                stop.set()
