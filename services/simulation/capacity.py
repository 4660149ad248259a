"""How much load a site carries: requests of a profile come at a rate, and wait for workers, cores and the link.

Promises that nothing but the arguments and the seed decides the outcome. Runs on the simulated time of the pipeline's
simulation, and is none of its code: work is waited for, not done. Next: profile.py, link_traces.py."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from tidegate.schemas import replace
from tidegate.services.pipeline import SITE_WORKERS, WORKERS
from tidegate.services.simulation.link_traces import LinkTrace, steady_link
from tidegate.services.simulation.profile import (
    HUB_STAGE,
    LINK_STAGE,
    CapacityProfile,
    Latency,
    RequestSample,
    RequestStep,
    poisson_arrivals,
)
from tidegate.services.simulation.virtual_time import run_simulated

STEPS = 7
"""How often the range of rates is halved, in search of the highest that is in time."""
LEAST_REQUESTS = 2000
"""Fewer of them say too little of a p95."""
MOST_RATE = 10_000.0
"""Where the search begins for a profile of requests that take no time."""


class CapacityQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked: requests come at these times (milliseconds), each with a budget, over these links, to `workers`
    processes of each stage on `cores` cores; the hub has `hub_cores`."""

    profile: CapacityProfile
    arrivals_ms: tuple[float, ...]
    budget_ms: float
    up: LinkTrace
    down: LinkTrace
    cores: int
    hub_cores: int
    workers: int = 1
    seed: int = 1


class CapacityReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of them. Shares are of all requests; `utilisation` is the share of the time for which slots of a
    stage, or cores, were taken; bytes went over the link. `cloud_lost`: the hub's answer was not there in time."""

    requests: int
    rate: float
    latency: Latency
    in_time: float
    at_edge: float
    by_cloud: float
    cloud_lost: float
    not_answered: float
    utilisation: dict[str, float]
    up_bytes: int
    down_bytes: int
    link: str


class ModelError(msgspec.Struct, frozen=True):
    """How far the model is from the live run that the profile is of: simulated over measured, less 1."""

    simulated: Latency
    measured: Latency
    p50: float
    p95: float
    p99: float


