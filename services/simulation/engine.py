"""One simulated run of the whole pipeline: a site and a hub on the in-memory bus, by the schedule of a seed.

Promises that the same seed gives the same run, event by event, in every process; and an outcome that names each promise
that was not kept. Next: invariants.py, what is promised; process.py, what runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import msgspec

from tidegate.brokers.base import Bus, StoreStuckError, UnreachableError
from tidegate.brokers.process.tasks import end_tasks
from tidegate.brokers.stage import Handler, Stage
from tidegate.schemas import Asked, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS
from tidegate.services.simulation.domain import SimulatedDomain
from tidegate.services.simulation.draws import FaultDraws
from tidegate.services.simulation.hub_stages import HubStages
from tidegate.services.simulation.invariants import RunFacts, Violation, find_violations
from tidegate.services.simulation.journal import Journal
from tidegate.services.simulation.link import HubLink
from tidegate.services.simulation.process import SimulatedLife, SimulatedProcess
from tidegate.services.simulation.process_bus import ProcessBus
from tidegate.services.simulation.schedule import FAULTY_S, Kill, Schedule, SimulatedAsk, draw_schedule
from tidegate.services.simulation.site_stages import SiteStages
from tidegate.services.simulation.virtual_time import EPOCH_S, run_simulated
from tidegate.services.simulation.world import SITE, SimulatedWorld

PATIENCE_S = 900.0
"""How long after the last fault everything must have come to its end."""
TRIES = 6
"""How often a client sends a request that nobody confirms."""


class SimulationOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a run. `digest` is the same where the same happened; `took_s` is simulated time."""

    seed: int
    violations: tuple[Violation, ...]
    digest: str
    requests: int
    outcomes: dict[str, int]
    kills: int
    deliveries: int
    took_s: float


class Simulator:
    """Runs seeds over one world."""

    def __init__(self, world: SimulatedWorld) -> None:
        self.world = world
        self._site, self._hub = SiteStages(world), HubStages(world)

    def run_seed(self, seed: int) -> SimulationOutcome:
        """Run the schedule of a seed. Raises `SimulationStuckError`, and what breaks the simulation itself."""
        return self.run(draw_schedule(seed, len(self.world.pack.questions)))

    def run(self, schedule: Schedule) -> SimulationOutcome:
        """Run a schedule. Raises as `run_seed` does."""

        async def main() -> SimulationOutcome:
            return await SimulatedFleet(self, schedule).run()

        return run_simulated(main, schedule.seed)

    def open_stage(self, stage: Stage, bus: Bus, life: SimulatedLife) -> AbstractAsyncContextManager[Handler]:
        """The stage's handler, for one life of a process."""
        if stage.side == HUB:
            return self._hub.cloud_verifier(bus, life)
        return self._site.open_by_name[stage.name](bus, life)


