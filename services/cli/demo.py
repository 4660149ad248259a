"""What `tidegate demo` and `up` do: a fleet is started; a pack's questions are asked, counted and shown.

Promises to leave nothing running, however it ends. Next: services/fleet/deployment.py, services/evaluation.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.dead_letters import list_dead_letters
from tidegate.brokers.jetstream.requester import NatsRequester
from tidegate.brokers.servers.fleet import check_free
from tidegate.schemas import replace
from tidegate.schemas.pack import Pack
from tidegate.schemas.subjects import ASK, HUB
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.tables import describe_sync, print_report
from tidegate.services.cli.terminal import echo
from tidegate.services.evaluation.byte_scan import find_values
from tidegate.services.evaluation.client import SiteClient, ask_all, read_facts
from tidegate.services.evaluation.report import ClientRun, RunReport, summarise_runs
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.deployment import Deployment, deploy
from tidegate.services.fleet.filling import FilledSites, fill_sites
from tidegate.services.fleet.measured import accept_own_sites
from tidegate.services.fleet.models import ProgressReporter, build_models
from tidegate.services.fleet.nats_users import replace_seed, temporary_application
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.showing import open_showing
from tidegate.services.gateway.http.server import check_encrypted
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

BUDGET_MS = 8000
EXAMPLE = '{"text":"What does a coin roll cost?"}'


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to start: sites of this machine, whether each stage gets a process of its own, and which get several."""

    settings: Settings
    sites: tuple[str, ...]
    per_stage: bool
    as_json: bool
    replicas: dict[str, int] = {}


class Asking(NamedTuple):
    """Where the questions of a pack are asked, by which application, and how many of them; None: all.

    `seed_file` is that of the access key's nkey.
    """

    deployment: Deployment
    access_key: str
    seed_file: Path
    limit: int | None


async def run_demo(job: Job, limit: int | None, *, stay: bool) -> int:
    """0 when nothing was lost, doubled, dead-lettered or leaked; else 1."""
    pack = read_pack(job)
    async with AsyncExitStack() as stack:
        with show_progress() as progress:
            filled: list[FilledSites] = []
            deployment = await stack.enter_async_context(start_fleet(job, progress, filled.append))
            access_key, seed_file = stack.enter_context(temporary_application(job.settings, "tidegate demo"))
            asking = Asking(deployment, access_key, seed_file, limit)
            report = await ask_and_count(job.settings, pack, asking, progress)
            async with open_showing(job.settings, deployment.servers) as showing:
                report = replace(report, sync=await showing.show(filled[0], progress))
        if job.as_json:
            echo(msgspec.json.encode(report))
        elif pack.questions:
            print_report(report)
        else:
            echo(f"{len(pack.documents)} documents; the pack has no questions of its own to ask")
        if report.sync is not None and not job.as_json:
            echo("\n".join(describe_sync(report.sync)))
        if stay:
            await stay_up(deployment, asking)
    return 0 if report.is_clean else 1


async def run_up(job: Job) -> int:
    """Keep a fleet up until cancelled."""
    read_pack(job)
    async with AsyncExitStack() as stack:
        with show_progress() as progress:
            deployment = await stack.enter_async_context(start_fleet(job, progress))
        if job.as_json:
            echo(msgspec.json.encode(deployment.endpoints))
        elif not any(map(open_access_keys(job.settings).is_good, open_access_keys(job.settings).all())):
            echo("no access key is good: `tidegate keys issue` makes one, with --nats FILE also for NATS")
        await stay_up(deployment, quiet=job.as_json)
    return 0


def read_pack(job: Job) -> Pack:
    """The pack to start with. Raises `TlsSettingsError`, `PackError`, then `FleetBusyError`; nothing is made yet."""
    check_encrypted(job.settings.gateway)
    pack = load_pack(Path(job.settings.pack_dir))
    check_free(Path(job.settings.state_dir))
    return pack