class _Slots:
    """What is taken for some time, first come, first served; it counts for how long."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.taken_s = 0.0
        self._free = asyncio.Semaphore(count)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        async with self._free:
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            try:
                yield
            finally:
                self.taken_s += loop.time() - began_s


class _Direction:
    """One direction of the link: what is sent waits for what was sent before."""

    def __init__(self, trace: LinkTrace) -> None:
        self._trace = trace
        self._free_ms = 0.0
        self.bytes = 0.0

    async def send(self, size: float) -> None:
        """Until the last byte is on the other side."""
        loop = asyncio.get_running_loop()
        self.bytes += size
        now_ms = loop.time() * 1000
        self._free_ms = self._trace.crossed_ms(max(now_ms, self._free_ms), size)
        await asyncio.sleep((self._free_ms - now_ms + self._trace.rtt_at(now_ms) / 2) / 1000)


class _LoadedSite:
    """A site under the load of one question."""

    def __init__(self, question: CapacityQuestion) -> None:
        self._question = question
        self._profile = question.profile
        self._rng = random.Random(f"samples/{question.seed}")
        self._stages = {each.name: _Slots(each.concurrency * question.workers) for each in WORKERS.values()}
        self._cores, self._hub_cores = _Slots(question.cores), _Slots(question.hub_cores)
        self._up, self._down = _Direction(question.up), _Direction(question.down)
        self._took_ms: list[float] = []
        self._ends: Counter[str] = Counter()

    async def run(self) -> CapacityReport:
        """Until the last request is answered."""
        loop = asyncio.get_running_loop()
        running = set()
        for at_ms in self._question.arrivals_ms:
            await asyncio.sleep(max(0.0, at_ms / 1000 - loop.time()))
            running.add(loop.create_task(self._serve(self._rng.choice(self._profile.samples))))
        for task in running:
            await task
        return self._report(loop.time())

    async def _serve(self, sample: RequestSample) -> None:
        loop = asyncio.get_running_loop()
        began_s, end = loop.time(), "at_edge" if sample.route == "edge" else "by_cloud"
        if sample.outcome != "answered":
            end = "not_answered"
        names = {step.stage for step in sample.steps}
        for step in sample.steps:
            if step.stage == LINK_STAGE and HUB_STAGE in names:
                continue  # what it took was the link, which has a time of its own here
            if step.stage == HUB_STAGE:
                end = end if await self._ask_hub(step.worked_ms, began_s) else "cloud_lost"
            else:
                await self._work(step.stage, step.worked_ms, self._cores)
        self._ends[end] += 1
        self._took_ms.append((loop.time() - began_s) * 1000)

    async def _work(self, stage: str, worked_ms: float, cores: _Slots) -> None:
        await asyncio.sleep(self._profile.hops_ms.get(stage, 0.0) / 1000)
        async with self._stages[stage].one(), cores.one():
            await asyncio.sleep(worked_ms / 1000)

    async def _ask_hub(self, worked_ms: float, began_s: float) -> bool:
        """Whether its answer is back while there is time; what was sent crosses all the same."""
        loop = asyncio.get_running_loop()
        asking = loop.create_task(self._round_trip(worked_ms))
        left_s = self._question.budget_ms / 1000 - (loop.time() - began_s)
        done, _ = await asyncio.wait([asking], timeout=max(0.0, left_s))
        return bool(done)

    async def _round_trip(self, worked_ms: float) -> None:
        async with self._stages[LINK_STAGE].one():
            await self._up.send(self._profile.up_bytes)
            await self._work(HUB_STAGE, worked_ms, self._hub_cores)
            await self._down.send(self._profile.down_bytes)

    def _report(self, took_s: float) -> CapacityReport:
        count, asked_s = len(self._took_ms), self._question.arrivals_ms[-1] / 1000
        shares = {end: self._ends[end] / count for end in ("at_edge", "by_cloud", "cloud_lost", "not_answered")}
        slots = {each.name: self._stages[each.name] for each in SITE_WORKERS}
        slots |= {HUB_STAGE: self._stages[HUB_STAGE], "cores": self._cores, "hub cores": self._hub_cores}
        return CapacityReport(
            requests=count,
            rate=round(count / asked_s, 3) if asked_s else 0.0,
            latency=Latency.of(self._took_ms),
            in_time=round(sum(took <= self._question.budget_ms for took in self._took_ms) / count, 4),
            utilisation={name: round(each.taken_s / (each.count * took_s), 4) for name, each in slots.items()},
            up_bytes=round(self._up.bytes),
            down_bytes=round(self._down.bytes),
            link=self._question.up.label,
            **{end: round(share, 4) for end, share in shares.items()},
        )


def answer_question(question: CapacityQuestion) -> CapacityReport:
    """What becomes of the requests."""

    async def main() -> CapacityReport:
        return await _LoadedSite(question).run()

    return run_simulated(main, question.seed)


def find_capacity(question: CapacityQuestion, report_step: Callable[[], None] = lambda: None) -> float:
    """The highest rate a second at which p95 is within the budget, and which the cores can carry for ever; 0 where none
    is. Arrivals are Poisson, at least `LEAST_REQUESTS`; the rate is found to 1 in 2^7 of what the cores can carry."""
    count = max(LEAST_REQUESTS, len(question.arrivals_ms))
    low, high = 0.0, bound_of(question)
    for _ in range(STEPS):
        middle = (low + high) / 2
        arrivals = poisson_arrivals(middle, count, random.Random(f"arrivals/{question.seed}"))
        report = answer_question(replace(question, arrivals_ms=tuple(arrivals)))
        low, high = (middle, high) if report.latency.p95_ms <= question.budget_ms else (low, middle)
        report_step()
    return round(low, 3)


def bound_of(question: CapacityQuestion) -> float:
    """Requests a second beyond which queues grow for ever: a run that ends would not show it."""
    samples = question.profile.samples
    hub_ms = sum(step.worked_ms for each in samples for step in each.steps if step.stage == HUB_STAGE) / len(samples)
    site_ms = sum(step.worked_ms for each in samples for step in site_steps(each)) / len(samples)
    carried = [1000 * cores / ms for cores, ms in ((question.cores, site_ms), (question.hub_cores, hub_ms)) if ms]
    return min([MOST_RATE, *carried])


def site_steps(sample: RequestSample) -> list[RequestStep]:
    """What is done on the site's cores: not at the hub, nor waiting for it."""
    is_asked = any(step.stage == HUB_STAGE for step in sample.steps)
    return [step for step in sample.steps if step.stage != HUB_STAGE and not (step.stage == LINK_STAGE and is_asked)]


def measure_error(profile: CapacityProfile, budget_ms: float) -> ModelError | None:
    """The model held against the run that the profile is of: its arrivals, its machine, its link; None without one.

    The samples and what they are held against are of different requests of that run.
    """
    if profile.live is None:
        return None
    link = steady_link(profile.rtt_ms)
    question = CapacityQuestion(
        profile=replace(profile, up_bytes=0.0, down_bytes=0.0),  # the round trip was measured with its bytes
        arrivals_ms=profile.live.arrivals_ms,
        budget_ms=budget_ms,
        up=link,
        down=link,
        cores=profile.cores,
        hub_cores=profile.cores,
    )
    simulated, measured = answer_question(question).latency, profile.live.latency
    pairs = [(getattr(simulated, name), getattr(measured, name)) for name in Latency.__struct_fields__]
    return ModelError(simulated, measured, *(round(mine / real - 1, 4) if real else 0.0 for mine, real in pairs))
