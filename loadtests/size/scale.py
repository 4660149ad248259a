"""`python -m loadtests.size.scale` is `make scale`: what more workers, sites and documents bring and cost.

Each size is a fleet of its own, asked by more and more askers at once. Next: scale_report.py; fleets.py."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import click
import msgspec
import uvloop

from loadtests.bench.index_corpus import corpus
from loadtests.bench.index_entries import probe_in_process
from loadtests.size.fleets import AskedFleet, numbers_from, prepared_fleet, run_closed_loop
from loadtests.size.processes import find_processes, read_usages
from loadtests.size.questions import UniqueQuestions, pick_texts
from loadtests.size.scale_report import Curve, LoadLevel, ScalePoint, find_best, level_of, rows_of
from loadtests.size.soak import state_directory
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import ReadableConsole, echo
from tidegate.services.evaluation.load_report import percentiles_ms
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.packs.load import load_questions
from tidegate.services.settings import Settings

AT_ONCE = (1, 4, 8)
WARM_UP = 24
TITLES = ("", "", "answers/s", "p95 ms", "at once", "x", "MiB a site", "CPU ms", "stored bytes", "link bytes")


class ScalePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The sizes, how many requests each level has, and within what an answer counts. `workers` are those of which there
    are several."""

    replicas: tuple[int, ...]
    workers: tuple[str, ...]
    sites: tuple[int, ...]
    documents: tuple[int, ...]
    requests: int
    budget_ms: int


async def measure_fleet(
    fleet: AskedFleet, questions: UniqueQuestions, plan: ScalePlan, point: ScalePoint
) -> ScalePoint:
    """The point of a fleet that runs, with its figures."""
    deployment = fleet.deployment
    sites = len(deployment.endpoints.sites)
    pids = find_processes(deployment)
    levels: list[LoadLevel] = []
    async with fleet.open_client(questions) as ask:
        await run_closed_loop(ask, numbers_from(0, WARM_UP * sites), AT_ONCE[-1])
        stored, linked, before = await fleet.stored_bytes(), await fleet.linked_bytes(), read_usages(pids)
        first = WARM_UP * sites
        for at_once in AT_ONCE:
            samples, took_s = await run_closed_loop(ask, numbers_from(first, plan.requests), at_once * sites)
            levels.append(level_of(samples, took_s, at_once * sites))
            first += plan.requests
    after = read_usages(pids)
    asked = plan.requests * len(AT_ONCE)
    worked_s = sum(after[name].cpu_s - before[name].cpu_s for name in after)
    of_sites = sum(usage.pss_mib for name, usage in after.items() if not name.startswith("hub/"))
    return msgspec.structs.replace(
        point,
        best=find_best(levels, plan.budget_ms),
        site_mib=round(of_sites / sites, 1),
        cpu_ms=round(worked_s * 1000 / asked, 2),
        stored_bytes=round((await fleet.stored_bytes() - stored) / asked, 1),
        link_bytes=round((await fleet.linked_bytes() - linked) / asked, 1),
    )


async def measure_index(documents: int) -> ScalePoint:
    """An index alone, in a process of its own on one thread; its corpus is made where it was not kept."""
    path = await asyncio.to_thread(corpus, documents)
    probe = await probe_in_process(documents)
    per_s = 1000 / statistics.mean(probe.with_embedding_ms)
    p95_ms = percentiles_ms([each / 1000 for each in probe.with_embedding_ms])["p95"]
    stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return ScalePoint(
        curve="documents",
        count=documents,
        best=LoadLevel(at_once=1, per_s=round(per_s, 2), p95_ms=p95_ms),
        site_mib=round(probe.rss_mib, 1),
        cpu_ms=round(statistics.mean(probe.cpu_ms), 2),
        stored_bytes=round(stored / documents, 1),
    )


async def measure_all(settings: Settings, plan: ScalePlan, progress: ProgressReporter) -> AsyncIterator[ScalePoint]:
    """The points of all curves, in turn."""
    texts = pick_texts(load_questions(Path(settings.pack_dir)))

    async def measure_size(curve: Curve, count: int, sites: int, replicas: Mapping[str, int]) -> ScalePoint:
        point = ScalePoint(curve=curve, count=count, best=None, site_mib=0.0, cpu_ms=0.0, stored_bytes=0.0)
        questions = UniqueQuestions(texts, settings.tenants[0], plan.budget_ms * 4, f"{curve}-{time.time_ns()}")
        names = [f"site{number + 1}" for number in range(sites)]
        async with prepared_fleet(settings, names, replicas, progress) as fleet:
            progress.start(f"{curve}: {count}", 1)
            found = await measure_fleet(fleet, questions, plan, point)
            progress.step()
        return found

    for count in plan.replicas:
        yield await measure_size("workers", count, 1, dict.fromkeys(plan.workers, count))
    for count in plan.sites:
        yield await measure_size("sites", count, count, {})
    for count in plan.documents:
        progress.start(f"documents: {count}", 1)
        yield await measure_index(count)
        progress.step()


async def collect(settings: Settings, plan: ScalePlan) -> list[ScalePoint]:
    """All points, shown as they come. Raises what starting a fleet does."""
    with show_progress() as progress:
        return [point async for point in measure_all(settings, plan, progress)]


def read_sizes(_: click.Context, option: click.Parameter, text: str) -> tuple[int, ...]:
    """`1,2,4` as numbers. Raises `click.BadParameter`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"{text!r} are no sizes, as 1,2,4 are", param=option)
    return tuple(map(int, parts))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--replicas", default="1,2", show_default=True, callback=read_sizes, help="Processes of each of --workers."
)
@click.option("--workers", default="drafter", show_default=True, help="The stages, or gateway, that have several.")
@click.option("--sites", default="1,2", show_default=True, callback=read_sizes)
@click.option("--documents", default="1000", show_default=True, callback=read_sizes, help="Of an index alone.")
@click.option("--requests", type=click.IntRange(min=8), default=60, show_default=True, help="For each level of load.")
@click.option("--budget-ms", type=click.IntRange(min=1), default=1000, show_default=True, help="That p95 must keep.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Keep the sites here for the next run.")
@click.option("--json", "as_json", is_flag=True, help="The points as JSON instead of a table.")
def main(state: Path | None, as_json: bool, workers: str, **sizes: object) -> None:
    """Measure fleets of several sizes; an empty list leaves a curve out. Exit code 1 where one kept no budget."""
    plan = msgspec.convert({**sizes, "workers": tuple(workers.split(","))}, ScalePlan)
    with state_directory(state) as directory:
        settings = Settings(state_dir=str(directory), pack_dir=str(find_default_pack()))
        points = uvloop.run(collect(settings, plan))
    if as_json:
        echo(msgspec.json.encode(points))
    else:
        ReadableConsole(width=120).print(make_table("scale", TITLES, rows_of(points), left=1))
    sys.exit(1 if any(point.best is None for point in points) else 0)


if __name__ == "__main__":
    main()