@asynccontextmanager
async def start_fleet(
    job: Job, progress: ProgressReporter, on_filled: Callable[[FilledSites], None] = lambda _: None
) -> AsyncIterator[Deployment]:
    """A fleet whose sites are filled from the hub, up while the context lasts."""
    await build_models(job.settings, progress)
    await asyncio.to_thread(provision_fleet, job.settings, job.sites)
    await asyncio.to_thread(accept_own_sites, job.settings, job.sites)
    counted = f"a hub and {len(job.sites)} site{'s' * (len(job.sites) > 1)}"
    progress.start(f"starting {counted}", 1)

    async def fill() -> None:
        progress.step()
        filled = await fill_sites(job.settings, job.sites, progress)
        on_filled(filled)
        progress.start(f"{counted} caught up in {filled.took_s:g} s; starting what answers", 1)

    starting = deploy(job.settings, job.sites, per_stage=job.per_stage, replicas=job.replicas, fill=fill)
    async with starting as deployment:
        progress.step()
        yield deployment


async def stay_up(deployment: Deployment, asking: Asking | None = None, *, quiet: bool = False) -> None:
    """Print where to ask, with which key, and what could not be started, then wait until cancelled."""
    if not quiet:
        page = f"/#key={asking.access_key}" if asking else ""
        for site, url in deployment.endpoints.http.items():
            echo(f"{site}: page {url}{page}   NATS {deployment.endpoints.sites[site].url}")
            for number, more in enumerate(deployment.endpoints.more_http.get(site, ()), 2):
                echo(f"{site}: gateway {number} {more}")
        if asking:
            echo(f"the API takes this key until Ctrl-C: -H 'Authorization: Bearer {asking.access_key}'")
            server = next(iter(deployment.endpoints.sites.values())).url
            echo(f"NATS takes its nkey: nats --server {server} --nkey {asking.seed_file} request ask '{EXAMPLE}'")
        for child in deployment.supervisor.children.values():
            if child.fault is not None:
                echo(f"{child.fault.reason}; it is tried again and again ({child.fault.hint})", err=True)
        echo("Ctrl-C ends everything.")
    await deployment.watch()


async def ask_and_count(settings: Settings, pack: Pack, asking: Asking, progress: ProgressReporter) -> RunReport:
    """Ask, judge, then look into every stream and every file for what the replies do not show."""
    questions = pack.questions[: asking.limit]
    began_s = time.time()
    endpoints = asking.deployment.endpoints
    async with AsyncExitStack() as stack:
        buses = {
            domain: await stack.enter_async_context(JetStreamBus.open(nats, domain))
            for domain, nats in {HUB: endpoints.hub, **endpoints.sites}.items()
        }
        clients = {
            site: SiteClient(
                await stack.enter_async_context(NatsRequester.open(replace_seed(nats, asking.seed_file))),
                endpoints.http[site],
                asking.access_key,
                ask_at=ASK,
            )
            for site, nats in endpoints.sites.items()
        }
        progress.start("asking", len(questions))
        runs = await ask_all(
            questions,
            clients,
            tenant=settings.tenants[0],
            budget_ms=BUDGET_MS,
            on_answer=lambda run: progress.step(run.question.text),
        )
        await read_all_facts(runs, buses, settings.tenants[0], progress)
        dead = await count_dead_letters(buses, began_s)
    values = [value for question in questions for value in question.personal]
    leaked = await asyncio.to_thread(find_values, Path(settings.state_dir), values)
    return summarise_runs(runs, dead=dead, personal_values_found=len(leaked))


async def read_all_facts(
    runs: Sequence[ClientRun], buses: Mapping[str, JetStreamBus], tenant: str, progress: ProgressReporter
) -> None:
    progress.start("reading the streams", len(runs))
    for run in runs:
        await read_facts(run, buses[run.site], tenant)
        progress.step()


async def count_dead_letters(buses: Mapping[str, JetStreamBus], since_s: float) -> int:
    """How many messages were dead-lettered anywhere since `since_s`, Unix time."""
    found = [letter for bus in buses.values() for letter in await list_dead_letters(bus.link.client)]
    return sum(letter.dead_at_s >= since_s for letter in found)
