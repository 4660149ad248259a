"""What an answer of the edge takes at 10 requests a second, next to what its parts take alone.

A site of the kiosk in one process, with its gateway and audit log and without a hub; the floor is made in the bench's
own process: the hops in bare nats-py, and the embedding, search and reading of the same questions, each asked once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from loadtests.bench import bare, chain
from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Sampled, Target, interleaved
from loadtests.load.asker import Asker
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Published, Question, encode
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import LineProgress
from tidegate.services.evaluation.load_clients import LoadQuestions, open_nats_load
from tidegate.services.evaluation.open_loop import Ask, LoadReply, LoadSample, run_open_loop
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.models import build_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.prepare import prepare
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.fleet.roles import ALL, roles_of
from tidegate.services.fleet.supervisor import Supervisor
from tidegate.services.fleet.tenant_parts import find_folder
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.index.thesaurus import rewrite_query
from tidegate.services.knowledge.reader.reader import rank_for_tenant
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.load import load_pack
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

HOME = Path(".tidegate") / "edge-latency"
"""What is prepared here is kept for the next run."""
SITE, TENANT = chain.SITE, "kiosk"
RATE = 10.0
"""Requests a second, evenly: what is measured is an answer, not a queue."""
PER_BLOCK = 11
"""No question is asked twice in the blocks of a usual run and the one that warms up, since what was read once is
remembered."""
KINDS = ("answerable",)
"""Of the others too few are answered at the edge."""
BUDGET_MS = 4000
PATIENCE_S = 10.0
K = 8
ANSWER, CPU, AT_REST = "answer", "processor time of an answer", "processor time of a second at rest"
WORKED, WAITED, BESIDE = "{}, work", "{}, waiting", "stores and the way in and out"
HOPS, EMBEDDING, SEARCH, READING = "hops", "embedding", "search", "reading"
STAGES = tuple(stage.name for stage in chain.AT_EDGE)


class EdgeSite:
    """The site at work, and who asks it."""

    def __init__(self, ask: Ask, pid: int) -> None:
        self._ask = ask
        self._pid = pid
        self._asked = 0

    async def block(self) -> Sampled:
        """Milliseconds of the next `PER_BLOCK` questions that the edge answered, by part. Raises `MeasurementError`
        where it answered fewer than half."""
        first, self._asked = self._asked, self._asked + PER_BLOCK
        samples: dict[str, list[float]] = {AT_REST: [await self._at_rest_ms()]}
        replies: dict[int, LoadReply] = {}

        async def ask(number: int) -> LoadReply:
            began_s = time.perf_counter()
            replies[number] = found = await self._ask(first + number)
            add_parts(samples, found, (time.perf_counter() - began_s) * 1e3)
            return found

        failed: list[LoadSample] = []
        before_ms = processor_ms(self._pid)
        due = iter([number / RATE for number in range(PER_BLOCK)])
        await run_open_loop(ask, due, lambda sample: failed.append(sample) if sample.why else None, PATIENCE_S)
        samples[CPU] = [(processor_ms(self._pid) - before_ms) / PER_BLOCK]
        answered = samples.get(ANSWER, [])
        if len(answered) < PER_BLOCK // 2:
            raise MeasurementError(f"edge_latency: {len(answered)} of {PER_BLOCK} were answered: {failed}")
        return Sampled(statistics.median(answered), {name: tuple(values) for name, values in samples.items()})

    async def _at_rest_ms(self) -> float:
        before_ms, began_s = processor_ms(self._pid), time.perf_counter()
        await asyncio.sleep(1.0)
        return (processor_ms(self._pid) - before_ms) / (time.perf_counter() - began_s)


def add_parts(samples: dict[str, list[float]], found: LoadReply, took_ms: float) -> None:
    """Add what an answer of the edge took, by part; anything else is left out."""
    reply = found.reply
    if not isinstance(reply, Published) or reply.outcome != "answered" or reply.receipt.route != "edge":
        return
    parts = {ANSWER: took_ms, BESIDE: took_ms}
    for line in reply.timings:
        parts[WORKED.format(line.stage)] = line.worked_ms
        parts[WAITED.format(line.stage)] = line.waited_ms
        parts[BESIDE] -= line.worked_ms + line.waited_ms
    for name, ms in parts.items():
        samples.setdefault(name, []).append(ms)


def processor_ms(pid: int) -> float:
    """What a process has used of the processor, threads included (Linux, proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1e3 / os.sysconf("SC_CLK_TCK")


class EdgeFloor:
    """The parts of an answer, each alone, in this process."""

    def __init__(self, settings: Settings, questions: Sequence[LabelledQuestion], asker: Asker) -> None:
        paths = StatePaths(settings)
        self._units = UnitReader.load(paths.models)
        exact_below = settings.retriever.exact_below
        self._indexes = TenantIndexes(settings.tenants, paths.index, self._units.embedder, exact_below=exact_below)
        self._reading = TenantReading.load(settings, self._units, find_folder(paths, TENANT))
        self._questions = questions
        self._asker = asker
        self._asked = 0

    async def block(self) -> Sampled:
        """Milliseconds of the next `PER_BLOCK` questions, at the rate at which the site is asked."""
        samples: dict[str, list[float]] = {HOPS: [], EMBEDDING: [], SEARCH: [], READING: []}
        sums = []
        began_s = time.perf_counter()
        for number in range(PER_BLOCK):
            await asyncio.sleep(max(0.0, began_s + number / RATE - time.perf_counter()))
            found = await self._one(self._questions[self._asked % len(self._questions)])
            self._asked += 1
            sums.append(sum(found.values()))
            for name, ms in found.items():
                samples[name].append(ms)
        return Sampled(statistics.median(sums), {name: tuple(values) for name, values in samples.items()})

    async def _one(self, question: LabelledQuestion) -> dict[str, float]:
        found = {HOPS: await self._asker.ask()}
        language = question.language
        asked = Question(text=question.text, language=language, intent="", intent_confidence=1.0)
        index = self._indexes.index(TENANT)
        assert index is not None
        ends_s = [time.perf_counter()]
        self._units.embedder.embed(rewrite_query(question.text))
        ends_s.append(time.perf_counter())
        passages = index.find(question.text, K, language)
        ends_s.append(time.perf_counter())
        rank_for_tenant(self._reading.reader, self._indexes, TENANT, asked, passages)
        ends_s.append(time.perf_counter())
        for name, (start_s, end_s) in zip((EMBEDDING, SEARCH, READING), pairwise(ends_s), strict=True):
            found[name] = (end_s - start_s) * 1e3
        return found


@contextlib.asynccontextmanager
async def edge_site() -> AsyncIterator[tuple[EdgeSite, EdgeFloor]]:
    """The site and its floor, both warm from nothing but their start."""
    questions = [
        each for each in load_pack(find_default_pack()).questions if each.kind in KINDS and each.workload == "assist"
    ]
    async with open_edge_worker([each.text for each in questions]) as worker, bare_hops() as hops:
        yield EdgeSite(worker.ask, worker.pid), EdgeFloor(worker.settings, questions, hops)


class EdgeWorker(msgspec.Struct, frozen=True):
    """A site of the kiosk in one process, and who asks it the texts, each in its turn."""

    settings: Settings
    pid: int
    ask: Ask


@contextlib.asynccontextmanager
async def open_edge_worker(texts: Sequence[str]) -> AsyncIterator[EdgeWorker]:
    """The site at work, without a hub."""
    pack = load_pack(find_default_pack())
    settings = Settings(state_dir=str(HOME), pack_dir=str(find_default_pack()), site=SITE, tenants=(TENANT,))
    await build_models(settings, LineProgress())
    await asyncio.to_thread(prepare, settings, pack, LineProgress())
    provision_fleet(settings, (SITE,))
    async with contextlib.AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(open_fleet(HOME, [SITE], roles_of))
        await declare_fleet(fleet, tuple(WORKERS.values()))
        server = fleet.sites[SITE]
        programs = plan_programs(settings, {HUB: fleet.hub.url, SITE: server.url}, per_stage=False)
        worker = [each for each in programs if each.name == f"{SITE}/{ALL}"]
        supervisor = await stack.enter_async_context(Supervisor(worker, grace_s=settings.grace_s))
        [child] = supervisor.children.values()
        asked = LoadQuestions(texts, TENANT, BUDGET_MS)
        ask = await stack.enter_async_context(open_nats_load(server.nats, SITE, asked, PATIENCE_S, streaming=False))
        yield EdgeWorker(settings, child.pid, ask)


@contextlib.asynccontextmanager
async def bare_hops() -> AsyncIterator[Asker]:
    """Asks the hops of an edge answer in bare nats-py, at a server of their own."""
    hops = await chain.hops(chain.AT_EDGE, chain.EDGE_HANDLERS)

    def entrance(rid: str) -> tuple[str, bytes]:
        return f"{bare.PEER}.asks.{chain.TENANT}.{rid}", encode(chain.question(rid))

    with tempfile.TemporaryDirectory(prefix="hops-", dir=HOME) as directory:
        async with (
            Server(SITE, Path(directory)) as server,
            bare.walked(server.url, hops),
            Asker.open(server.url, entrance, f"live.{bare.PEER}.answers.>") as asker,
        ):
            yield asker


async def edge_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Medians over the questions of a block, in milliseconds."""
    async with edge_site() as (site, floor):
        async for block in interleaved(repeats, site.block, floor.block):
            yield block


def find_lacking() -> str:
    """Processor times of another process are read as Linux shows them."""
    return "" if Path("/proc/self/stat").exists() else "no /proc"


EDGE_LATENCY_ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="edge_latency_vs_floor",
        unit="ms, p50",
        peer_name="its hops in bare nats-py, embedding, search and reading, each alone",
        target=Target("≤", 1.4),
        blocks=edge_blocks,
        find_lacking=find_lacking,
        bars=(
            Bar(samples=ANSWER, quantile=0.5, target=Target("≤", 14)),
            Bar(samples=ANSWER, quantile=0.95),
            Bar(samples=CPU, quantile=0.5, target=Target("≤", 12)),
            Bar(samples=AT_REST, quantile=0.5),
            *(Bar(samples=form.format(name), quantile=0.5) for name in STAGES for form in (WORKED, WAITED)),
            Bar(samples=BESIDE, quantile=0.5),
            *(Bar(samples=name, quantile=0.5, of="peer") for name in (HOPS, EMBEDDING, SEARCH, READING)),
        ),
    ),
)
