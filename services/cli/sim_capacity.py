"""What `tidegate sim --profile` and `--fit` do: how much load a site carries, by the times of a live run.

Next: services/simulation/capacity.py, the model; services/simulation/profile.py, what it is made of."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click
import msgspec

from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import Published, Verified, decode
from tidegate.schemas.subjects import ANSWERS, ESCALATIONS, escalations_of, sources_of
from tidegate.services.cli.evidence import query_site
from tidegate.services.cli.options import CommandOptions, print_result
from tidegate.services.cli.progress import show_progress
from tidegate.services.simulation.capacity import (
    STEPS,
    CapacityQuestion,
    CapacityReport,
    ModelError,
    answer_question,
    find_capacity,
    measure_error,
)
from tidegate.services.simulation.link_traces import SYNTHETIC, LinkTrace, read_trace, steady_link, synthetic_trace
from tidegate.services.simulation.profile import (
    CapacityProfile,
    fit_profile,
    poisson_arrivals,
    read_answers,
    read_arrivals,
    read_profile,
)

DEFAULT_RATE = 5.0


class CapacityAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What `--json` prints. `capacity` is in requests a second, with p95 within the budget."""

    report: CapacityReport
    budget_ms: float
    capacity: float
    model_error: ModelError | None


def fit(options: CommandOptions, source: str, into: Path, cores: int | None) -> int:
    """Make a profile of a file of answers, or of what the site's streams hold (`-`). Raises `ProfileError`, `OSError`,
    and what reading the streams raises."""
    if source == "-":
        site = options.settings().site
        answers, weights = query_site(options, lambda client: read_run(client, site))
    else:
        answers, weights = read_answers(Path(source).read_bytes().splitlines()), None
    profile = fit_profile(answers, cores or os.cpu_count() or 1, weights)
    into.write_bytes(msgspec.json.encode(profile))
    print_result(profile, f"{len(answers)} answers; the profile is in {into}", options.as_json)
    return 0


async def read_run(client: Any, site: str) -> tuple[list[Published], tuple[float, float] | None]:
    """The answers that a site's streams hold, and the mean bytes of what it escalated and of the verdicts on that; None
    where there are none. Raises `TopologyMissingError`, `UnreachableError`."""
    stored = await messages(client, ANSWERS, "answers.>")
    up = await messages(client, ESCALATIONS, escalations_of(site))
    down = [
        found for source in sources_of(Verified, site) for found in await messages(client, source.stream, source.filter)
    ]
    weights = (fmean(len(each.data) for each in up), fmean(len(each.data) for each in down)) if up and down else None
    return [decode(each.data, Published) for each in stored], weights


def ask_capacity(options: CommandOptions, profile_file: Path, seed: int, given: dict[str, Any]) -> int:
    """How much load a site of this profile carries. Raises `ProfileError`, `LinkTraceError`, `OSError`."""
    profile = read_profile(profile_file.read_bytes())
    question = make_question(profile, seed, given)
    with show_progress() as progress:
        progress.start("simulating", STEPS + 2)
        report = answer_question(question)
        progress.step()
        capacity = find_capacity(question, progress.step)
        error = measure_error(profile, question.budget_ms)
        progress.step()
    answer = CapacityAnswer(report=report, budget_ms=question.budget_ms, capacity=capacity, model_error=error)
    print_result(answer, describe_capacity(answer), options.as_json)
    return 0


def make_question(profile: CapacityProfile, seed: int, given: dict[str, Any]) -> CapacityQuestion:
    """What the options ask. Raises `LinkTraceError`, `ProfileError`, `OSError`."""
    if given["arrivals"] is not None:
        arrivals = read_arrivals(given["arrivals"].read_text("utf-8"))
    else:
        rng = random.Random(f"arrivals/{seed}")
        arrivals = poisson_arrivals(given["rate"] or DEFAULT_RATE, given["requests"], rng)
    rtt_ms = profile.rtt_ms if given["rtt_ms"] is None else given["rtt_ms"]
    return CapacityQuestion(
        profile=profile,
        arrivals_ms=tuple(arrivals),
        budget_ms=given["budget_ms"],
        up=open_link(given["trace"], "up", seed, rtt_ms),
        down=open_link(given["trace_down"] or given["trace"], "down", seed, rtt_ms),
        cores=given["cores"] or profile.cores,
        hub_cores=given["hub_cores"] or profile.cores,
        workers=given["workers"],
        seed=seed,
    )


