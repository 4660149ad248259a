"""`python -m tests.chaos.faults [--seed N] [--requests N] [--faults N]`: a small site, asked without a pause while
things fail.

Prints its seed, how long after each fault the next request was answered, the p99 of each kind, and what became of the
requests; exits with 1 where one was lost, answered twice, or not answered without a reason. The directory is kept
then."""

from __future__ import annotations

import math
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import uvloop

from tests.support.request_faults import FaultySite, NotRecoveredError, faulty_site

FAULTS = 50


async def play(directory: Path, seed: int, faults: int, requests: int = 0) -> FaultySite:
    """Have so many faults happen, spread over at least so many requests. Raises `NotRecoveredError`."""
    async with faulty_site(directory / "state", seed) as site:
        for number, fault in enumerate(draw_faults(list(site.faults), faults, random.Random(seed))):
            await site.until_asked(requests * number // faults)
            taken_s = await site.play(fault)
            click.echo(
                f"{number + 1}/{faults} {fault}: answers again after {taken_s:.2f} s; {len(site.asked)} requests"
            )
        await site.until_asked(requests)
    return site


def draw_faults(kinds: Sequence[str], count: int, dice: random.Random) -> list[str]:
    """So many faults: rounds in each of which all kinds come in any order; the last may be cut short."""
    rounds = [dice.sample(kinds, len(kinds)) for _ in range(math.ceil(count / len(kinds)))]
    return [kind for each in rounds for kind in each][:count]


def p99(samples: list[float]) -> float:
    """The value below which 99 of 100 are; the highest of a few."""
    return sorted(samples)[math.ceil(0.99 * len(samples)) - 1]


def report(site: FaultySite) -> str:
    """How long the site took to answer again, by kind of fault, and what became of the requests."""
    lines = [
        f"{fault:<24} p99 {p99(taken):6.2f} s, median {statistics.median(taken):6.2f} s, of {len(taken)}"
        for fault, taken in sorted(site.recovered_s.items())
    ]
    ends = ", ".join(f"{count} {end}" for end, count in site.ends.most_common())
    return "\n".join([*lines, f"{len(site.asked)} requests, 0 lost, 0 answered twice; replies: {ends}"])


@click.command()
@click.option("--seed", type=int, default=lambda: time.time_ns() % 1_000_000, help="Of an earlier run, to replay it.")
@click.option("--faults", type=click.IntRange(min=1), default=FAULTS, show_default=True, help="Of all kinds.")
@click.option("--requests", type=click.IntRange(min=0), default=0, help="At least so many, with the faults among them.")
def main(seed: int, faults: int, requests: int) -> None:
    """Play, and compare."""
    click.echo(f"seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="chaos-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        site = uvloop.run(play(directory, seed, faults, requests))
    except NotRecoveredError as error:
        click.echo(f"seed {seed}: {error}\nall of it is kept in {directory}", err=True)
        sys.exit(1)
    shutil.rmtree(directory)
    click.echo(report(site))


if __name__ == "__main__":
    main()
