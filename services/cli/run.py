"""`tidegate demo`, `up` and `worker`: the commands that start things. Next: demo.py, brokers/process/lifecycle.py."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import structlog

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.heap import keep_allocator_small
from tidegate.brokers.process.lifecycle import OpenService, WorkerProcess, serve, start
from tidegate.brokers.process.telemetry import Telemetry, open_telemetry
from tidegate.brokers.stage import Stage
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.groups import called_wrongly, check_choice
from tidegate.services.cli.options import CommandOptions, with_options
from tidegate.services.cli.terminal import echo, log_readably
from tidegate.services.fleet.author_keys import has_author_key, open_author_signer
from tidegate.services.fleet.message_ids import load_message_ids
from tidegate.services.fleet.models import check_models, use_boxed_model
from tidegate.services.fleet.roles import ALL, AUDIT, GATEWAY, SYNC
from tidegate.services.fleet.waiting import wait_until_in_force
from tidegate.services.fleet.worker_replicas import BadReplicasError, name_of_replica, parse_replicas
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS, WORKERS
from tidegate.services.settings import Settings

SITES = click.option("--sites", default=2, show_default=True, type=click.IntRange(1, 16), help="How many sites.")
LM = click.option("--lm", is_flag=True, help="Let SmolLM2 write at the hub where a policy allows it; see `make lm`.")
PROCESSES = click.option("--processes", is_flag=True, help="One process per stage instead of one per site.")
REPLICAS = click.option(
    "--replicas",
    default="",
    metavar="NAME=N",
    help="How many processes a stage or the gateway has, as in drafter=2,gateway=2; the others have one each.",
)


@click.command()
@with_options("pack_dir", "docs", "as_json")
@SITES
@LM
@PROCESSES
@click.option("--exit", "exit_after", is_flag=True, help="End after the summary, also on a terminal.")
@click.option("--limit", type=click.IntRange(1), help="Ask only the first N questions of the pack.")
def demo(options: CommandOptions, sites: int, lm: bool, processes: bool, exit_after: bool, limit: int | None) -> int:
    """Start a hub and sites, ask the pack's questions over NATS and HTTP, and report what became of them.

    On a terminal it then stays up, with a page to ask from, until Ctrl-C.
    """
    from tidegate.services.cli.demo import run_demo

    stay = sys.stdout.isatty() and not exit_after and not options.as_json
    job = make_job(with_documents(options), sites, per_stage=processes, lm=lm)
    return run_until_stopped(run_demo(job, limit, stay=stay))


@click.command()
@with_options("pack_dir", "docs", "as_json")
@SITES
@LM
@PROCESSES
@REPLICAS
def up(options: CommandOptions, sites: int, lm: bool, processes: bool, replicas: str) -> int:
    """Start a hub and sites and keep them up until Ctrl-C; the first lines say where they listen."""
    from tidegate.services.cli.demo import run_up

    counts = read_replicas(replicas)
    job = make_job(with_documents(options), sites, per_stage=processes or bool(counts), lm=lm)
    return run_until_stopped(run_up(replace(job, replicas=counts)))


def with_documents(options: CommandOptions) -> CommandOptions:
    """The options with a pack made of a folder of documents, where one is given. Raises `NoDocumentsError`,
    `FleetBusyError`."""
    if options.docs is None:
        return options
    if options.pack_dir is not None:
        raise click.UsageError("--docs and --pack are two ways to say what is answered from: give one")
    from tidegate.brokers.servers.fleet import check_free
    from tidegate.services.cli.progress import show_progress
    from tidegate.services.packs.folder import make_readable
    from tidegate.services.packs.new import pack_of_documents

    state = Path(options.settings().state_dir)
    check_free(state)  # the pack is made anew: not under a fleet that answers from it
    pack = state / "documents-pack"
    with show_progress() as progress:
        progress.start(f"reading {make_readable(str(options.docs))}")
        notes = pack_of_documents(options.docs, pack, progress.step, progress.show)
    echo("".join(f"warning: {note}\n" for note in notes), nl=False, err=True)
    return replace(options, pack_dir=pack)


def make_job(options: CommandOptions, sites: int, *, per_stage: bool, lm: bool) -> Any:
    """What `demo` and `up` are to start: sites 1 to `sites`, with the model in the box where `lm`."""
    from tidegate.services.cli.demo import Job

    names = tuple(f"site{number}" for number in range(1, sites + 1))
    settings = use_boxed_model(options.settings()) if lm else options.settings()
    return Job(settings=settings, sites=names, per_stage=per_stage, as_json=options.as_json)


def read_replicas(text: str) -> dict[str, int]:
    """As `parse_replicas`; raises a usage error."""
    try:
        return parse_replicas(text)
    except BadReplicasError as error:
        raise called_wrongly(error) from error


@click.command()
@click.argument("stage")
@click.option("--site", required=True, help="The site that this worker belongs to, or `hub`.")
@click.option("--replicas", type=int, help="As many processes, kept alive, which share the work.")
@click.option("--parent", type=int, hidden=True, help="End when this process ends.")
@click.option("--forks", is_flag=True, hidden=True, help="Fork workers as stdin asks for them.")
@with_options()
def worker(
    options: CommandOptions, stage: str, site: str, replicas: int | None, parent: int | None, forks: bool
) -> int:
    """Run STAGE of a site until SIGTERM: a stage's name, `gateway`, `all` for everything that answers at the site (and
    its audit log), `audit` for that log alone, or `sync`, which keeps its documents in step with the hub.

    What answers waits until a pack is in force in its domain, and says so; it is ready then.
    """
    names = (*WORKERS, GATEWAY, SYNC, AUDIT, ALL)
    check_choice("there is no stage", stage, names)
    if replicas is not None:
        read_replicas(f"{stage}={replicas}")
    settings = replace(options, site=site).settings()
    if replicas is not None and replicas > 1:
        from tidegate.services.cli.replicas import run_replicas

        code = run_until_stopped(run_replicas(options, settings, stage, replicas))
        return 0 if code == 128 + signal.SIGTERM else code  # as one process ends
    if forks:
        from tidegate.services.cli import main
        from tidegate.services.cli.forking import serve_forks

        keep_allocator_small()
        serve_forks(settings, stages_of(settings, stage), main)
        return 0
    serve_worker(settings, stage, parent)
    return 0


def stages_of(settings: Settings, name: str) -> tuple[Stage, ...]:
    """The stages that the worker of this name runs in the settings' domain; none for the gateway."""
    everything = HUB_WORKERS if settings.site == HUB else SITE_WORKERS
    return everything if name == ALL else tuple(each for each in WORKERS.values() if each.name == name)


