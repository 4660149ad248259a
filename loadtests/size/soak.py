"""`python -m loadtests.size.soak` is `make soak`: one site at half load for long, and what drifts meanwhile.

Exit code 1 where a bar does not hold. Next: soak_report.py, the bars; fleets.py, what is asked."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
import uvloop

from loadtests.size.fleets import AFTER_BUDGET_S, AskedFleet, filled_fleet, numbers_from, run_closed_loop
from loadtests.size.processes import ProcessUsage, find_processes, read_usages
from loadtests.size.questions import UniqueQuestions, pick_texts
from loadtests.size.soak_report import READINGS, SoakReport, compare_tenths, count_faults, summarise_drift
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import ReadableConsole, echo
from tidegate.services.evaluation.load_report import percentiles_ms, summarise_load
from tidegate.services.evaluation.open_loop import LoadSample, arrivals, run_open_loop
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.packs.load import load_questions
from tidegate.services.settings import Settings

SCRATCH = Path(".tidegate")
SITE = "site1"
AT_ONCE = 8
"""How many requests are in flight while the capacity is measured."""
SHARE = 0.5
LEAST_WARM_UP, WARM_UP_SHARE = 500, 10
"""A tenth of what is asked, but at least so many: caches that hold thousands of entries must be full before."""
SETTLE_S = 2.0
"""After the client has closed its connections, before handles are counted."""


class SoakPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is asked, and how fast; at `SHARE` of the capacity where `rate` is 0. `warm_up` is asked before."""

    requests: int
    warm_up: int
    rate: float
    seed: int
    budget_ms: int


class SoakRun:
    """One run: the samples, and the processes as they were at `READINGS` moments."""

    def __init__(self, fleet: AskedFleet, plan: SoakPlan, progress: ProgressReporter) -> None:
        self._fleet = fleet
        self._plan = plan
        self._progress = progress
        self._pids = find_processes(fleet.deployment)
        self.samples: list[LoadSample] = []
        self.readings: list[dict[str, ProcessUsage]] = []
        self.at_rest: list[dict[str, ProcessUsage]] = []

    async def warm_up(self, questions: UniqueQuestions) -> float:
        """Requests a second that the site answers when it is asked without a pause, of the second half."""
        half = self._plan.warm_up // 2
        self._progress.start(f"warming up: {self._plan.warm_up} requests", 2)
        async with self._fleet.open_client(questions) as ask:
            await run_closed_loop(ask, numbers_from(0, half), AT_ONCE)
            self._progress.step()
            samples, took_s = await run_closed_loop(ask, numbers_from(half, half), AT_ONCE)
            self._progress.step()
        return len(samples) / took_s

    async def ask_all(self, questions: UniqueQuestions, rate: float) -> int:
        """Ask at this rate; how many requests had no end."""
        chance = random.Random(self._plan.seed)
        due = itertools.islice(arrivals(rate, math.inf, chance), self._plan.requests)
        self._progress.start(f"{rate:.1f} a second", self._plan.requests)
        await self.look_at_rest()
        self.readings.append(self.at_rest[0])
        async with self._fleet.open_client(questions) as ask:
            left = await run_open_loop(
                lambda number: ask(self._plan.warm_up + number),
                due,
                self._on_sample,
                self._plan.budget_ms / 1000 + AFTER_BUDGET_S,
            )
        await self.look_at_rest()
        return left

    async def look_at_rest(self) -> None:
        """Read the processes once no client is connected any more."""
        await asyncio.sleep(SETTLE_S)
        self.at_rest.append(read_usages(find_processes(self._fleet.deployment)))

    def _on_sample(self, sample: LoadSample) -> None:
        self.samples.append(sample)
        done = len(self.samples)
        if done * READINGS // self._plan.requests > (done - 1) * READINGS // self._plan.requests:
            self.readings.append(read_usages(find_processes(self._fleet.deployment)))
        recent = percentiles_ms([each.final_s for each in self.samples[-200:]])
        self._progress.step(f"p50 {recent['p50']:.0f} ms, p99 {recent['p99']:.0f} ms")

    def find_restarted(self) -> tuple[str, ...]:
        """The processes that are others than at the start."""
        now = find_processes(self._fleet.deployment)
        return tuple(name for name, pid in self._pids.items() if now[name] != pid)


