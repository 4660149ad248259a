"""How fast the drafter is, so that it knows what there is time for."""

from __future__ import annotations

import time
from collections.abc import Callable

from tidegate.schemas import Concession, Drafted, Escalated, Retrieved, Rung, Verified
from tidegate.services.planning.degradation import Pace
from tidegate.services.stages.drafter.handler import Loop, rungs_of


class Paces:
    """How fast the drafter is at each kind of its work."""

    def __init__(self) -> None:
        rungs: dict[Rung, float] = {"full": 0.0, "smaller_k": 0.0, "no_race": 0.0, "edge_only": 0.0}
        self._reading = Pace("drafter", rungs, time.time)
        self._extracting = Pace("drafter", {"full": 0.0}, time.time)

    def short_of(self, retrieved: Retrieved, rungs: frozenset[Rung]) -> Concession | None:
        """What has to be given up, of these rungs."""
        return self._of(retrieved).short_of(retrieved, rungs)

    def took(self, retrieved: Retrieved, made: Drafted | Escalated | Verified, worked_ms: float) -> None:
        """Learn from what was made; work that an earlier stage had called off says nothing."""
        pace, rungs = self._of(retrieved), rungs_of(retrieved)
        if rungs and pace.rung(retrieved, rungs) != "abstain":
            pace.took(pace.rung(made, rungs), worked_ms)

    def _of(self, retrieved: Retrieved) -> Pace:
        return self._extracting if retrieved.question.workload == "extract" else self._reading


class Stopwatch:
    """How long the drafter works at one question from now on, less what a loop takes: that waits for the hub, has its
    own end, and says nothing of how fast the edge reads."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._began_s = clock()
        self._looped_s = 0.0

    @property
    def ms(self) -> float:
        """So far."""
        return (self._clock() - self._began_s - self._looped_s) * 1000

    def without(self, loop: Loop) -> Loop:
        """The loop, while which the watch stands."""

        async def looped(escalated: Escalated) -> Verified:
            began_s = self._clock()
            try:
                return await loop(escalated)
            finally:
                self._looped_s += self._clock() - began_s

        return looped
