"""The stages of a simulated site: the handlers of the real ones, over the world that all runs share.

Each is as the stage's own `open` makes it, but for what loads models, watches files or counts for a monitor. Whatever a
process learns, it learns anew at each start. Next: hub_stages.py; services/stages."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from tidegate.brokers.base import Bus
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.stage import Handler
from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Asked,
    Drafted,
    Escalated,
    Message,
    Partial,
    Passage,
    Question,
    Replied,
    Retrieved,
    Routed,
    Screened,
    Verified,
    Withheld,
    decode,
    encode,
    subjects,
)
from tidegate.services.fleet.machine_clock import open_freshness
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.fleet.switches import SiteSwitches
from tidegate.services.knowledge.reader.reader import answer_for_tenant
from tidegate.services.llm.site_model import SiteModel
from tidegate.services.packs.load import identify_pack
from tidegate.services.pipeline import WORKERS
from tidegate.services.planning.degradation import LatencyModel
from tidegate.services.planning.planner import with_evidence
from tidegate.services.simulation.process import SimulatedLife
from tidegate.services.simulation.world import SITE, SimulatedWorld, remember
from tidegate.services.stages import drafter, fast_lane, policy, publisher, retriever, router
from tidegate.services.stages.drafter.handler import DrafterPorts, MakeDraft, draft
from tidegate.services.stages.drafter.latency import DrafterLatency
from tidegate.services.stages.drafter.verifying import DraftVerifier
from tidegate.services.stages.fast_lane.handler import FastLanePorts, ask_in_time
from tidegate.services.stages.policy.handler import PolicyPorts, judge, judge_partial
from tidegate.services.stages.prefilter.handler import screen
from tidegate.services.stages.publisher.handler import PublisherPorts, publish
from tidegate.services.stages.retriever.handler import RetrieverPorts, retrieve
from tidegate.services.stages.router.handler import route
from tidegate.services.stages.router.signals import SignalCollector
from tidegate.services.streaming.log_writer import AnswerLogWriter

P = ParamSpec("P")
T = TypeVar("T")

SURE_OF_NOTHING = 1.1
"""A confidence that no answer has."""


class SiteStages:
    """Opens the stages of the site for one process after another."""

    def __init__(self, world: SimulatedWorld) -> None:
        site = world.site
        self._world = world
        self._settings = site.settings
        freshness = open_freshness(site.settings)
        self._find = remember(partial(retriever.find, site.indexes, freshness), lambda *asked: asked)
        self._read = remember(
            lambda retrieved: drafter.read(self._reading(retrieved.tenant), site.indexes, world.tokens, retrieved),
            lambda retrieved: (retrieved.tenant, retrieved.question, retrieved.passages, is_reranked(retrieved)),
        )
        self._answer_alone = remember(self._answer_from, lambda *asked: asked)
        self._versions = (
            Artefact("software", "tidegate", "simulated"),
            Artefact("pack", *identify_pack(Path(site.settings.pack_dir))),
        )
        self.open_by_name: dict[str, Callable[[Bus, SimulatedLife], AbstractAsyncContextManager[Handler]]] = {
            "prefilter": self.prefilter,
            "router": self.router,
            "retriever": self.retriever,
            "drafter": self.drafter,
            "fast-lane": self.fast_lane,
            "policy": self.policy,
            "publisher": self.publisher,
        }

    @asynccontextmanager
    async def prefilter(self, _: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/prefilter`."""
        ports, rules = self._world.screening

        async def handler(asked: Asked) -> list[Message]:
            await life.work()
            return await screen(asked, ports, rules)

        yield handler

    @asynccontextmanager
    async def router(self, bus: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/router`; the machine is never under load."""
        collector = SignalCollector(bus, SITE, [WORKERS[name] for name in router.QUEUES], self._settings.tenants)
        await collector.learn_from_answers()

        async def collect() -> None:
            await collector.collect()
            collector.signals = dataclasses.replace(collector.signals, load=0.0)

        async def keep_collecting() -> None:
            while True:
                await asyncio.sleep(self._settings.router.ping_every_s)
                await collect()

        await collect()
        collecting = asyncio.get_running_loop().create_task(keep_collecting())

        async def handler(screened: Screened) -> list[Message]:
            own = await self._world.routing.at(screened.tenant, screened.generation)
            assert own is not None  # the world has a pack
            config = dataclasses.replace(own.config, mode="race") if life.draws.schedule.races else own.config
            decide = partial(router.decide_by, dataclasses.replace(own, config=config), collector.signals)
            [routed] = await route(screened, decide=decide, clock=time.time)
            return [router.with_prompts(routed, own.prompts)]

        try:
            yield handler
        finally:
            await end_tasks(collecting)

    @asynccontextmanager
    async def retriever(self, _: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/retriever`."""
        latency = LatencyModel("retriever", {"full": 0.0, "fewer_passages": 0.0}, time.time)
        ports = RetrieverPorts(working(life, self._find), latency.required_degradation)

        async def handler(routed: Routed) -> list[Message]:
            began_s = time.perf_counter()
            [retrieved] = await retrieve(routed, ports)
            if routed.plan.k > 0:
                latency.observe(latency.level_of(retrieved), (time.perf_counter() - began_s) * 1000)
            return [retrieved]

        yield handler

    @asynccontextmanager
    async def drafter(self, bus: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/drafter`; the hub's backend verifies no drafts, so that no session is ever planned."""
        latency, verifier = DrafterLatency(), DraftVerifier()
        readings = self._world.site.readings
        detector_of = partial(drafter.detector_of, readings, self._settings)
        cache = await drafter.open_answer_cache(self._settings, bus, detector_of, self._world.tokens)

        async def never_planned(escalated: Escalated) -> Verified:
            raise AssertionError(f"a session was planned for {escalated.rid}")

        async def handler(retrieved: Retrieved) -> list[Message]:
            reading, began_s = await readings.at(retrieved.tenant, retrieved.generation), time.perf_counter()
            ports = DrafterPorts(
                read=partial(self._read_working, life),
                extract=working(life, drafter.extracting(self._settings, no_model, self._world.fields)),
                publish_partial=partial(drafter.publish_partial, bus),
                required_degradation=latency.required_degradation,
                verify_interactively=never_planned,
                cached_answer=cache.find,
                forecast=with_evidence,
                verify=partial(verifier.verify, reading.policies if reading else ()),
            )
            rules = drafter.rules_of(reading, self._settings)
            if life.draws.schedule.races:
                rules = dataclasses.replace(rules, least_confidence=lambda _: SURE_OF_NOTHING)
            [made] = await draft(retrieved, ports, rules)
            latency.observe(retrieved, made, (time.perf_counter() - began_s) * 1000)
            return [made]

        yield handler

    async def _read_working(
        self, life: SimulatedLife, retrieved: Retrieved
    ) -> tuple[Answer, tuple[Artefact, ...], MakeDraft]:
        answer, parts, make_draft = await working(life, self._read)(retrieved)
        return answer, parts, working(life, make_draft)

    @asynccontextmanager
    async def fast_lane(self, bus: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/fast_lane`."""

        async def answer_alone(escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
            passages = await fast_lane.passages_of(escalated, SITE, bus)
            if passages is None:
                return Answer(text=""), ()
            await life.work()
            return self._answer_alone(escalated.tenant, escalated.question, passages)

        ask_hub = partial(fast_lane.ask_hub, self._settings, bus)
        ports = FastLanePorts(ask_hub, answer_alone, partial(fast_lane.committed_part, bus), time.time)
        least = self._reading(self._world.tenant).settings.drafter.least_confidence
        yield lambda escalated: ask_in_time(escalated, ports, least)

    @asynccontextmanager
    async def policy(self, bus: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/policy`."""
        latency = LatencyModel("policy", {"full": 0.0}, time.time)
        judging = policy.Judging(SITE, bus, self._world.judging)
        ports = PolicyPorts(
            judging.evaluate, latency.required_degradation, judging.find_suggestions, judging.find_escalation
        )

        async def forward(_: str, data: bytes) -> None:
            passed = await judge_partial(decode(data, Partial), ports)
            if passed is not None:
                await bus.publish_core(subjects.partial(True, passed.tenant, passed.rid), encode(passed))

        await bus.listen(subjects.PARTIAL_DRAFTED, forward)
        await bus.listen(subjects.cloud_partial(SITE), forward)

        async def handler(answered: Drafted | Verified) -> list[Message]:
            await life.pause()
            began_s = time.perf_counter()
            [judged] = await judge(answered, ports)
            if latency.level_of(answered) != "abstain":
                latency.observe(latency.level_of(judged), (time.perf_counter() - began_s) * 1000)
            return [judged]

        yield handler

    @asynccontextmanager
    async def publisher(self, bus: Bus, life: SimulatedLife) -> AsyncIterator[Handler]:
        """See `stages/publisher`."""
        writer = AnswerLogWriter(bus)
        switched = publisher.SwitchedPublishing(SiteSwitches(self._settings))

        async def on_partial(subject: str, data: bytes) -> None:
            if switched.may_show(decode(data, Partial)):
                await writer.on_partial(subject, data)

        await bus.listen(subjects.PARTIAL_APPROVED, on_partial)
        ports = PublisherPorts(
            writer.committed_part,
            writer.close,
            publisher.forecast_outcome,
            switched.enforce,
            switched.may_stand,
            writer.withdraw,
        )

        async def handler(settled: Approved | Withheld | Replied) -> list[Message]:
            await life.pause()
            return await publish(settled, ports, self._versions)

        yield handler

    def _answer_from(
        self, tenant: str, question: Question, passages: tuple[Passage, ...]
    ) -> tuple[Answer, tuple[Artefact, ...]]:
        return answer_for_tenant(self._reading(tenant).reader, self._world.site.indexes, tenant, question, passages)

    def _reading(self, tenant: str) -> TenantReading:
        found = self._world.site.readings.current(tenant)
        assert found is not None  # the world has a pack
        return found.parts


def working(life: SimulatedLife, function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """The function as a port that takes the time of a model."""

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        await life.work()
        return function(*args, **kwargs)

    return call


def is_reranked(retrieved: Retrieved) -> bool:
    """Whether the cross-encoder reads the passages."""
    return all(made.level != "no_rerank" for made in retrieved.degradations)


def no_model(tenant: str) -> SiteModel:
    """No language model fills a schema here. Raises `AssertionError`."""
    raise AssertionError(f"the model of {tenant} is not simulated")
