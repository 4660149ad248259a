"""The router's composition root."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from tidegate.brokers.base import House
from tidegate.brokers.settings import Router, Settings
from tidegate.brokers.stage import Handler
from tidegate.schemas import Concession, Message, Plan, Screened
from tidegate.services.planning.degradation import unaccounted_ms
from tidegate.services.planning.planner import conceded, planned
from tidegate.services.planning.table import Signals, Table
from tidegate.services.stages.router.handler import Decide, route

__all__ = ["open"]

QUEUES = ("retriever", "drafter")
"""The stages whose queues say how busy the edge is: those that work, not those that decide."""


@asynccontextmanager
async def open(settings: Settings, house: House) -> AsyncIterator[Handler]:  # noqa: A001 - the house's word for it
    """Yield the handler once the link and the queues have been looked at for the first time.

    The handler raises what has ended the looking, should anything: a router that sees nothing must not plan.
    """
    from tidegate.services.pipeline import WORKERS
    from tidegate.services.stages.router.signals import Lookout

    chosen = settings.router
    table = table_of(chosen)
    lookout = Lookout(house, settings.site, [WORKERS[name] for name in QUEUES], settings.tenants)
    await lookout.keep_hearing()
    await lookout.look()
    looking = asyncio.create_task(lookout.keep_looking(chosen.ping_every_s))

    async def handler(screened: Screened) -> list[Message]:
        if looking.done():
            looking.result()
        return await route(screened, decide=decision(lookout.signals, table), clock=time.time)

    try:
        yield handler
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def table_of(chosen: Router) -> Table:
    """The table that the settings ask for."""
    table = Table()
    return replace(
        table,
        k=chosen.k,
        k_under_load=chosen.k_under_load,
        queue_depth_high=chosen.queue_depth_high,
        economy=chosen.economy,
        mode=chosen.mode or None,
        answer_tokens=chosen.answer_tokens,
        knee_positions=chosen.knee_positions,
        drafters={**table.drafters, "lm": chosen.draft_token_ms},
        uplink_ms_per_byte=8 / chosen.uplink_kbps if chosen.uplink_kbps else 0.0,
    )


def decision(signals: Signals, table: Table) -> Decide:
    """What the handler decides by: the planner under these signals and this table."""
    version = table.version

    def decide(screened: Screened, now_ms: float) -> tuple[Plan, tuple[Concession, ...]]:
        remaining_ms = screened.deadline_at_ms - int(now_ms)
        plan = planned(
            screened.question,
            max(0, remaining_ms),
            signals,
            table,
            version,
            tenant=screened.tenant,
            can_retract=screened.can_retract,
        )
        waited_ms = unaccounted_ms(screened, now_ms)
        return plan, conceded(screened.question, remaining_ms, signals, table, screened.ledger, waited_ms)

    return decide
