"""The router's composition root."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from brokers.base import House
from brokers.settings import Settings
from brokers.stage import Handler
from schemas import Message, Screened

QUEUES = ("retriever", "drafter")
"""The stages whose queues say how busy the edge is: those that work, not those that decide."""


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001 - the house's word for it
    """Yield the handler once the link and the queues have been looked at for the first time.

    The handler raises what has ended the looking, should anything: a router that sees nothing must not plan.
    """
    from services.pipeline import WORKERS
    from services.router.handler import Table, route
    from services.router.signals import Lookout

    chosen = settings.router
    table = Table(k=chosen.k, k_under_load=chosen.k_under_load, queue_depth_high=chosen.queue_depth_high)
    lookout = Lookout(house, settings.site, [WORKERS[name] for name in QUEUES])
    await lookout.look()
    looking = asyncio.create_task(lookout.keep_looking(chosen.ping_every_s))

    async def handler(screened: Screened) -> list[Message]:
        if looking.done():
            looking.result()
        return await route(screened, signals=lookout.signals, table=table, clock=time.time)

    try:
        yield handler
    finally:
        looking.cancel()
        await asyncio.wait([looking])