def open_link(trace: str | None, direction: Any, seed: int, rtt_ms: float) -> LinkTrace:
    """The link that was named: a file, a kind of which a trace is made up, or none. Raises `LinkTraceError`,
    `OSError`."""
    if trace is None:
        return steady_link(rtt_ms)
    for kind in SYNTHETIC:
        if trace == kind:
            return synthetic_trace(kind, direction, seed)
    return read_trace(Path(trace).read_text("utf-8"), trace, rtt_ms)


def describe_capacity(answer: CapacityAnswer) -> str:
    """The answer in lines."""
    report = answer.report
    latency = report.latency
    lines = [
        f"{report.requests} requests at {report.rate:g}/s over {report.link}",
        f"p50 {latency.p50_ms:g} ms, p95 {latency.p95_ms:g} ms, p99 {latency.p99_ms:g} ms; "
        f"{report.in_time:.1%} within {answer.budget_ms:g} ms",
        f"answered at the edge {report.at_edge:.1%}, by the cloud {report.by_cloud:.1%}; not answered "
        f"{report.not_answered:.1%}, and {report.cloud_lost:.1%} more for want of the cloud in time",
        "in use: " + ", ".join(f"{name} {share:.1%}" for name, share in report.utilisation.items()),
        f"over the link: {report.up_bytes} bytes up, {report.down_bytes} down",
        f"capacity with p95 within {answer.budget_ms:g} ms: {answer.capacity:g} requests/s",
    ]
    return "\n".join([*lines, describe_error(answer.model_error)])


def describe_error(error: ModelError | None) -> str:
    """How far the model is from the live run."""
    if error is None:
        return "the profile holds no live run to compare with"
    shares: Sequence[str] = [f"{name} {getattr(error, name):+.1%}" for name in ("p50", "p95", "p99")]
    return f"against the live run of the profile: {', '.join(shares)}"


CAPACITY_OPTIONS = (
    click.option(
        "--fit",
        metavar="FILE",
        help="Make a profile of a file of answers, one a line as JSON; `-`: of the site's streams.",
    ),
    click.option(
        "--into",
        type=click.Path(path_type=Path),
        default="profile.json",
        show_default=True,
        help="With --fit: where the profile goes.",
    ),
    click.option(
        "--profile", type=click.Path(exists=True, path_type=Path), help="Answer a capacity question by this profile."
    ),
    click.option(
        "--rate",
        type=click.FloatRange(0, min_open=True),
        help=f"Requests a second, Poisson [default: {DEFAULT_RATE:g}].",
    ),
    click.option(
        "--arrivals",
        type=click.Path(exists=True, path_type=Path),
        help="In place of --rate: milliseconds at which requests come.",
    ),
    click.option("--requests", type=click.IntRange(1), default=2000, show_default=True, help="How many requests come."),
    click.option(
        "--budget-ms",
        type=click.FloatRange(1),
        default=4000,
        show_default=True,
        help="Within how long each is to be answered.",
    ),
    click.option(
        "--trace", metavar="FILE|lte|5g|wifi", help="The link up: Mahimahi, CSV (time_ms,kbit_s,rtt_ms), or synthetic."
    ),
    click.option("--trace-down", metavar="FILE|lte|5g|wifi", help="The link down [default: that of --trace]."),
    click.option(
        "--rtt-ms", type=click.FloatRange(0), help="The round trip of a Mahimahi trace [default: the profile's]."
    ),
    click.option("--cores", type=click.IntRange(1), help="Cores of the site [default: the profile's]."),
    click.option("--hub-cores", type=click.IntRange(1), help="Cores of the hub [default: as many]."),
    click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes of each stage."),
)


def with_capacity_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options of capacity questions."""
    for option in reversed(CAPACITY_OPTIONS):
        function = option(function)
    return function
