"""A site as a gateway beside LiteLLM's proxy, in one run: whole answers, first text, capacity.

Requests come as a Poisson process whatever becomes of those before, and times count from when each was due; both sides
are asked the same wordings at the same moments of their blocks, none of them twice. LiteLLM passes each question on to
a model that answers at once, so that its time is what its own code takes; a site answers most of them itself, with
models on the processor, and sends the rest to its hub, which has that same model behind it. LiteLLM's guardrail hooks
are off for what is judged, and on for what is reported beside it. Next: litellm_entries.py, litellm_sides.py.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from itertools import islice

import click
import msgspec

from loadtests.bench.litellm_client import ChatClient, Offered, due_times, open_chat, route_of
from loadtests.bench.litellm_questions import Wordings
from loadtests.bench.litellm_sides import GatewaySides, open_gateway_sides
from loadtests.bench.measure import MeasurementError, quantile
from tidegate.schemas.pack import Pack, QuestionKind
from tidegate.services.cli.options import find_default_pack
from tidegate.services.packs.load import load_pack

RATES = (10, 25, 50, 75)
"""Requests a second."""
JUDGED = 25
"""The rate of the first line of an entry, and of what is reported of the peer's hooks."""
CLOUD_RATE = 10
BLOCK_S = 1.2
"""How long each load of a block lasts, in seconds."""
IN_FLIGHT = 32
EDGE_KINDS: tuple[QuestionKind, ...] = ("answerable", "paraphrased")
WHOLE, STREAMED, FIRST = "whole answer", "streamed answer", "first text"
CLOUD = "of the cloud"
CAPACITY, BEYOND = "answers a second", "a question of the cloud beyond LiteLLM's time, p50"
AT_EDGE, AT_CLOUD = "share answered at the edge", "share answered by the cloud"
REPLIED = "share with a reply"
HOOKS = "LiteLLM's hooks on"

Samples = dict[str, tuple[float, ...]]


class GatewayLoad(msgspec.Struct, frozen=True):
    """One side, and what it has not been asked yet."""

    client: ChatClient
    edge: Wordings
    cloud: Wordings
    block_s: float = BLOCK_S

    async def block(self, seed: str, rates: Sequence[float] = RATES, *, asks_cloud: bool = True) -> Samples:
        """Every load once: its samples by name, times in milliseconds."""
        samples: Samples = {}
        routes, sent, replied = Counter[str](), 0, 0
        for rate in rates:
            offered = await self.offer(self.edge, rate, seed)
            samples |= times_of(offered, f"{rate:g}/s")
            routes += offered.routes
            sent += offered.sent
            replied += offered.replied
        samples[REPLIED] = (replied / sent if sent else 0.0,)
        samples[AT_EDGE] = (routes["edge"] / sent if sent else 0.0,)
        if asks_cloud:
            offered = await self.offer(self.cloud, CLOUD_RATE, f"{seed}/cloud")
            samples |= times_of(offered, CLOUD)
            samples[AT_CLOUD] = (offered.routes["cloud"] / offered.sent if offered.sent else 0.0,)
        samples[CAPACITY] = (await self.client.saturate(self.edge, IN_FLIGHT, self.block_s),)
        return samples

    async def offer(self, texts: Wordings, rate: float, seed: str) -> Offered:
        """So many requests a second, at moments that the seed and the rate fix."""
        due = due_times(rate, self.block_s, f"{seed}/{rate}")
        return await self.client.offer(list(islice(texts, len(due))), due)


class GatewayRun:
    """All blocks of one number of processes, run once and looked at by every entry that is about it."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._rounds: dict[int, list[tuple[Samples, Samples]]] = {}

    async def rounds(self, repeats: int) -> AsyncIterator[tuple[Samples, Samples]]:
        """The samples of ours and of LiteLLM's, `repeats` times. Raises `MeasurementError`."""
        if repeats in self._rounds:
            for known in self._rounds[repeats]:
                yield known
            return
        run = []
        async with open_loads(self.workers) as loads:
            for name, load in loads.items():
                await load.block(f"warming {name}", (JUDGED,), asks_cloud=False)
            for number in range(repeats):
                taken: dict[str, Samples] = {}
                for name in loads if number % 2 == 0 else reversed(loads):
                    rates = (JUDGED,) if name == "guarded" else RATES
                    taken[name] = await loads[name].block(str(number), rates, asks_cloud=name != "guarded")
                run.append(put_together(taken))
                yield run[-1]
        self._rounds[repeats] = run


@contextlib.asynccontextmanager
async def open_loads(workers: int, block_s: float = BLOCK_S) -> AsyncIterator[dict[str, GatewayLoad]]:
    """`ours`, `plain` and `guarded`, ready to be asked. Raises as `open_gateway_sides`."""
    pack = load_pack(find_default_pack())
    async with contextlib.AsyncExitStack() as stack:
        sides = await stack.enter_async_context(open_gateway_sides(pack, workers))
        clients = {
            name: await stack.enter_async_context(open_chat(getattr(sides, name)))
            for name in GatewaySides.__struct_fields__
        }
        edge = await scout(clients["ours"], texts_of(pack, *EDGE_KINDS), "edge")
        cloud = await scout(clients["ours"], texts_of(pack, "hub"), "cloud")
        yield {
            name: GatewayLoad(client, Wordings(edge, len(edge)), Wordings(cloud, len(cloud)), block_s)
            for name, client in clients.items()
        }


def texts_of(pack: Pack, *kinds: QuestionKind) -> list[str]:
    """The pack's English questions of these kinds, which the wordings are made for."""
    return [
        each.text
        for each in pack.questions
        if each.kind in kinds and each.language == "en" and each.workload == "assist"
    ]


async def scout(client: ChatClient, texts: Sequence[str], route: str) -> list[str]:
    """Those that our side answers there, each asked once. Says how many. Raises `MeasurementError` where none is."""
    routes = [route_of((await client.ask(text, streaming=False)).reply) for text in texts]
    found = [text for text, taken in zip(texts, routes, strict=True) if taken == route]
    click.echo(f"{len(found)} of {len(texts)} questions are answered by the {route}: {dict(Counter(routes))}", err=True)
    if not found:
        raise MeasurementError(f"no question is answered by the {route}")
    return found


def times_of(offered: Offered, under: str) -> Samples:
    """The times of a load, named by it."""
    kinds = {WHOLE: offered.whole_ms, STREAMED: offered.streamed_ms, FIRST: offered.first_ms}
    return {f"{kind} {under}": times for kind, times in kinds.items()}


def put_together(taken: dict[str, Samples]) -> tuple[Samples, Samples]:
    """Ours and LiteLLM's of one round; what there is with its hooks on stands beside ours under names of its own."""
    ours, peer = dict(taken["ours"]), dict(taken["plain"])
    for name, values in taken["guarded"].items():
        ours[f"{name}, {HOOKS}"] = taken["ours"][name]
        peer[f"{name}, {HOOKS}"] = values
    middles = [quantile(side[f"{WHOLE} {CLOUD}"], 0.5) for side in (ours, peer)]
    if None not in middles:
        ours[BEYOND] = (middles[0] - middles[1],)  # type: ignore[operator]
    return ours, peer
