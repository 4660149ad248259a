"""What is measured: the lines of the bench."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

from loadtests.bench import bare, chain, faststream_chain, ours, vllm_entries
from loadtests.bench.edge_lm import EDGE_LM_ENTRIES
from loadtests.bench.measure import Entry, Measurement, Target, interleaved
from loadtests.bench.race import RACE_ENTRIES
from loadtests.load.asker import Asker
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import encode

SCRATCH = Path(".tidegate")
"""Where the product keeps its state; a temporary directory may lie in memory, where a sync costs nothing."""
IN_FLIGHT = faststream_chain.IN_FLIGHT
LATENCY_REQUESTS = 100
RATE_REQUESTS = 400


@contextlib.asynccontextmanager
async def server(*, syncs_each: bool = True) -> AsyncIterator[str]:
    """The URL of one server with the product's own settings, room for two sides, and a store on disk.

    Without `syncs_each` it syncs as nats-server does by default, every two minutes: the disk then bounds neither side.
    """
    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as directory:
        settings = conf.plain(chain.SITE, max_file_bytes=256 * conf.GIB)
        if not syncs_each:
            settings["jetstream"].pop("sync_interval")
        async with Server(chain.SITE, Path(directory), settings) as started:
            yield started.url


def entrance(prefix: str = "") -> Callable[[str], tuple[str, bytes]]:
    """How a request enters the hops of the side whose subjects begin with `prefix`."""
    return lambda rid: (f"{prefix}asks.{chain.TENANT}.{rid}", encode(chain.question(rid)))


async def latency_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Medians, in milliseconds, of one request in flight: publication to stored answer."""
    hops = await chain.hops()
    async with (
        server() as url,
        ours.walked(url),
        bare.walked(url, hops),
        Asker.open(url, entrance(), "live.answers.>") as ask_us,
        Asker.open(url, entrance("bare."), "live.bare.answers.>") as ask_peer,
    ):
        async for block in interleaved(
            repeats, lambda: ask_us.median_ms(LATENCY_REQUESTS), lambda: ask_peer.median_ms(LATENCY_REQUESTS)
        ):
            yield block


async def throughput_blocks(repeats: int, *, syncs_each: bool = False) -> AsyncIterator[Measurement]:
    """Requests answered per second with 64 in flight."""
    hops = await chain.hops()
    async with (
        server(syncs_each=syncs_each) as url,
        ours.walked(url),
        faststream_chain.walked(url, hops),
        Asker.open(url, entrance(), "live.answers.>") as ask_us,
        Asker.open(url, entrance("faststream."), "live.faststream.answers.>") as ask_peer,
    ):
        async for block in interleaved(
            repeats, lambda: ask_us.rate(RATE_REQUESTS, IN_FLIGHT), lambda: ask_peer.rate(RATE_REQUESTS, IN_FLIGHT)
        ):
            yield block


ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="pipeline_latency_vs_floor",
        unit="ms, p50",
        peer_name="bare nats-py: push consumers, awaited publish, ack",
        target=Target("≤", 1.5),
        blocks=latency_blocks,
    ),
    Entry(
        name="pipeline_throughput_vs_faststream",
        unit="requests/s",
        peer_name=f"FastStream 0.7: push subscribers, max_workers={IN_FLIGHT}",
        target=Target("≥", 2.0),
        blocks=throughput_blocks,
    ),
    Entry(
        name="pipeline_throughput_vs_faststream_fsynced",
        unit="requests/s",
        peer_name=f"FastStream 0.7: push subscribers, max_workers={IN_FLIGHT}; every message fsynced on both sides",
        target=Target("≥", 1.0),
        blocks=partial(throughput_blocks, syncs_each=True),
    ),
    *EDGE_LM_ENTRIES,
    *RACE_ENTRIES,
    *vllm_entries.ENTRIES,
)
