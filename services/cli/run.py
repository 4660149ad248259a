"""`tidegate demo`, `up` and `worker`: the commands that start things."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tidegate.services.cli.options import CONFIG, JSON, load_settings

if TYPE_CHECKING:
    from tidegate.brokers.settings import Settings
    from tidegate.brokers.stage import Stage

PACK = click.option(
    "--pack",
    "pack_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=None,
    help="Pack directory [default: the kiosk].",
)
SITES = click.option("--sites", default=2, show_default=True, type=click.IntRange(1, 16), help="How many sites.")
STATE = click.option(
    "--state", "state_dir", type=click.Path(file_okay=False), default=None, help="State directory [default: .tidegate]."
)
PROCESSES = click.option("--processes", is_flag=True, help="One process per stage instead of one per site.")


@click.command()
@PACK
@SITES
@STATE
@PROCESSES
@CONFIG
@click.option("--exit", "exit_after", is_flag=True, help="End after the summary, also on a terminal.")
@click.option("--limit", type=click.IntRange(1), default=None, help="Ask only the first N questions of the pack.")
@JSON
def demo(
    pack_dir: Path | None,
    sites: int,
    state_dir: str | None,
    processes: bool,
    config: Path | None,
    exit_after: bool,
    limit: int | None,
    as_json: bool,
) -> int:
    """Start a hub and sites, ask the pack's questions through both doors, and say what became of them.

    On a terminal it then stays up, with a page to ask from, until Ctrl-C.
    """
    import sys

    from tidegate.services.cli.demo import run_demo

    settings = load_settings(config, pack_dir=pack_dir, state_dir=state_dir)
    stay = sys.stdout.isatty() and not exit_after and not as_json
    names = [f"site{number}" for number in range(1, sites + 1)]
    return until_stopped(run_demo(settings, names, per_stage=processes, limit=limit, stay=stay, as_json=as_json))


@click.command()
@PACK
@SITES
@STATE
@PROCESSES
@CONFIG
@JSON
def up(
    pack_dir: Path | None, sites: int, state_dir: str | None, processes: bool, config: Path | None, as_json: bool
) -> int:
    """Start a hub and sites and keep them up until Ctrl-C; the first line says where they listen."""
    from tidegate.services.cli.demo import run_up

    settings = load_settings(config, pack_dir=pack_dir, state_dir=state_dir)
    names = [f"site{number}" for number in range(1, sites + 1)]
    return until_stopped(run_up(settings, names, per_stage=processes, as_json=as_json))


@click.command()
@click.argument("stage")
@click.option("--site", required=True, help="The site that this worker belongs to, or `hub`.")
@click.option("--parent", type=int, default=None, hidden=True, help="End when this process ends.")
@CONFIG
def worker(stage: str, site: str, parent: int | None, config: Path | None) -> None:
    """Run STAGE of a site until SIGTERM: a stage's name, `gateway`, or `all` for everything the site runs."""
    from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS, WORKERS

    settings = load_settings(config, site=site)
    if stage not in (*WORKERS, "all", "gateway"):
        raise click.UsageError(f"no stage {stage!r}; there are: {', '.join(WORKERS)}, gateway, all")
    at_hub = settings.site == "hub"
    everything = HUB_WORKERS if at_hub else SITE_WORKERS
    stages = everything if stage == "all" else tuple(each for each in WORKERS.values() if each.name == stage)
    serve_stages(stages, settings, stage, with_gateway=stage in ("all", "gateway") and not at_hub, parent=parent)


def serve_stages(
    stages: tuple[Stage, ...], settings: Settings, name: str, *, with_gateway: bool, parent: int | None
) -> None:
    """Serve in this process until a signal, with its telemetry, and with the site's doors beside the stages."""
    from functools import partial

    from tidegate.brokers.process import telemetry
    from tidegate.brokers.process.lifecycle import Beside, serve, start

    beside: list[Beside] = []
    with telemetry.opened(settings) as watch:
        if with_gateway:
            from tidegate.services.gateway import open as open_gateway

            beside.append(partial(open_gateway, metrics=watch.metrics))
        start(serve(stages, settings, open_house=open_house, name=name, beside=beside, telemetry=watch, parent=parent))


def open_house(settings: Settings) -> Any:
    """This worker's own domain, over its own server."""
    from tidegate.brokers.jetstream.bus import JetStreamHouse

    return JetStreamHouse.open(settings.nats, settings.site)


def until_stopped(work: Coroutine[Any, Any, int]) -> int:
    """Run `work`; Ctrl-C and SIGTERM cancel it once, so that it ends what it started, and are then its exit code."""
    import sys

    import structlog

    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout is for results

    async def guarded() -> int:
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

    return asyncio.run(guarded())
