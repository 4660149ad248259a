"""The demo: a fleet is started, a pack's questions are asked, and what became of them is counted and shown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
import msgspec

from tidegate.brokers.dead_letters import letters
from tidegate.brokers.jetstream.bus import JetStreamHouse
from tidegate.brokers.jetstream.history import history
from tidegate.brokers.settings import Settings
from tidegate.schemas import Published
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import ANSWERS, ESCALATIONS, HUB
from tidegate.services.cli.display import show_tally, steps
from tidegate.services.evaluation.client import SiteDoors, ask_all, personal_values_below
from tidegate.services.evaluation.report import Asking, Tally, tally
from tidegate.services.fleet.deployment import Deployment, deployed
from tidegate.services.fleet.prepare import Progress, prepare_all
from tidegate.services.packs.load import judge, load_pack

BUDGET_MS = 8000


async def run_demo(
    settings: Settings, sites: Sequence[str], *, per_stage: bool, limit: int | None, stay: bool, as_json: bool
) -> int:
    """0 when nothing was lost, doubled, buried or leaked; else 1."""
    pack = load_pack(Path(settings.pack_dir))
    async with AsyncExitStack() as stack:
        with steps() as progress:
            deployment = await stack.enter_async_context(started(settings, sites, pack, progress, per_stage=per_stage))
            counted = await ask_and_count(settings, pack, deployment, limit, progress)
        if as_json:
            click.echo(msgspec.json.encode(counted))
        else:
            show_tally(counted)
        if stay:
            await stay_up(deployment)
    return 0 if counted.holds else 1


async def run_up(settings: Settings, sites: Sequence[str], *, per_stage: bool, as_json: bool) -> int:
    """Keep a fleet up until cancelled."""
    pack = load_pack(Path(settings.pack_dir))
    async with AsyncExitStack() as stack:
        with steps() as progress:
            deployment = await stack.enter_async_context(started(settings, sites, pack, progress, per_stage=per_stage))
        if as_json:
            click.echo(msgspec.json.encode(deployment.addresses))
        await stay_up(deployment, say=not as_json)
    return 0


@asynccontextmanager
async def started(
    settings: Settings, sites: Sequence[str], pack: Pack, progress: Progress, *, per_stage: bool
) -> AsyncIterator[Deployment]:
    """A fleet with all that its sites need, up while the context lasts."""
    await prepare_all(settings, sites, pack, progress)
    progress.start(f"starting a hub and {len(sites)} sites", 1)
    async with deployed(settings, sites, per_stage=per_stage) as deployment:
        progress.step()
        yield deployment


async def stay_up(deployment: Deployment, *, say: bool = True) -> None:
    """Tell where to ask, then wait until cancelled; raises when a worker or a server cannot be kept alive."""
    if say:
        for site, url in deployment.addresses.http.items():
            click.echo(f"{site}: page and API {url}   NATS {deployment.addresses.sites[site].url}")
        click.echo("Ctrl-C ends everything.")
    await deployment.failed()


async def ask_and_count(
    settings: Settings, pack: Pack, deployment: Deployment, limit: int | None, progress: Progress
) -> Tally:
    """Ask, judge, then look into every stream and every file for what the replies do not show."""
    questions = pack.questions[:limit]
    began_s = time.time()
    async with AsyncExitStack() as stack:
        houses = {
            site: await stack.enter_async_context(JetStreamHouse.open(nats, site))
            for site, nats in deployment.addresses.sites.items()
        }
        doors = {site: SiteDoors(house, deployment.addresses.http[site]) for site, house in houses.items()}
        progress.start("asking", len(questions))
        askings = await ask_all(
            questions,
            doors,
            tenant=settings.tenants[0],
            budget_ms=BUDGET_MS,
            told=lambda asking: progress.step(asking.question.text),
        )
        progress.start("reading the streams", len(askings))
        for asking in askings:
            await look_up(asking, houses[asking.site], settings.tenants[0])
            progress.step()
        hub = await stack.enter_async_context(JetStreamHouse.open(deployment.addresses.hub, HUB))
        found = [letter for house in (hub, *houses.values()) for letter in await letters(house.link.client)]
        dead = sum(letter.buried_at_s >= began_s for letter in found)
    values = [value for question in questions for value in question.personal]
    leaked = await asyncio.to_thread(personal_values_below, Path(settings.state_dir), values)
    return tally(askings, dead=dead, personal_values_found=len(leaked))


async def look_up(asking: Asking, house: JetStreamHouse, tenant: str) -> None:
    """What the streams say of one request, and whether its reply was right."""
    facts = await history(house.link.client, asking.rid, tenant, asking.site)
    asking.answers_stored = sum(fact.stream == ANSWERS for fact in facts)
    asking.escalated = any(fact.stream == ESCALATIONS for fact in facts)
    reply = asking.reply
    if isinstance(reply, Published):
        cited = [citation.document_id for citation in reply.citations]
        asking.correct = judge(asking.question, reply.outcome, reply.text, cited)
