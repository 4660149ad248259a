"""How much longer an unlucky answer of the edge takes than a usual one, at half of what the site can answer.

Each block finds how many a second a site replies to with requests in flight all the time, and then sends it half as
many, with exponential gaps, whatever becomes of those before. Of that second part, p95 is held against p50. Some
requests are sent one after the other, too: what differs among those is the questions, not the load. No text is sent
twice. Next: edge_latency.py, whose site it is."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from itertools import islice

from loadtests.bench.edge_latency import (
    PATIENCE_S,
    WAITED,
    WORKED,
    EdgeWorker,
    add_parts,
    find_lacking,
    open_edge_worker,
)
from loadtests.bench.litellm_gateway import EDGE_KINDS, texts_of
from loadtests.bench.litellm_questions import Wordings
from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Target, quantile
from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas import Published
from tidegate.services.cli.options import find_default_pack
from tidegate.services.evaluation.open_loop import FAULTS, LoadReply, LoadSample, arrivals, run_open_loop
from tidegate.services.packs.load import load_pack

IN_FLIGHT = 16
SATURATED_S, HALF_S = 4.0, 12.0
ALONE_COUNT = 40
REPLY = "reply"
CAPACITY = "replies a second"
ALONE = "reply, one request after the other"
UNANSWERED = "share without a reply"
UNREPLIED = frozenset({"failed", "refused"})


class HalfLoad:
    """The site, and the requests that it has not had yet."""

    def __init__(self, worker: EdgeWorker) -> None:
        self._worker = worker
        self._numbers = itertools.count()

    async def saturate(self, duration_s: float) -> float:
        """Replies a second with `IN_FLIGHT` requests in flight all the time. Raises `MeasurementError` for none."""
        replied, began_s = 0, time.perf_counter()

        async def ask_on() -> None:
            nonlocal replied
            while time.perf_counter() - began_s < duration_s:
                try:
                    found = await self._worker.ask(next(self._numbers))
                except FAULTS:
                    continue  # it is no reply, and those are all that is counted
                replied += isinstance(found.reply, Published)  # not with the `await`: it would be read before that

        tasks = [asyncio.create_task(ask_on()) for _ in range(IN_FLIGHT)]
        try:
            await asyncio.gather(*tasks)
        finally:
            await end_tasks(*tasks)
        if not replied:
            raise MeasurementError("edge_half_load: nothing is replied to")
        return replied / (time.perf_counter() - began_s)

    async def offer(self, rate: float, duration_s: float, seed: int) -> dict[str, list[float]]:
        """Milliseconds until the replies to so many requests a second, from when each was due; the parts of answers."""
        parts: dict[str, list[float]] = {}
        replied_ms: list[float] = []
        unanswered = 0

        async def ask(_: int) -> LoadReply:
            began_s = time.perf_counter()
            found = await self._worker.ask(next(self._numbers))
            add_parts(parts, found, (time.perf_counter() - began_s) * 1e3)
            return found

        def note(sample: LoadSample) -> None:
            nonlocal unanswered
            if sample.became in UNREPLIED:
                unanswered += 1
            else:
                replied_ms.append(sample.final_s * 1e3)

        left = await run_open_loop(ask, arrivals(rate, duration_s, random.Random(seed)), note, PATIENCE_S)
        share = (left + unanswered) / max(1, left + unanswered + len(replied_ms))
        return {**parts, REPLY: replied_ms, UNANSWERED: [share]}

    async def ask_in_turn(self, count: int) -> list[float]:
        """Milliseconds of so many requests, each sent when the one before has its reply."""
        took_ms = []
        for _ in range(count):
            began_s = time.perf_counter()
            await self._worker.ask(next(self._numbers))
            took_ms.append((time.perf_counter() - began_s) * 1e3)
        return took_ms


async def half_load_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """p95 as ours and p50 as the peer of each block, in ms. Raises `MeasurementError` for a block without a reply."""
    texts = Wordings(texts_of(load_pack(find_default_pack()), *EDGE_KINDS))
    async with open_edge_worker(list(islice(texts, texts.count))) as worker:
        load = HalfLoad(worker)
        await load.saturate(SATURATED_S)
        for number in range(repeats):
            capacity = await load.saturate(SATURATED_S)
            samples = await load.offer(capacity / 2, HALF_S, number)
            samples |= {CAPACITY: [capacity], ALONE: await load.ask_in_turn(ALONE_COUNT)}
            high, middle = quantile(samples[REPLY], 0.95), quantile(samples[REPLY], 0.5)
            if high is None or middle is None:
                raise MeasurementError("edge_half_load: no request of a block got a reply")
            yield Measurement("ours", high, {name: tuple(values) for name, values in samples.items()})
            yield Measurement("peer", middle)


EDGE_HALF_LOAD_ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="edge_half_load",
        unit="ms, p95",
        peer_name="p50 of the same replies",
        target=Target("≤", 3.0),
        blocks=half_load_blocks,
        find_lacking=find_lacking,
        bars=(
            Bar(samples=CAPACITY, quantile=0.5, unit="a second"),
            Bar(samples=UNANSWERED, quantile=1.0, unit=""),
            *(Bar(samples=ALONE, quantile=share) for share in (0.5, 0.95)),
            *(
                Bar(samples=form.format(name), quantile=share)
                for name in ("prefilter", "retriever", "drafter", "policy", "publisher")
                for form in (WORKED, WAITED)
                for share in (0.5, 0.95)
            ),
        ),
    ),
)
