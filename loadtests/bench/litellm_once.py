"""A site and LiteLLM's proxy under one rate, once each: a look before, or instead of, the entries of the bench.

Next: litellm_gateway.py."""

from __future__ import annotations

import os

import click
import uvloop

from loadtests.bench.litellm_gateway import (
    AT_CLOUD,
    AT_EDGE,
    CAPACITY,
    CLOUD,
    FIRST,
    REPLIED,
    STREAMED,
    WHOLE,
    open_loads,
)
from loadtests.bench.litellm_proxy import find_lacking
from loadtests.bench.measure import quantile
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import ReadableConsole

SHARES = {"p50": 0.5, "p95": 0.95}


async def run_once(rate: float, seconds: float, workers: int) -> None:
    """Ask each side in turn, and print what it took. Raises as `open_loads`."""
    rows = []
    async with open_loads(workers, seconds) as loads:
        for name, load in loads.items():
            samples = await load.block("once", (rate,))
            for kind in (WHOLE, STREAMED, FIRST):
                for under in (f"{rate:g}/s", CLOUD):
                    times = samples[f"{kind} {under}"]
                    found = [f"{quantile(times, share) or 0.0:.1f}" for share in SHARES.values()]
                    rows.append((name, f"{kind} {under}, ms", str(len(times)), *found))
            others = (REPLIED, AT_EDGE, AT_CLOUD, CAPACITY)
            rows += [(name, other, "", f"{samples[other][0]:.2f}", "") for other in others]
            rows.append((name, "load average of the machine", "", f"{os.getloadavg()[0]:.1f}", ""))
    table = make_table("a site and LiteLLM", ("side", "what", "samples", *SHARES), rows, left=2)
    ReadableConsole(width=110).print(table)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rate", default=25.0, show_default=True, type=click.FloatRange(0.1), help="Requests a second.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1), help="Of each load.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 2), help="Processes of each side.")
def main(rate: float, seconds: float, workers: int) -> None:
    """Ask a site and LiteLLM's proxy, its guardrail hooks off and on, at one rate."""
    lacking = find_lacking()
    if lacking:
        raise click.UsageError(lacking)
    uvloop.run(run_once(rate, seconds, workers))


if __name__ == "__main__":
    main()