class SimulatedFleet:
    """A site, a hub, the link between them and the clients of one run."""

    def __init__(self, simulator: Simulator, schedule: Schedule) -> None:
        self._schedule = schedule
        self._world = simulator.world
        self._open_stage = simulator.open_stage
        self._draws = FaultDraws(schedule)
        self._journal = Journal()
        self._site = SimulatedDomain(SITE, SITE_WORKERS, self._draws, self._journal)
        self._hub = SimulatedDomain(HUB, HUB_WORKERS, self._draws, self._journal)
        self._link = HubLink(self._site, self._hub, self._draws, self._journal)
        self._processes: list[SimulatedProcess] = []

    async def run(self) -> SimulationOutcome:
        """Let everything happen, wait until all is done, and judge."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: self._report(context))
        self._link.start()
        tasks = [loop.create_task(work) for work in (*self._keep_up(), self._end_hub(), self._drain())]
        asking = [loop.create_task(self._ask(ask)) for ask in self._schedule.asks]
        await asyncio.wait(asking)
        for each in asking:
            each.result()
        await self._until_idle()
        took_s = loop.time()
        for process in self._processes:
            if process.life is not None:
                process.life.kill()
        await end_tasks(*tasks)
        await self._link.close()
        return self._judge(took_s)

    def _keep_up(self) -> list[Coroutine[Any, Any, None]]:
        groups = [SITE_WORKERS] if self._schedule.together else [(stage,) for stage in SITE_WORKERS]
        peers = groups if self._schedule.peers else []
        running = [self._start(group, self._site, self._schedule.kills) for group in groups]
        running += [self._start(group, self._site, ()) for group in peers]
        return [*running, self._start(HUB_WORKERS, self._hub, self._schedule.kills)]

    def _start(
        self, stages: Sequence[Stage], domain: SimulatedDomain, kills: Sequence[Kill]
    ) -> Coroutine[Any, Any, None]:
        process = SimulatedProcess(stages, self._open_stage, self._bus_of(domain), self._journal)
        self._processes.append(process)
        names = {stage.name for stage in stages}
        own = [kill for kill in kills if kill.stage in names]
        return process.keep_up(own, self._draws, partial(self._is_held, domain))

    def _is_held(self, domain: SimulatedDomain) -> bool:
        return domain is self._hub and self._draws.hub_is_gone

    def _bus_of(self, domain: SimulatedDomain) -> Any:
        return lambda life: ProcessBus(domain, life, self._draws, self._journal, self._link)

    async def _end_hub(self) -> None:
        for window in sorted(self._schedule.hub_gone):
            await sleep_until(window.from_s)
            for life in self._lives_of(HUB_WORKERS):
                life.kill()

    async def _drain(self) -> None:
        for drain in sorted(self._schedule.drains, key=lambda each: each.at_s):
            await sleep_until(drain.at_s)
            for process in self._processes:
                if process.life is not None and drain.stage in {stage.name for stage in process.stages}:
                    process.life.stop.set()
                    self._journal.drains += 1

    def _lives_of(self, stages: Sequence[Stage]) -> list[SimulatedLife]:
        return [each.life for each in self._processes if each.life is not None and each.stages[0] in stages]

    async def _ask(self, ask: SimulatedAsk) -> None:
        """A client, and the gateway that it asks: a request counts as accepted once it is known to be stored."""
        await sleep_until(ask.at_s)
        now_ms = int((EPOCH_S + ask.at_s) * 1000)
        question = self._world.pack.questions[ask.question]
        asked = Asked(
            rid=ask.rid,
            tenant=self._world.tenant,
            site=SITE,
            text=question.text,
            asker=f"asker-{ask.question % 2}",
            budget_ms=ask.budget_ms,
            can_retract=ask.can_retract,
        )
        sealed = replace(self._world.seal(asked), asked_at_ms=now_ms, deadline_at_ms=now_ms + ask.budget_ms)
        gateway = ProcessBus(self._site, SimulatedLife(self._draws), self._draws, self._journal, self._link)
        for _ in range(ask.times):
            await self._send(gateway, sealed)

    async def _send(self, gateway: ProcessBus, sealed: Asked) -> None:
        for _ in range(TRIES):
            try:
                await gateway.publish(sealed, id=f"{sealed.tenant}.{sealed.rid}", headers={})
            except StoreStuckError as error:
                self._journal.refused[sealed.rid] = str(error)
                return
            except TimeoutError:
                continue
            self._journal.accepted.setdefault(sealed.rid, asyncio.get_running_loop().time())
            return

    async def _until_idle(self) -> None:
        """Until every message has come to its end on both sides; or so long that it never will."""
        await sleep_until(FAULTY_S)
        idle = 0
        while asyncio.get_running_loop().time() < FAULTY_S + PATIENCE_S and idle < 2:
            await asyncio.sleep(1.0)
            idle = idle + 1 if self._site.is_idle() and self._hub.is_idle() and self._link.is_idle() else 0

    def _report(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, (TimeoutError, UnreachableError, StoreStuckError)):
            return  # what a store or a link that is away may cost a message that nobody waits for
        self._journal.reported.append(f"{context.get('message', '')}: {error!r}")

    def _judge(self, took_s: float) -> SimulationOutcome:
        questions = self._world.pack.questions
        personal = tuple({value for each in questions for value in each.personal})
        is_idle = self._site.is_idle() and self._hub.is_idle()
        facts = RunFacts(self._journal, self._schedule, personal, is_idle)
        return SimulationOutcome(
            seed=self._schedule.seed,
            violations=tuple(find_violations(facts)),
            digest=self._journal.digest,
            requests=len(self._schedule.asks),
            outcomes=dict(Counter(each.outcome for each in facts.answers.values())),
            kills=self._journal.kills,
            deliveries=len(self._journal.settled),
            took_s=round(took_s, 3),
        )


async def sleep_until(at_s: float) -> None:
    """Return at this simulated second, or at once where it has passed."""
    await asyncio.sleep(max(0.0, at_s - asyncio.get_running_loop().time()))
