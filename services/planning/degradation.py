"""Graceful degradation under one deadline: what each stage can still afford, and what it gives up where it cannot.

Pure but for the clock that `LatencyModel` is given; the wire types are in `schemas.question`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, get_args

from tidegate.schemas import Degradation, DegradationLevel, Fact, PlannedFact, StageTiming

LEVELS: tuple[DegradationLevel, ...] = get_args(DegradationLevel)
"""From the best service to none; a request only ever goes down."""
NEW_SAMPLE_WEIGHT = 1 / 8
"""The weight of a new measurement (as RFC 6298 weighs round trips)."""
DECAY = 1 / 64
"""How fast the estimate of a level that was skipped for being too slow approaches that of the level used instead."""


class Overrun(NamedTuple):
    """The stage that went farthest beyond its share: by how many milliseconds, and in words."""

    by_ms: float = 0.0
    description: str = ""


NO_OVERRUN = Overrun()


def allowance_ms(stage: str, shares_ms: Mapping[str, float], timings: Sequence[StageTiming], left_ms: float) -> float:
    """What `stage` may use: all that is left, less the shares of the stages that have still to come.

    Stages that have a timing are done: what they saved benefits those after them, what they overspent costs them.
    """
    spent = {line.stage for line in timings}
    return left_ms - sum(share for name, share in shares_ms.items() if name != stage and name not in spent)


def degradation_for(
    stage: str,
    costs_ms: Mapping[DegradationLevel, float],
    allowed_ms: float,
    left_ms: float,
    overrun: Overrun = NO_OVERRUN,
    made: Sequence[Degradation] = (),
) -> Degradation | None:
    """The degradation to the highest of the stage's levels that fits; None where nothing has to be given up.

    `costs_ms` are the stage's levels and what each is expected to take. Earlier degradations (`made`) stay in force and
    are not repeated; after `abstain` nothing is left to give up. A level must fit into the stage's own time
    (`allowed_ms`); the lowest may use all that is left (`left_ms`), and where that does not suffice the stage abstains.
    Less time never gives a higher level. The reason names the `overrun` if without it the level above would have
    fitted; else the budget was too small from the start.
    """
    given_up = {degradation.level for degradation in made}
    if "abstain" in given_up:
        return None
    own = [level for level in LEVELS if level in costs_ms]
    begin = max((own.index(level) for level in given_up if level in costs_ms), default=0)
    needed_ms = 0.0
    for number, level in enumerate(own[begin:]):
        is_last = level == own[-1]
        if costs_ms[level] <= (left_ms if is_last else allowed_ms):
            reason = shortage_reason(needed_ms - allowed_ms, overrun)
            return Degradation(stage, level, allowed_ms, needed_ms, reason) if number else None
        needed_ms = costs_ms[level]
    return Degradation(stage, "abstain", left_ms, needed_ms, shortage_reason(needed_ms - left_ms, overrun))


def shortage_reason(missing_ms: float, overrun: Overrun) -> str:
    """Why `missing_ms` are missing."""
    return overrun.description if overrun.by_ms >= missing_ms else "the budget is small"


def worst_overrun(shares_ms: Mapping[str, float], timings: Sequence[StageTiming], waited_ms: float) -> Overrun:
    """The stage that spent most beyond its share, or the wait for the stage that asks where that is longer.

    A stage that had no share (it worked before the plan was made) is measured by all that it spent.
    """
    beyond = {line.stage: line.waited_ms + line.worked_ms - shares_ms.get(line.stage, 0.0) for line in timings}
    worst = max(beyond, key=lambda stage: beyond[stage], default="")
    if waited_ms > 0 and waited_ms >= beyond.get(worst, 0.0):
        return Overrun(waited_ms, f"it lay waiting for {waited_ms:.0f} ms")
    if not worst or beyond[worst] <= 0:
        return NO_OVERRUN
    total_ms = beyond[worst] + shares_ms.get(worst, 0.0)
    share = f", {beyond[worst]:.0f} ms beyond its share" if worst in shares_ms else ""
    return Overrun(beyond[worst], f"{worst} spent {total_ms:.0f} ms{share}")


def unaccounted_ms(fact: Fact, now_ms: float) -> float:
    """What passed since the question was asked and is in no timing: the wait for the stage that has it now."""
    return max(0.0, now_ms - fact.asked_at_ms - sum(line.waited_ms + line.worked_ms for line in fact.timings))


class LatencyModel:
    """How long a stage takes at each of its levels, learned from its own work; chooses the level for a fact by it.

    `costs_ms` are the levels with what each is first assumed to take; 0.0 means unknown, and always fits.
    """

    def __init__(self, stage: str, costs_ms: Mapping[DegradationLevel, float], clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds. Raises `ValueError` without levels."""
        if not costs_ms:
            raise ValueError(f"{stage} has no levels")
        self._stage = stage
        self._clock = clock
        self.costs_ms: dict[DegradationLevel, float] = {level: costs_ms[level] for level in LEVELS if level in costs_ms}

    def required_degradation(self, fact: PlannedFact, of: Collection[DegradationLevel] = LEVELS) -> Degradation | None:
        """What the stage has to give up for this fact, where only those of its levels are open that are among `of`.

        None for a plan without shares, and where none of the levels is the stage's.
        """
        shares_ms = fact.plan.shares_ms
        costs_ms = {level: cost for level, cost in self.costs_ms.items() if level in of}
        if not shares_ms or not costs_ms:
            return None
        now_ms = self._clock() * 1000
        left_ms = fact.deadline_at_ms - now_ms
        allowed_ms = allowance_ms(self._stage, shares_ms, fact.timings, left_ms)
        overrun = worst_overrun(shares_ms, fact.timings, unaccounted_ms(fact, now_ms))
        return degradation_for(self._stage, costs_ms, allowed_ms, left_ms, overrun, fact.degradations)

    def level_of(self, fact: Fact, of: Collection[DegradationLevel] = LEVELS) -> DegradationLevel:
        """The level at which the stage works, or worked, on this fact: the lowest that was degraded to, or its first.

        Only levels among `of` count; at least one of the stage's own must be there.
        """
        given_up = {made.level for made in fact.degradations}
        if "abstain" in given_up:
            return "abstain"
        own = [level for level in self.costs_ms if level in of]
        return next((level for level in reversed(own) if level in given_up), own[0])

    def observe(self, level: DegradationLevel, worked_ms: float) -> None:
        """Learn from work done at `level` (`abstain`: from none). Estimates of higher levels decay towards it, so that
        one slow time does not count for ever. Raises `ValueError` for a level that is not the stage's."""
        if level not in (*self.costs_ms, "abstain"):
            raise ValueError(f"{self._stage} has no level {level}")
        known_ms = self.costs_ms.get(level, 0.0)
        taken_ms = known_ms + NEW_SAMPLE_WEIGHT * (worked_ms - known_ms) if known_ms else worked_ms
        for other, cost_ms in self.costs_ms.items():
            if other == level:
                self.costs_ms[other] = taken_ms
            elif LEVELS.index(other) < LEVELS.index(level):
                self.costs_ms[other] = cost_ms + DECAY * min(0.0, taken_ms - cost_ms)
