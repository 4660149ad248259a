"""How long the drafter takes for each kind of its work, so that it knows what there is time for."""

from __future__ import annotations

import time
from collections.abc import Callable

from tidegate.schemas import Degradation, DegradationLevel, Drafted, Escalated, Retrieved, Verified
from tidegate.services.planning.degradation import LatencyModel
from tidegate.services.stages.drafter.handler import VerifyInteractively, levels_of


class DrafterLatency:
    """Reading and extracting take different times, and are learned apart."""

    def __init__(self) -> None:
        levels: dict[DegradationLevel, float] = {
            "full": 0.0,
            "fewer_passages": 0.0,
            "no_rerank": 0.0,
            "no_race": 0.0,
            "edge_only": 0.0,
        }
        self._reading = LatencyModel("drafter", levels, time.time)
        self._extracting = LatencyModel("drafter", {"full": 0.0}, time.time)

    def required_degradation(self, retrieved: Retrieved, levels: frozenset[DegradationLevel]) -> Degradation | None:
        return self._model_of(retrieved).required_degradation(retrieved, levels)

    def observe(self, retrieved: Retrieved, made: Drafted | Escalated | Verified, worked_ms: float) -> None:
        """Learn from what was made; work that an earlier stage had called off teaches nothing."""
        latency, levels = self._model_of(retrieved), levels_of(retrieved)
        if levels and latency.level_of(retrieved, levels) != "abstain":
            latency.observe(latency.level_of(made, levels), worked_ms)

    def _model_of(self, retrieved: Retrieved) -> LatencyModel:
        return self._extracting if retrieved.question.workload == "extract" else self._reading


class Stopwatch:
    """How long the drafter works at one question, less its interactive verification: that waits for the hub, has its
    own end, and has nothing to do with how fast the edge reads."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._began_s = clock()
        self._excluded_s = 0.0

    @property
    def ms(self) -> float:
        return (self._clock() - self._began_s - self._excluded_s) * 1000

    def exclude(self, verify: VerifyInteractively) -> VerifyInteractively:
        """The same verification, during which the watch stands still."""

        async def verify_excluded(escalated: Escalated) -> Verified | Degradation:
            began_s = self._clock()
            try:
                return await verify(escalated)
            finally:
                self._excluded_s += self._clock() - began_s

        return verify_excluded
