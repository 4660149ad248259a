"""`tidegate sim`: the whole pipeline under faults on simulated time. Next: services/simulation/engine.py; and
sim_capacity.py, which asks how much load a site carries.

Promises that the same seed gives the same run, and an exit code of 1 where a promise was broken."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.sim_capacity import ask_capacity, fit, with_capacity_options
from tidegate.services.simulation.engine import SimulationOutcome, Simulator
from tidegate.services.simulation.world import open_world

MOST_SHOWN = 10
"""So many violations of a run are printed."""


@click.command("sim")
@with_options("site", "as_json")
@click.option("--seed", type=click.IntRange(0), help="Run this seed alone, and print what came of it.")
@click.option("--seeds", default=200, show_default=True, type=click.IntRange(1), help="How many seeds to run.")
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="The first of them.")
@with_capacity_options
def sim(options: CommandOptions, seed: int | None, seeds: int, first: int, **capacity: Any) -> int:
    """Run the whole pipeline on simulated time while deliveries come late, twice and out of order, processes are
    killed, the link and the hub go, disks are slow or full. Exit code 1 where a seed broke a promise.

    A seed is the same run each time. docs/simulation.md lists the promises by number.

    With --profile it says instead how much load a site carries, by the times of a live run that --fit has read; what
    --seed then draws is when requests come, and which.
    """
    if capacity["fit"] is not None:
        return fit(options, capacity["fit"], capacity["into"], capacity["cores"])
    if capacity["profile"] is not None:
        return ask_capacity(options, capacity["profile"], seed or 0, capacity)
    return run_simulations(options, seed, range(first, first + seeds))


def run_simulations(options: CommandOptions, seed: int | None, seeds: Sequence[int]) -> int:
    """Run one seed, or all of these."""
    numbers = seeds if seed is None else (seed,)
    began_s, outcomes = time.process_time(), run_seeds(Path(options.settings().models_dir), numbers)
    took_s = time.process_time() - began_s
    print_result(outcomes if seed is None else outcomes[0], describe_runs(outcomes, took_s), options.as_json)
    return 1 if any(each.violations for each in outcomes) else 0


def run_seeds(models: Path, numbers: Sequence[int]) -> list[SimulationOutcome]:
    """The outcome of each seed. Raises as `open_world` and `Simulator.run_seed` do."""
    with show_progress() as progress:
        progress.start("opening models", 1)
        with open_world(models) as world:
            simulator, outcomes = Simulator(world), []
            progress.start("running seeds", len(numbers))
            for number in numbers:
                outcomes.append(simulator.run_seed(number))
                progress.step()
    return outcomes


def describe_runs(outcomes: Sequence[SimulationOutcome], took_s: float) -> str:
    """What was broken, seed by seed, and what ran; `took_s` is processor time."""
    lines = []
    for each in outcomes:
        lines += [f"seed {each.seed}: {broken.number} {broken.name}: {broken.seen}" for broken in each.violations][
            :MOST_SHOWN
        ]
    counts: Counter[str] = Counter()
    for each in outcomes:
        counts.update(each.outcomes)
    broken_by = sum(bool(each.violations) for each in outcomes)
    first, last = outcomes[0].seed, outcomes[-1].seed
    lines.append(
        f"seeds {first} to {last}: {broken_by} broke a promise; {sum(each.requests for each in outcomes)} requests, "
        f"{', '.join(f'{count} {outcome}' for outcome, count in counts.most_common())}; "
        f"{sum(each.kills for each in outcomes)} processes killed; {took_s:.1f} s of processor time"
    )
    if len(outcomes) == 1:
        lines.append(f"digest {outcomes[0].digest}: the same wherever the same happens")
    return "\n".join(lines)
