"""What goes wrong at a moment of a simulated run: the windows of its schedule, and draws by its shares."""

from __future__ import annotations

import asyncio
import random
from typing import NoReturn

from tidegate.schemas.subjects import HUB
from tidegate.services.simulation.schedule import FAULTY_S, Schedule


class FaultDraws:
    """Draws in the order in which it is asked, which is the same in every run of a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self._rng = random.Random(f"draws/{schedule.seed}")
        self._loop = asyncio.get_running_loop()
        self._never = asyncio.Event()

    async def never(self) -> NoReturn:
        """Wait for what does not come. Who waits is kept: a task that nobody knows of would be collected some time."""
        await self._never.wait()
        raise AssertionError("what never comes has come")

    @property
    def link_is_up(self) -> bool:
        """Whether anything comes over the link now."""
        now_s = self._loop.time()
        return not any(window.holds(now_s) for window in (*self.schedule.link_cuts, *self.schedule.hub_gone))

    @property
    def hub_is_gone(self) -> bool:
        """Whether the hub's processes are ended now."""
        return any(window.holds(self._loop.time()) for window in self.schedule.hub_gone)

    def disk_is_full(self, domain: str) -> bool:
        """Whether a domain's streams store nothing now; the hub has room always."""
        return domain != HUB and any(window.holds(self._loop.time()) for window in self.schedule.full_disk)

    def store_s(self, domain: str) -> float:
        """What storing takes now."""
        if domain != HUB and any(window.holds(self._loop.time()) for window in self.schedule.slow_disk):
            return self._rng.choice((0.5, 2.0, 7.0))
        return self._rng.choice((0.0, 0.0, 0.001, 0.01))

    def delivery_delay_s(self) -> float:
        """By how much later a delivery comes."""
        return self._rng.uniform(0.0, self.schedule.delay_s) if self._happens(self.schedule.delayed) else 0.0

    def again_after_s(self) -> float | None:
        """When a delivery comes a second time; None: it does not."""
        return self._rng.choice((0.0, 0.2, 6.0)) if self._happens(self.schedule.duplicated) else None

    def loses_ack(self) -> bool:
        return self._happens(self.schedule.unacknowledged)

    def loses_confirmation(self) -> bool:
        return self._happens(self.schedule.unconfirmed)

    def is_stored_unconfirmed(self) -> bool:
        """Of a message whose publisher hears nothing, whether it is stored."""
        return self._rng.random() < 0.5

    def work_s(self) -> float:
        """What a model takes."""
        return self._rng.uniform(0.0, self.schedule.work_s) if self.schedule.work_s else 0.0

    def jitter_s(self) -> float:
        """By how much a task waits at an await, so that others overtake it."""
        return self._rng.choice((0.0, 0.0, 0.0, 0.0005))

    def _happens(self, share: float) -> bool:
        return share > 0.0 and self._loop.time() < FAULTY_S and self._rng.random() < share
