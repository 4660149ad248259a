"""`tidegate topology`: one domain's streams and consumers against what the stages declare.

Next: brokers/topology/plan.py.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import click

from tidegate.brokers.jetstream import declare
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.declare import (
    DeclarationTerms,
    connect_site_to_hub,
    declare_hub,
    plan_hub,
    plan_site,
)
from tidegate.brokers.topology.plan import TopologyPlan
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.fleet.endpoints import find_server, read_endpoints
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings


@click.group(cls=CommandGroup)
def topology() -> None:
    """Compare streams and consumers with what is declared, or declare them."""


@topology.command("plan")
@with_options("site", "as_json")
def topology_plan(options: CommandOptions) -> int:
    """Print what `apply` would change, and what was set by hand and is kept; exit code 1 when it would change
    something."""
    plans = asyncio.run(make_plans(options.settings(), applying=None))
    show_plans(plans, options)
    return int(any(plan.steps for plan in plans))


@topology.command("apply")
@click.option("--delete-older", is_flag=True, help="Where a stream is to keep less now, delete the oldest.")
@click.option("--keep", "keeps", is_flag=True, help="Where a stream is to keep less now, leave it as it is.")
@with_options("site", "as_json")
def topology_apply(options: CommandOptions, delete_older: bool, keeps: bool) -> None:
    """Declare the streams and consumers of the site (or of the hub); a second time changes nothing.

    A limit that somebody has set on the server by hand stays until its setting changes.
    """
    settings = options.settings()
    if delete_older:
        asyncio.run(shorten(settings))
    terms = DeclarationTerms(settings.retention, keeps)
    show_plans(asyncio.run(make_plans(settings, applying=terms)), options)


async def shorten(settings: Settings) -> None:
    """Have the streams of the site, and of the hub that it is declared at, give up what is beyond their retention."""
    stages, kept = tuple(WORKERS.values()), settings.retention
    async with connect(read_endpoints(settings).hub, HUB) as hub:
        await declare.delete_older(hub, await plan_hub(hub, (), stages, None, kept))
    if settings.site != HUB:
        async with connect(find_server(settings), settings.site) as here:
            await declare.delete_older(here, await plan_site(here, settings.site, stages, kept))


async def make_plans(settings: Settings, *, applying: DeclarationTerms | None) -> tuple[TopologyPlan, ...]:
    """The plans of `settings.site`, carried out where it is said how.

    A site is declared at both ends: the hub sources from it and carries verdicts to it.
    """
    stages, kept = tuple(WORKERS.values()), settings.retention
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(connect(find_server(settings), settings.site))
        if settings.site == HUB:
            sites = tuple(read_endpoints(settings).sites)
            if applying is None:
                return (await plan_hub(here, sites, stages, None, kept),)
            return (await declare_hub(here, sites, stages, None, kept, applying.keeps),)
        if applying is not None:
            hub = await stack.enter_async_context(connect(read_endpoints(settings).hub, HUB))
            return await connect_site_to_hub(hub, here, settings.site, stages, None, applying)
        return (await plan_site(here, settings.site, stages, kept),)


def show_plans(plans: tuple[TopologyPlan, ...], options: CommandOptions) -> None:
    print_result(plans, "\n".join(map(str, plans)), options.as_json)