def serve_worker(settings: Settings, stage: str, parent: int | None) -> None:
    """Serve what `worker` names in this process until a signal."""
    keep_allocator_small()
    if stage == SYNC:
        serve_sync(settings, parent)
        return
    if stage == AUDIT:
        serve_audit(settings, parent)
        return
    check_models(settings)
    with_gateway = stage in (ALL, GATEWAY) and settings.site != HUB
    serve_stages(stages_of(settings, stage), settings, stage, with_gateway=with_gateway, parent=parent)


def serve_stages(
    stages: tuple[Stage, ...], settings: Settings, name: str, *, with_gateway: bool, parent: int | None
) -> None:
    """Serve in this process until a signal, with its telemetry, and with the site's gateway beside the stages."""
    with open_telemetry(settings) as telemetry:
        process = plan_process(stages, settings, name, telemetry, with_gateway=with_gateway, parent=parent)
        start(serve(process, settings, telemetry))


def plan_process(
    stages: tuple[Stage, ...],
    settings: Settings,
    name: str,
    telemetry: Telemetry,
    *,
    with_gateway: bool,
    parent: int | None = None,
) -> WorkerProcess[Settings]:
    """The stages with what runs beside them in one process."""
    services: list[OpenService[Settings]] = []
    if with_gateway:
        from tidegate.services.gateway.composition import open as open_gateway

        services.append(partial(open_gateway, metrics=telemetry.metrics))
    if any(stage.name == "cloud-verifier" for stage in stages):  # the hub has no gateway, which looks at a site's
        from tidegate.services.fleet.stream_fills import open_fill_metrics

        services.append(open_fill_metrics)
    if any(stage.name == "router" for stage in stages):  # the worker that watches the link
        from tidegate.services.uplink.stream_check import open_stream_guard

        services.append(open_stream_guard)
    if name == ALL and has_author_key(settings):  # without a key nothing of a log could be signed
        from tidegate.services.evidence.worker import open_audit_beside

        services.append(open_audit_beside)
    own = name_of_replica(name, settings.replica)
    return WorkerProcess(own, stages, open_bus, services, parent, wait_until_in_force)


def serve_sync(settings: Settings, parent: int | None) -> None:
    """Keep the replicas of the domain in this process until a signal, with its telemetry."""
    from tidegate.services.replication.hub import open_hub_worker
    from tidegate.services.replication.site import open_site_worker

    opened = open_hub_worker if settings.site == HUB else open_site_worker
    with open_telemetry(settings) as telemetry:
        start(serve(WorkerProcess(SYNC, (), open_bus, (opened,), parent), settings, telemetry))


def serve_audit(settings: Settings, parent: int | None) -> None:
    """Write the audit log of the domain in this process until a signal. Raises `AuditBusyError`, `AuditDamagedError`,
    `AuthorKeyMissingError`."""
    from tidegate.services.evidence.worker import open_audit_worker

    open_author_signer(settings)  # or no head of the log could ever be signed
    with open_telemetry(settings) as telemetry:
        start(serve(WorkerProcess(AUDIT, (), open_bus, (open_audit_worker,), parent), settings, telemetry))


def open_bus(settings: Settings) -> Any:
    """This worker's own domain, over its own server."""
    return JetStreamBus.open(settings.nats, settings.site, load_message_ids(settings), settings.retention)


def run_until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; Ctrl-C and SIGTERM cancel it once, so that it ends what it started, and are then its exit code."""
    log_readably(sys.stderr)  # stdout is for results

    async def guard() -> int:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
        stopped_by: list[int] = []

        def stop(number: int) -> None:
            stopped_by.append(number)
            if len(stopped_by) == 1:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        with suppress(asyncio.CancelledError):
            return await task
        return 128 + (stopped_by or [signal.SIGINT])[0]

    try:
        return asyncio.run(guard())
    finally:
        structlog.reset_defaults()
