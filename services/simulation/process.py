"""The processes of a simulated fleet: each runs stages, ends at an await or when asked to, and starts anew.

Promises that a process which starts again knows only what is stored. Next: process_bus.py; brokers/worker.py, which is
what it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from tidegate.brokers import worker
from tidegate.brokers.base import Bus, StoreStuckError
from tidegate.brokers.handover import HandOver
from tidegate.brokers.stage import Handler, Stage
from tidegate.services.simulation.draws import FaultDraws
from tidegate.services.simulation.journal import Journal
from tidegate.services.simulation.process_bus import ProcessBus
from tidegate.services.simulation.schedule import FAULTY_S, Kill

RESTART_S = 1.0
"""How long a process that ended by an error, or was drained, is away."""

OpenStage = Callable[[Stage, Bus, "SimulatedLife"], AbstractAsyncContextManager[Handler]]
MakeBus = Callable[["SimulatedLife"], ProcessBus]


class SimulatedLife:
    """One life of a process, from a start to its end; it ends at its `ends_at`-th await, where that is given."""

    def __init__(self, draws: FaultDraws, ends_at: int = 0) -> None:
        self.is_dead = False
        self.stop = asyncio.Event()
        self.draws = draws
        self._ends_at = ends_at
        self._awaits = 0
        self._main: asyncio.Task[None] | None = None
        self._died = asyncio.Event()

    async def pause(self) -> None:
        """See `Life`."""
        self._awaits += 1
        if self._awaits == self._ends_at and asyncio.get_running_loop().time() < FAULTY_S:
            self.kill()
        if not self.is_dead:
            await asyncio.sleep(self.draws.jitter_s())
        if self.is_dead:
            await self.draws.never()

    async def work(self) -> None:
        """A model works, as long as the draws say."""
        await self.pause()
        if taken_s := self.draws.work_s():
            await asyncio.sleep(taken_s)
            await self.pause()

    def kill(self) -> None:
        """End it now: none of its tasks changes anything any more."""
        self.is_dead = True
        self._died.set()
        if self._main is not None:
            self._main.cancel()

    async def live(self, main: asyncio.Task[None]) -> BaseException | None:
        """Wait for its end; the error by which it ended, where it was one.

        A task that was killed may never end: what it does when it is cancelled waits for a bus that it has no more.
        """
        self._main = main
        died = asyncio.create_task(self._died.wait())
        try:
            await asyncio.wait([main, died], return_when=asyncio.FIRST_COMPLETED)
        finally:
            died.cancel()
        return None if self.is_dead or main.cancelled() else main.exception()


class SimulatedProcess:
    """Keeps the process of some stages up, as a supervisor does."""

    def __init__(self, stages: Sequence[Stage], open_stage: OpenStage, make_bus: MakeBus, journal: Journal) -> None:
        self.stages = tuple(stages)
        self.life: SimulatedLife | None = None
        self._open_stage = open_stage
        self._make_bus = make_bus
        self._journal = journal

    async def keep_up(self, kills: Sequence[Kill], draws: FaultDraws, is_held: Callable[[], bool]) -> None:
        """Start it, and again whenever it has ended, for ever; not while `is_held`."""
        left = list(kills)
        while True:
            while is_held():  # noqa: ASYNC110 - windows of a schedule set no event
                await asyncio.sleep(RESTART_S / 4)
            kill = left.pop(0) if left else None
            self.life = life = SimulatedLife(draws, kill.at_await if kill else 0)
            bus = self._make_bus(life)
            main = asyncio.get_running_loop().create_task(self._run(life, bus))
            try:
                error = await life.live(main)
            finally:
                main.cancel()
                bus.close()
            if life.is_dead:
                self._journal.kills += 1
            elif error is not None and not is_full(error):
                self._journal.reported.append(f"{'+'.join(each.name for each in self.stages)} ended: {error!r}")
            life.is_dead = True
            await asyncio.sleep(kill.away_s if kill else RESTART_S)

    async def _run(self, life: SimulatedLife, bus: ProcessBus) -> None:
        async with AsyncExitStack() as stack:
            opened = [
                (stage, await stack.enter_async_context(self._open_stage(stage, bus, life))) for stage in self.stages
            ]
            together = HandOver(bus)
            async with asyncio.TaskGroup() as working:
                for stage, handler in opened:
                    working.create_task(worker.run(stage, handler, together, life.stop))


def is_full(error: BaseException) -> bool:
    """Whether nothing but a full disk has ended a process: it could not bury what it had given up."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(is_full, error.exceptions))
    return isinstance(error, (StoreStuckError, TimeoutError))
