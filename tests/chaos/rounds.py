"""`python -m tests.chaos.rounds [--seed N] [--rounds N]`: a hub and three sites, cut, killed, fed duplicates.

Prints its seed, what happened in each round, and what was compared; exits with 1 where anything is not as it was
written. The directory is in memory where there is room, and is kept where something failed."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
import uvloop

from loadtests.sync.domains import NotInTimeError
from tests.support.chaos_rounds import ChaosError, chaos_rounds

ROUNDS, HEAL_EVERY = 200, 10


async def play(directory: Path, seed: int, rounds: int, heal_every: int) -> None:
    """Play the rounds; raises what is wrong."""
    begun_s = time.monotonic()
    async with chaos_rounds(directory, seed, click.echo) as chaos:
        await chaos.run(rounds, heal_every)
        edits = chaos.edits.written.attempts
        answered = sum(each.dot is not None for each in edits)
        click.echo(f"{rounds} rounds in {time.monotonic() - begun_s:.0f} s: {chaos.did}")
        click.echo(f"{len(edits)} edits, {answered} answered, 0 lost, 0 resurrected, 0 leaked; seed {seed}")
        healed_s = sorted(chaos.healed_s)
        click.echo(f"healed in {healed_s[len(healed_s) // 2]:.1f} s, the longest {healed_s[-1]:.1f} s")


@click.command()
@click.option("--seed", type=int, default=lambda: time.time_ns() % 1_000_000, help="Of an earlier run, to replay it.")
@click.option("--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True)
@click.option("--heal-every", type=click.IntRange(min=1), default=HEAL_EVERY, show_default=True)
def main(seed: int, rounds: int, heal_every: int) -> None:
    """Play so many rounds, and heal and compare after every few of them."""
    click.echo(f"seed {seed}")
    directory = Path(tempfile.mkdtemp(prefix="chaos-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        uvloop.run(play(directory, seed, rounds, heal_every))
    except (ChaosError, NotInTimeError) as error:
        click.echo(f"{error}\nall of it is kept in {directory}", err=True)
        sys.exit(1)
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
