"""What `tidegate topology` does: one domain's streams and consumers against what the stages declare."""

from __future__ import annotations

from contextlib import AsyncExitStack

import click
import msgspec

from tidegate.brokers.jetstream.api import connected
from tidegate.brokers.topology.plan import Plan, connect_site_to_hub, declare_hub, plan_hub, plan_site
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.endpoints import nats_of, read
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings


async def plan_or_apply(settings: Settings, *, as_json: bool, applying: bool) -> int:
    """Print the plan of `settings.site`, and do it when `applying`; 1 when a plan only printed changes something.

    A site is declared at both ends: the hub is told to source from it and to carry verdicts to it.
    """
    stages = tuple(WORKERS.values())
    plans: tuple[Plan, ...]
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(connected(nats_of(settings), settings.site))
        if settings.site == HUB:
            sites = tuple(read(settings).sites)
            plans = (await (declare_hub if applying else plan_hub)(here, sites, stages),)
        elif applying:
            hub = await stack.enter_async_context(connected(read(settings).hub, HUB))
            plans = await connect_site_to_hub(hub, here, settings.site, stages)
        else:
            plans = (await plan_site(here, settings.site, stages),)
    if as_json:
        click.echo(msgspec.json.encode([plan.as_dict() for plan in plans]))
    else:
        click.echo("\n".join(str(plan) for plan in plans))
    return int(not applying and any(plan.steps for plan in plans))
