"""The signals that the router plans by: a snapshot of link, load and cloud, collected beside the handler.

Next: services/planning/config.py, what a snapshot holds; services/planning/estimates.py, what is learned."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence

from tidegate.brokers.base import CoreClient, UnreachableError
from tidegate.brokers.stage import Stage
from tidegate.schemas import Published, UnreadableError, decode, subjects
from tidegate.schemas.uplink import CloudState
from tidegate.services.planning.config import UNKNOWN, Signals
from tidegate.services.planning.estimates import Acceptances, RoundTrip
from tidegate.services.planning.experience import Experience, PlannerState

PING_TIMEOUT_S = 1.0


class SignalCollector:
    """Measures the link to the hub, the hub's own state and the queues of `stages`, and learns from the site's answers.
    `signals` is the newest snapshot."""

    def __init__(
        self,
        bus: CoreClient,
        site: str,
        stages: Sequence[Stage],
        tenants: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
        state: PlannerState | None = None,
    ) -> None:
        """`tenants` are those from whose answers it learns, `state` what it did before; `clock` gives seconds."""
        self.signals = Signals(link_up=False, rtt_ms=0.0, queue_depth=0, load=0.0)
        self._bus = bus
        self._ping = subjects.ping(site)
        self._stages = stages
        self._clock = clock
        self._round_trip = RoundTrip()
        self._acceptances = Acceptances(site, tenants)
        self.experience = Experience(site, tenants, state)
        self._has_learned = False

    async def collect(self) -> None:
        """Take one snapshot. Raises `TopologyMissingError` where a queue was never declared."""
        cloud = await self._link()
        self.signals = Signals(
            link_up=cloud is not None,
            rtt_ms=self._round_trip.smoothed_ms,
            rtt_var_ms=self._round_trip.variation_ms,
            queue_depth=await self._depth(),
            load=os.getloadavg()[0] / (os.cpu_count() or 1),
            cloud=cloud or UNKNOWN,
            acceptance=self._acceptances.known(self._clock()),
            corrections=self.experience.times.corrections,
            records=self.experience.ledger.records,
        )

    async def keep_collecting(self, every_s: float) -> None:
        """Take a snapshot every `every_s` seconds, for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.collect()

    async def learn_from_answers(self) -> None:
        """From now on learn from every answer of the site, as it is stored; the next snapshot includes it."""
        await self._bus.listen(subjects.LIVE_ANSWERS, self._receive)

    def take_changes(self) -> PlannerState | None:
        """What there is to keep; None where nothing was learned since the last call."""
        if not self._has_learned:
            return None
        self._has_learned = False
        return self.experience.state

    async def _receive(self, _: str, data: bytes) -> None:
        """Raises `UnreadableError` to the bus, which reports it and goes on."""
        published = decode(data, Published)
        self._acceptances.learn(published, self._clock())
        self._has_learned |= self.experience.observe(published)

    async def _link(self) -> CloudState | None:
        """The hub's own state; None where it cannot be reached."""
        sent = time.perf_counter()
        try:
            reply = await self._bus.request(self._ping, b"", timeout_s=PING_TIMEOUT_S)
        except UnreachableError:
            return None
        self._round_trip = self._round_trip.after((time.perf_counter() - sent) * 1000)
        return cloud_state(reply)

    async def _depth(self) -> int:
        """The longest queue; the last known one while the server does not answer."""
        try:
            return max([await self._bus.pending(stage) for stage in self._stages], default=0)
        except (UnreachableError, TimeoutError):
            return self.signals.queue_depth


def cloud_state(reply: bytes) -> CloudState:
    """The state in a reply to a ping; unknown where it is an older hub's, which echoes the ping, or any other."""
    try:
        return decode(reply, CloudState)
    except UnreadableError:
        return UNKNOWN
