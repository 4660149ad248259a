"""`tidegate bench`: how a running site does under a load that does not wait for it.

Next: services/evaluation/open_loop.py, load_clients.py, load_report.py."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.options import CommandOptions, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.run import run_until_stopped
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import ReadableConsole, echo
from tidegate.services.evaluation.load_clients import LoadQuestions, open_http_load, open_nats_load
from tidegate.services.evaluation.load_report import LoadReport, percentiles_ms, summarise_load
from tidegate.services.evaluation.open_loop import Ask, LoadSample, arrivals, run_open_loop
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.certificates import trust_only
from tidegate.services.fleet.endpoints import FleetNotRunningError, GatewayFile, decode_state, find_server
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.load import load_questions
from tidegate.services.settings import Settings

ACCESS_KEY = "TIDEGATE_ACCESS_KEY"
"""The environment variable with the access key for `--url`: an option would be seen in the list of processes."""
AFTER_BUDGET_S = 5.0
"""How much longer than the asker's budget an answer is waited for."""
RECENT = 200
"""How many of the last answers the percentiles on the screen are of."""


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent: how much, for how long, by which way, and what is asked."""

    rate: float
    duration_s: float
    seed: int
    over_nats: bool
    streaming: bool
    url: str
    questions: LoadQuestions

    @property
    def patience_s(self) -> float:
        """How long one answer is waited for."""
        return self.questions.budget_ms / 1000 + AFTER_BUDGET_S


class NothingToAskError(TidegateError, ValueError):
    """There is no question to ask, or nobody to ask it."""

    hint = "name a site with --site, and a file with one question a line with --questions"


@click.command()
@click.option("--rate", default=5.0, show_default=True, type=click.FloatRange(0.01, 10_000), help="Requests a second.")
@click.option("--duration", default=30.0, show_default=True, type=click.FloatRange(0.1), help="Seconds.")
@click.option("--nats", "over_nats", is_flag=True, help="Ask over NATS, as the operator, instead of HTTP.")
@click.option(
    "--stream/--no-stream", "streaming", default=True, show_default=True, help="Whether answers come as they are made."
)
@click.option("--url", default="", help=f"Another gateway than this machine's; its access key is in {ACCESS_KEY}.")
@click.option("--questions", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="One a line.")
@click.option("--budget-ms", default=4000, show_default=True, type=click.IntRange(1, 600_000), help="Of each request.")
@click.option("--seed", type=int, help="Repeats the gaps of another run [default: chosen, and printed].")
@with_options("site", "tenant", "as_json")
def bench(options: CommandOptions, *, file: Path | None, seed: int | None, budget_ms: int, **way: object) -> int:
    """Ask a running site at a steady rate, whatever becomes of the answers, and say how long they took.

    Requests come with exponential gaps, and times count from when each was due: a site that is slow gets no relief, as
    from a client that waits. Exit code 1 where nothing was answered.
    """
    settings = options.settings()
    if settings.site == HUB:
        raise NothingToAskError("the hub takes no questions")
    texts = read_questions(settings, file)
    questions = LoadQuestions(texts, options.tenant or settings.tenants[0], budget_ms)
    chosen = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    plan = msgspec.convert({**way, "duration_s": way["duration"], "seed": chosen, "questions": questions}, LoadPlan)
    return run_until_stopped(run_bench(settings, plan, as_json=options.as_json))


def read_questions(settings: Settings, file: Path | None) -> tuple[str, ...]:
    """The lines of the file, or the questions of the pack. Raises `NothingToAskError`, `PackError`."""
    if file is None:
        found = [question.text for question in load_questions(Path(settings.pack_dir))]
    else:
        found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not found:
        raise NothingToAskError(f"{file or settings.pack_dir} has no questions")
    return tuple(found)


async def run_bench(settings: Settings, plan: LoadPlan, *, as_json: bool) -> int:
    """0 where anything was answered. Raises `FleetNotRunningError`, `UnreachableError`, `AccessRegisterError`."""
    samples: list[LoadSample] = []
    async with open_load(settings, plan) as ask:
        with show_progress() as progress:
            due = list(arrivals(plan.rate, plan.duration_s, random.Random(plan.seed)))
            progress.start(f"{plan.rate:g} a second for {plan.duration_s:g} s", len(due))

            def on_sample(sample: LoadSample) -> None:
                samples.append(sample)
                show_sample(progress, samples)

            unfinished = await run_open_loop(ask, iter(due), on_sample, plan.patience_s)
    report = summarise_load(samples, unfinished, plan.rate, plan.duration_s)
    if as_json:
        echo(msgspec.json.encode({**msgspec.to_builtins(report), "seed": plan.seed}))
    else:
        print_load(report, plan.seed)
    return 0 if report.answered else 1


@asynccontextmanager
async def open_load(settings: Settings, plan: LoadPlan) -> AsyncIterator[Ask]:
    """The client by which the plan asks. Raises as `run_bench`."""
    if plan.over_nats:
        server = find_server(settings)
        async with open_nats_load(
            server, settings.site, plan.questions, plan.patience_s, streaming=plan.streaming
        ) as ask:
            yield ask
        return
    if plan.url:
        key = os.environ.get(ACCESS_KEY, "")
        async with open_http_load(plan.url, key, plan.questions, plan.patience_s, streaming=plan.streaming) as ask:
            yield ask
        return
    gateway = find_gateway(settings)
    verify = trust_only(gateway.certificate) if gateway.certificate else True
    with temporary_key(settings, "tidegate bench") as key:
        async with open_http_load(
            gateway.url, key, plan.questions, plan.patience_s, streaming=plan.streaming, verify=verify
        ) as ask:
            yield ask


def find_gateway(settings: Settings) -> GatewayFile:
    """The gateway of the site on this machine. Raises `FleetNotRunningError`, `StateFileDamagedError`."""
    try:
        return decode_state(StatePaths(settings).gateway, GatewayFile)
    except FileNotFoundError:
        raise FleetNotRunningError(f"no gateway of {settings.site} is up below {settings.state_dir}") from None


def show_sample(progress: ProgressReporter, samples: list[LoadSample]) -> None:
    """One step, with how the last answers were."""
    recent = percentiles_ms([sample.final_s for sample in samples[-RECENT:] if sample.became != "refused"])
    became = Counter(sample.became for sample in samples)
    others = ", ".join(f"{became[name]} {name}" for name in ("refused", "failed") if became[name])
    progress.step(f"p50 {recent.get('p50', 0):.0f} p99 {recent.get('p99', 0):.0f} ms {others}")


def print_load(report: LoadReport, seed: int) -> None:
    """Tables of counts, of why requests had no answer, and of times."""
    console = ReadableConsole(width=110)
    counts = {"sent": report.sent, **report.outcomes, "unfinished": report.unfinished}
    console.print(make_table("requests", tuple(counts), [tuple(map(str, counts.values()))], left=0))
    reasons = [("refused", why, str(count)) for why, count in report.refused.items()]
    reasons += [("failed", why, str(count)) for why, count in report.failed.items()]
    if reasons:
        console.print(make_table("without an answer", ("", "why", "requests"), reasons, left=2))
    rows = {"first text": report.ttft_ms, "whole answer": report.final_ms, "client late": report.late_ms}
    shown = [(name, *(f"{value:.1f}" for value in found.values())) for name, found in rows.items() if found]
    if shown:
        names = tuple(next(found for found in rows.values() if found))
        console.print(make_table("milliseconds since due", ("", *names), shown))
    echo(f"{report.sent_rate:g} a second sent, {report.answered_rate:g} answered; --seed {seed} repeats the gaps")
