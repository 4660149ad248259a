"""The link between a simulated site and the hub: requests, core messages, and the two streams that cross it.

Promises that what a stream has stored crosses at least once, in order, however often the link is cut; what is asked
directly is lost with it. Next: domain.py."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from tidegate.brokers.base import UnreachableError
from tidegate.schemas.subjects import ESCALATIONS, HUB, VERDICTS
from tidegate.services.simulation.domain import SimulatedDomain
from tidegate.services.simulation.draws import FaultDraws
from tidegate.services.simulation.journal import Journal, ShownEvent

LINK = "link"
ANSWERED_S = 120.0
"""The longest that the hub works at one question."""
LOOK_AGAIN_S = 0.25
"""How often a stream looks whether a link that is down is up again."""


class HubLink:
    """Carries between one site and the hub while the schedule lets it."""

    def __init__(self, site: SimulatedDomain, hub: SimulatedDomain, draws: FaultDraws, journal: Journal) -> None:
        self._site = site
        self._hub = hub
        self._draws = draws
        self._journal = journal
        self._running: set[asyncio.Task[Any]] = set()
        self._carried: dict[str, int] = {ESCALATIONS: 0, VERDICTS: 0}

    def is_idle(self) -> bool:
        """Whether all that has to cross has crossed."""
        ends = ((ESCALATIONS, self._site), (VERDICTS, self._hub))
        return all(len(domain.stored(stream)) <= self._carried[stream] for stream, domain in ends)

    def start(self) -> None:
        """Begin to carry the streams, until `close`."""
        self._spawn(self._carry(ESCALATIONS, self._site, self._hub))
        self._spawn(self._carry(VERDICTS, self._hub, self._site))

    async def close(self) -> None:
        """Carry nothing any more."""
        running = [*self._running]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def request(self, subject: str, data: bytes, timeout_s: float) -> bytes:
        """Ask the hub. Raises `UnreachableError`: at once where the link is known to be down, else in time."""
        if not self._draws.link_is_up:
            raise UnreachableError(f"nobody answers on {subject}")
        asking = self._spawn(self._round_trip(subject, data))
        try:
            async with asyncio.timeout(timeout_s):
                return await asyncio.shield(asking)
        except TimeoutError as error:
            raise UnreachableError(f"no answer on {subject} within {timeout_s:g} s") from error

    def send(self, from_domain: str, subject: str, data: bytes) -> None:
        """Send a core message to the other side; it is lost where the link is down."""
        self._spawn(self._cross_core(self._site if from_domain == HUB else self._hub, subject, data))

    async def _round_trip(self, subject: str, data: bytes) -> bytes:
        """The hub goes on with what it was asked when nobody waits any more; a reply that is lost is never there."""
        await self._cross(subject, data)
        try:
            reply = await self._hub.request(subject, data, timeout_s=ANSWERED_S)
        except asyncio.CancelledError:
            if current_task().cancelling():
                raise
            await self._draws.never()  # the hub's process ended in the middle
        await self._cross(subject, reply)
        return reply

    async def _cross(self, subject: str, data: bytes) -> None:
        await asyncio.sleep(self._draws.schedule.one_way_s)
        if not self._draws.link_is_up:
            await self._draws.never()
        self._journal.shown.append(ShownEvent(self._journal.next(), LINK, subject, data))

    async def _cross_core(self, target: SimulatedDomain, subject: str, data: bytes) -> None:
        await self._cross(subject, data)
        target.send(subject, data)

    async def _carry(self, stream: str, source: SimulatedDomain, target: SimulatedDomain) -> None:
        stored = asyncio.Event()
        source.watch(stored.set)
        while True:
            pending = [kept for kept in source.stored(stream) if kept.sequence > self._carried[stream]]
            if not pending:
                stored.clear()
                await stored.wait()
                continue
            await asyncio.sleep(self._draws.schedule.one_way_s)
            if not self._draws.link_is_up:
                await asyncio.sleep(LOOK_AGAIN_S)
                continue
            self._journal.shown.append(ShownEvent(self._journal.next(), LINK, pending[0].subject, pending[0].data))
            target.store_copy(pending[0])
            if not self._draws.loses_ack():  # else it is sent again
                self._carried[stream] = pending[0].sequence

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._end)
        return task

    def _end(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, UnreachableError):  # nobody answers at the hub while it starts
            self._journal.reported.append(f"{type(error).__name__}: {error}")


def current_task() -> asyncio.Task[Any]:
    """The task that runs."""
    task = asyncio.current_task()
    assert task is not None  # a coroutine always runs in one
    return task
