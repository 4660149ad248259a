"""`python -m tests.chaos.faults [--seed N] [--rounds N]`: a small site, asked without a pause while things fail.

Prints its seed, how long after each fault the next request was answered, and the p99 of each kind; exits with 1 where a
request was lost or answered twice. The directory is kept then."""

from __future__ import annotations

import math
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import click
import uvloop

from tests.support.request_faults import FaultySite, NotRecoveredError, faulty_site

ROUNDS = 5


async def play(directory: Path, seed: int, rounds: int) -> FaultySite:
    """Have each kind of fault happen so many times, in any order. Raises `NotRecoveredError`."""
    async with faulty_site(directory / "state", seed) as site:
        drawn = [fault for fault in site.faults for _ in range(rounds)]
        random.Random(seed).shuffle(drawn)
        for fault in drawn:
            click.echo(f"{fault}: answers again after {await site.play(fault):.2f} s")
    return site


def p99(samples: list[float]) -> float:
    """The value below which 99 of 100 are; the highest of a few."""
    return sorted(samples)[math.ceil(0.99 * len(samples)) - 1]


def report(site: FaultySite) -> str:
    """How long the site took to answer again, by kind of fault, and what became of the requests."""
    lines = [
        f"{fault:<24} p99 {p99(taken):6.2f} s, median {statistics.median(taken):6.2f} s, of {len(taken)}"
        for fault, taken in sorted(site.recovered_s.items())
    ]
    return "\n".join([*lines, f"{len(site.asked)} requests, 0 lost, 0 answered twice; {dict(site.ends)}"])


@click.command()
@click.option("--seed", type=int, default=lambda: time.time_ns() % 1_000_000, help="Of an earlier run, to replay it.")
@click.option("--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True, help="Of each kind.")
def main(seed: int, rounds: int) -> None:
    """Play, and compare."""
    click.echo(f"seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="chaos-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        site = uvloop.run(play(directory, seed, rounds))
    except NotRecoveredError as error:
        click.echo(f"seed {seed}: {error}\nall of it is kept in {directory}", err=True)
        sys.exit(1)
    shutil.rmtree(directory)
    click.echo(report(site))


if __name__ == "__main__":
    main()