async def soak(settings: Settings, plan: SoakPlan, progress: ProgressReporter) -> SoakReport:
    """Ask one site, and compare its end with its beginning. Raises what starting a fleet does."""
    texts = pick_texts(load_questions(Path(settings.pack_dir)))
    prefix = f"soak-{time.time_ns() // 1_000_000}"
    questions = UniqueQuestions(texts, settings.tenants[0], plan.budget_ms, prefix)
    async with filled_fleet(settings, [SITE], progress) as fleet:
        run = SoakRun(fleet, plan, progress)
        capacity = await run.warm_up(questions)
        rate = plan.rate or SHARE * capacity
        began_s = time.perf_counter()
        unfinished = await run.ask_all(questions, rate)
        took_s = time.perf_counter() - began_s
        stored = await fleet.count_stored()
        restarted = run.find_restarted()
    load = summarise_load(run.samples, unfinished, round(rate, 2), round(took_s, 2))
    asked = [questions.rid_of(plan.warm_up + number) for number in range(plan.requests)]
    lost, doubled = count_faults(asked, sum(load.refused.values()), stored)
    first, last = compare_tenths(run.samples)
    return SoakReport(
        load=load,
        p50_ms=(first, last),
        slowdown=round(last / first, 3),
        processes=summarise_drift(run.readings, run.at_rest, plan.requests),
        lost=lost,
        doubled=doubled,
        restarted=restarted,
    )


def print_soak(report: SoakReport) -> None:
    """A table of the processes, then what became of the requests, then what does not hold."""
    console = ReadableConsole(width=120)
    rows = [
        (
            name,
            *(f"{each.pss_mib[end]:.0f}" for end in (0, 1)),
            f"{each.growth:.3f}",
            *(f"{each.rss_mib[end]:.0f}" for end in (0, 1)),
            *(str(each.handles[end]) for end in (0, 1)),
            *(f"{each.cpu_ms[end]:.1f}" for end in (0, 1)),
        )
        for name, each in report.processes.items()
    ]
    titles = ("process", "PSS MiB", "end", "growth", "RSS MiB", "end", "handles", "end", "CPU ms a request", "end")
    console.print(make_table("processes, warm and at the end", titles, rows))
    load = report.load
    echo(
        f"{load.sent} requests at {load.rate:g} a second: {load.outcomes}; refused {load.refused}, failed {load.failed}"
    )
    echo(f"p50 of the first tenth {report.p50_ms[0]:g} ms, of the last {report.p50_ms[1]:g} ms: x {report.slowdown:g}")
    echo(f"lost {report.lost}, answered twice {report.doubled}")
    for each in report.find_broken():
        echo(f"does not hold: {each}")


@contextmanager
def state_directory(state: Path | None) -> Iterator[Path]:
    """The given directory, which is kept, or one that is removed on leaving."""
    if state is not None:
        yield state
        return
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak-", dir=SCRATCH) as directory:
        yield Path(directory)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--requests", type=click.IntRange(min=100), default=50_000, show_default=True)
@click.option("--warm-up", type=click.IntRange(min=20), help="Requests before [default: a tenth, at least 500].")
@click.option("--rate", type=click.FloatRange(min=0), default=0.0, help="A second [default: half of the capacity].")
@click.option("--budget-ms", type=click.IntRange(min=1), default=4000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the gaps between requests.")
@click.option("--state", type=click.Path(file_okay=False, path_type=Path), help="Keep the site here for the next run.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON instead of tables.")
def main(state: Path | None, as_json: bool, warm_up: int | None, **given: float) -> None:
    """Ask a site of its own at half load, and say what grew, slowed down or was lost; exit code 1 where a bar does not
    hold."""
    before = warm_up or max(LEAST_WARM_UP, int(given["requests"]) // WARM_UP_SHARE)
    plan = msgspec.convert({**given, "warm_up": before}, SoakPlan)
    with state_directory(state) as directory, show_progress() as progress:
        settings = Settings(state_dir=str(directory), pack_dir=str(find_default_pack()))
        report = uvloop.run(soak(settings, plan, progress))
    if as_json:
        echo(msgspec.json.encode(report))
    else:
        print_soak(report)
    sys.exit(1 if report.find_broken() else 0)


if __name__ == "__main__":
    main()
