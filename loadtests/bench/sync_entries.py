"""What is measured of sync between servers: the lines of the bench, at the sizes that they are judged by and at others.

`python -m loadtests.bench.sync_entries --documents N --outstanding N --only NAME` measures at other sizes. Next:
sync_latency.py, sync_catch_up.py, sync_drift.py, sync_snapshot.py.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import msgspec
import uvloop

from loadtests.bench import sync_catch_up, sync_drift, sync_latency, sync_snapshot
from loadtests.bench.measure import MIN_REPEATS, Bar, Entry, Target, measure
from loadtests.sync.domains import MODEL

SCRATCH = Path(".tidegate")
"""Where the product keeps its state: a temporary directory may lie in memory, where a flush costs nothing."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured; by default what ends within minutes. `published` is of each block."""

    documents: int = 10_000
    outstanding: int = 6_000
    published: int = 20
    megabytes: int = 100
    peer_megabytes: int = 20


def entries(sizes: Sizes, directory: Path = SCRATCH) -> tuple[Entry, ...]:
    """The entries at these sizes; what they store is below `directory` while they run."""
    found = (
        _publish_to_searchable(sizes, directory),
        _catch_up(sizes, directory),
        _drift(sizes, directory),
        _snapshot(sizes, directory),
    )
    return tuple(msgspec.structs.replace(each, find_lacking=_find_lacking) for each in found)


def _find_lacking() -> str:
    return "" if MODEL.is_dir() else f"no {MODEL} (`make models` builds it)"


def _publish_to_searchable(sizes: Sizes, directory: Path) -> Entry:
    return Entry(
        name="sync_publish_to_searchable",
        unit="ms, p50, from the request to the hub until a search at the site finds it",
        peer_name="a bare message by nats-py through the same leaf and a mirror: neither signed, verified nor indexed",
        target=Target("≤", 50.0),
        blocks=partial(sync_latency.publish_blocks, documents=sizes.published, directory=directory),
        bars=(
            Bar(samples=sync_latency.IN_INDEX, quantile=0.5, target=Target("≤", 250.0)),
            Bar(samples=sync_latency.IN_INDEX, quantile=0.95, target=Target("≤", 1000.0)),
            Bar(samples=sync_latency.IN_STORE, quantile=0.5),
            Bar(samples=sync_latency.IN_STORE, quantile=0.95),
        ),
    )


def _catch_up(sizes: Sizes, directory: Path) -> Entry:
    most = partial(Bar, quantile=1.0, unit="s")
    return Entry(
        name="sync_catch_up",
        unit=f"s until the hub, killed with its worker, has stored the {sizes.outstanding} edits that waited at a site",
        peer_name="nats-server's own source of the same stream, which verifies and stores nothing",
        target=Target("≤", 20.0),
        blocks=partial(sync_catch_up.catch_up_blocks, outstanding=sizes.outstanding, directory=directory),
        bars=(
            most(samples=sync_catch_up.HUB_KILLED, target=Target("≤", 10.0)),
            most(samples=sync_catch_up.SITE_KILLED_FEW, target=Target("≤", 2.0)),
            most(samples=sync_catch_up.SITE_KILLED),
            most(samples=sync_catch_up.SITE_KILLED_FEW, of="peer"),
            most(samples=sync_catch_up.SITE_KILLED, of="peer"),
        ),
    )


def _drift(sizes: Sizes, directory: Path) -> Entry:
    return Entry(
        name="drift_repair_bytes_vs_resync",
        unit=f"bytes over the leaf to repair one flipped byte among {sizes.documents} documents",
        peer_name="a full resync: an empty disk and an empty mirror of the snapshots, filled again",
        target=Target("≤", 0.05),
        blocks=partial(sync_drift.drift_blocks, documents=sizes.documents, directory=directory),
        bars=(
            Bar(samples=sync_drift.ON_WIRE, quantile=1.0, unit="bytes", target=Target("≤", 65_536.0)),
            Bar(samples=sync_drift.REPORTED, quantile=1.0, unit="bytes"),
            Bar(samples=sync_drift.REPAIR_S, quantile=1.0, unit="s"),
            Bar(samples=sync_drift.RESYNC_S, quantile=1.0, unit="s", of="peer"),
        ),
    )


def _snapshot(sizes: Sizes, directory: Path) -> Entry:
    return Entry(
        name="sync_snapshot",
        unit=f"MB/s that a site reads and verifies from its mirror, an object of {sizes.megabytes} MB",
        peer_name=f"the object store of nats-py on the same server, {sizes.peer_megabytes} MB",
        target=Target("≥", 1.0),
        blocks=partial(
            sync_snapshot.snapshot_blocks,
            documents=sizes.documents,
            megabytes=sizes.megabytes,
            peer_megabytes=sizes.peer_megabytes,
            directory=directory,
        ),
        bars=(
            Bar(samples="MB/s", quantile=0.0, unit="MB/s", target=Target("≥", 100.0)),
            Bar(samples=sync_snapshot.OPENED, quantile=1.0, unit="s", target=Target("≤", 2.0)),
            Bar(samples=sync_snapshot.ON_WIRE, quantile=1.0, unit="", target=Target("≤", 1.25)),
            Bar(samples=sync_snapshot.DOWNLOADED, quantile=1.0, unit="s"),
            Bar(samples=sync_snapshot.JOINED, quantile=1.0, unit="s"),
        ),
    )


SYNC_ENTRIES = entries(Sizes())


async def _print_all(sizes: Sizes, only: str, directory: Path) -> None:
    for entry in entries(sizes, directory):
        if entry.name.startswith(only):
            measured = await measure(entry, MIN_REPEATS, lambda: None)
            click.echo(msgspec.json.format(msgspec.json.encode(measured.result), indent=1).decode())


@click.command()
@click.option("--documents", type=click.IntRange(min=100), default=Sizes().documents, show_default=True)
@click.option("--outstanding", type=click.IntRange(min=1), default=Sizes().outstanding, show_default=True)
@click.option("--only", default="", help="The beginning of the name of the entry that is wanted.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path), default=SCRATCH, show_default=True)
def main(documents: int, outstanding: int, only: str, directory: Path) -> None:
    """Measure the entries at these sizes."""
    uvloop.run(_print_all(Sizes(documents=documents, outstanding=outstanding), only, directory))


if __name__ == "__main__":
    main()
