"""What is measured: the lines of the bench."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

from loadtests.bench import bare, chain, faststream_chain, ours, vllm_entries
from loadtests.bench.audit_entries import AUDIT_ENTRIES
from loadtests.bench.byte_scan import BYTE_SCAN_ENTRIES
from loadtests.bench.catch_up import CATCH_UP_ENTRIES
from loadtests.bench.dlp_speed import DLP_ENTRIES
from loadtests.bench.dlp_vs_presidio import PRESIDIO_ENTRIES
from loadtests.bench.drafts_forecast import FORECAST_ENTRIES
from loadtests.bench.edge_half_load import EDGE_HALF_LOAD_ENTRIES
from loadtests.bench.edge_latency import EDGE_LATENCY_ENTRIES
from loadtests.bench.edge_lm import EDGE_LM_ENTRIES
from loadtests.bench.full_stream import FULL_STREAM_ENTRIES
from loadtests.bench.hub_calls import HUB_CALLS_ENTRIES
from loadtests.bench.index_entries import INDEX_ENTRIES
from loadtests.bench.litellm_entries import LITELLM_ENTRIES
from loadtests.bench.measure import Entry, Measurement, Target, interleaved
from loadtests.bench.policy_push import POLICY_PUSH_ENTRIES
from loadtests.bench.policy_vs_rego import POLICY_VS_REGO
from loadtests.bench.race import RACE_ENTRIES
from loadtests.bench.sync_entries import SYNC_ENTRIES
from loadtests.bench.tenant_crowd import TENANT_CROWD_ENTRIES
from loadtests.bench.verifier_entailment import VERIFIER_ENTAILMENT
from loadtests.load.asker import Asker
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import encode

SCRATCH = Path(".tidegate")
"""Where the product keeps its state; a temporary directory may lie in memory, where a sync costs nothing."""
IN_FLIGHT = faststream_chain.IN_FLIGHT
LATENCY_REQUESTS = 100
RATE_REQUESTS = 400

Walked = Callable[[str, Sequence[chain.Hop]], contextlib.AbstractAsyncContextManager[None]]
"""Works the hops of a peer at the server of this URL, until left."""


@contextlib.asynccontextmanager
async def server(*, syncs_each: bool = True) -> AsyncIterator[str]:
    """The URL of one server with the product's own settings, room for two sides, and a store on disk.

    Without `syncs_each` it syncs as nats-server does by default, every two minutes: the disk then bounds neither side.
    """
    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as directory:
        settings = conf.plain(chain.SITE)
        settings["jetstream"]["max_file"] = 256 * conf.GIB
        if not syncs_each:
            settings["jetstream"].pop("sync_interval")
        async with Server(chain.SITE, Path(directory), settings) as started:
            yield started.url


def entrance(prefix: str = "") -> Callable[[str], tuple[str, bytes]]:
    """How a request enters the hops of the side whose subjects begin with `prefix`."""
    return lambda rid: (f"{prefix}asks.{chain.TENANT}.{rid}", encode(chain.question(rid)))


@contextlib.asynccontextmanager
async def askers(peer: str, walked: Walked, *, syncs_each: bool) -> AsyncIterator[tuple[Asker, Asker]]:
    """A client of ours and one of the peer's, both sides at work on one server."""
    hops = await chain.hops()
    async with (
        server(syncs_each=syncs_each) as url,
        ours.walked(url),
        walked(url, hops),
        Asker.open(url, entrance(), "live.answers.>") as ask_us,
        Asker.open(url, entrance(f"{peer}."), f"live.{peer}.answers.>") as ask_peer,
    ):
        yield ask_us, ask_peer


async def latency_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Medians, in milliseconds, of one request in flight: publication to stored answer."""
    async with askers(bare.PEER, bare.walked, syncs_each=True) as sides:
        blocks = [partial(side.median_ms, LATENCY_REQUESTS) for side in sides]
        async for block in interleaved(repeats, *blocks):
            yield block


async def throughput_blocks(repeats: int, *, syncs_each: bool = False) -> AsyncIterator[Measurement]:
    """Requests answered per second with 64 in flight."""
    async with askers(faststream_chain.PEER, faststream_chain.walked, syncs_each=syncs_each) as sides:
        blocks = [partial(side.rate, RATE_REQUESTS, IN_FLIGHT) for side in sides]
        async for block in interleaved(repeats, *blocks):
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
    *EDGE_LATENCY_ENTRIES,
    *EDGE_HALF_LOAD_ENTRIES,
    *EDGE_LM_ENTRIES,
    *CATCH_UP_ENTRIES,
    *SYNC_ENTRIES,
    *POLICY_PUSH_ENTRIES,
    POLICY_VS_REGO,
    *RACE_ENTRIES,
    *FORECAST_ENTRIES,
    *INDEX_ENTRIES,
    *AUDIT_ENTRIES,
    *DLP_ENTRIES,
    *BYTE_SCAN_ENTRIES,
    *PRESIDIO_ENTRIES,
    *TENANT_CROWD_ENTRIES,
    *FULL_STREAM_ENTRIES,
    VERIFIER_ENTAILMENT,
    *HUB_CALLS_ENTRIES,
    *LITELLM_ENTRIES,
    *vllm_entries.ENTRIES,
)
