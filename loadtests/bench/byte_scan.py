"""The bar on what is written down: of a thousand requests full of personal data, no value in any byte of any file.

Next: loadtests/personal_scan.py."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import click

from loadtests.bench.measure import Bar, Entry, Measurement, Target
from loadtests.personal_requests import personal_requests
from loadtests.personal_scan import scan, scanned_fleet
from tidegate.services.cli.progress import LineProgress
from tidegate.services.evaluation.byte_scan import find_excerpt
from tidegate.services.fleet.models import build_models
from tidegate.services.settings import Settings

SCRATCH = Path(".tidegate")
REQUESTS = 1_000
CRASHING = ("", "site1", "site2")
"""Which site's worker crashes in a block, in turn."""


async def scan_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """How many values were found, block by block of other requests to one fleet."""
    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-scan-", dir=SCRATCH) as state:
        settings = Settings(state_dir=state)
        await build_models(settings, LineProgress())
        asked = []
        async with scanned_fleet(settings, is_filled=False) as fleet:
            for number in range(repeats):
                requests = list(personal_requests(number, REQUESTS // repeats))
                answered = await fleet.ask(requests, CRASHING[number % len(CRASHING)])
                asked += requests
                result = await asyncio.to_thread(scan, settings, requests, answered)
                lost = float(result.asked - result.answered)
                found: dict[str, tuple[float, ...]] = {"at the hub": (float(result.at_hub),), "not answered": (lost,)}
                for value, paths in result.found.items():
                    click.echo(f"found {value} in {', '.join(paths)}: {_excerpt(paths[0], value)}", err=True)
                yield Measurement("ours", float(len(result.found)), found)
                yield Measurement("peer", float(result.in_control))


def _excerpt(path: str, value: str) -> str:
    """What stands around it; a store may have dropped the file meanwhile."""
    try:
        return find_excerpt(Path(path), value) or "gone from the file meanwhile"
    except FileNotFoundError:
        return "the file is gone meanwhile"


BYTE_SCAN_ENTRIES = (
    Entry(
        name="byte_scan",
        unit=f"values found in a fifth of {REQUESTS} requests, of two each, by a scan of every byte of every file",
        peer_name="the same scan of a file that holds the requests as they were asked",
        target=Target("≤", 0.0),
        blocks=scan_blocks,
        bars=(
            Bar(samples="at the hub", quantile=1.0, unit="values", target=Target("≤", 0.0)),
            Bar(samples="not answered", quantile=1.0, unit="requests", target=Target("≤", 0.0)),
        ),
    ),
)
