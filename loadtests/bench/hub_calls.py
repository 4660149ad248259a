"""How often what answers at a hub is called for one escalation that comes by both lanes: three workers against one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

from loadtests.bench.measure import Bar, Entry, Measurement, Sampled, Target, interleaved
from loadtests.hub_workers import HubWorkers, open_hub_workers
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import LineProgress
from tidegate.services.fleet.models import build_models
from tidegate.services.fleet.prepare import prepare
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

SCRATCH = Path(".tidegate")
WORKERS_OF_OURS = 3
ESCALATIONS = 40
CALLS = "calls for an escalation"


async def calls_per_escalation(hub: HubWorkers) -> Sampled:
    """Over one block of new escalations; calls in vain count too."""
    before = await hub.counted()
    await hub.escalate(ESCALATIONS)
    more = await hub.counted() - before
    calls = (more["worked"] + more["taken_over"] + more["fenced"]) / ESCALATIONS
    return Sampled(calls, {CALLS: (calls,)})


async def call_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Calls for an escalation, by turns at a hub with three workers and at one that has a single one."""
    await asyncio.to_thread(SCRATCH.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as directory:
        pack = load_pack(find_default_pack())
        questions = [each.text for each in pack.questions if each.kind == "hub"]
        states = {count: Path(directory) / str(count) for count in (1, WORKERS_OF_OURS)}
        first = Settings(state_dir=str(states[1]), pack_dir=str(find_default_pack()))
        await build_models(first, LineProgress())
        await asyncio.to_thread(prepare, replace(first, site=HUB), pack, LineProgress())
        await asyncio.to_thread(shutil.copytree, states[1], states[WORKERS_OF_OURS])
        async with contextlib.AsyncExitStack() as stack:
            hubs = {}
            for count, state in states.items():
                settings = replace(first, state_dir=str(state))
                hubs[count] = await stack.enter_async_context(open_hub_workers(settings, questions))
                await hubs[count].scale_to(count)
            ours, peer = (partial(calls_per_escalation, hubs[count]) for count in (WORKERS_OF_OURS, 1))
            async for block in interleaved(repeats, ours, peer):
                yield block


HUB_CALLS_ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="model_calls_per_escalation",
        unit="calls",
        peer_name="a hub with one worker; ours has three",
        target=Target("≤", 1.01),
        blocks=call_blocks,
        bars=(Bar(samples=CALLS, quantile=1.0, target=Target("≤", 1.01), unit="calls"),),
    ),
)
