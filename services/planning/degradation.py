"""One deadline, one ledger: which rung a stage can still stand on, and what it says when it has to step down."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, get_args

from tidegate.schemas import Approved, Concession, Drafted, Escalated, Fact, Retrieved, Routed, Rung, Spent, Verified

Planned = Routed | Retrieved | Drafted | Escalated | Verified | Approved
"""The facts that carry a plan, and with it the shares of the time there is."""

LADDER: tuple[Rung, ...] = get_args(Rung)
"""Down it goes and never up."""
NEWEST = 1 / 8
"""The weight of a new measurement (as RFC 6298 weighs round trips)."""
FADES = 1 / 64
"""How fast a rung that was not tried for being too slow comes to look like the one that was taken instead."""


class Late(NamedTuple):
    """Who spent most beyond its share, by how many milliseconds, in words."""

    by_ms: float = 0.0
    words: str = ""


NOBODY = Late()


def allowance_ms(stage: str, shares_ms: Mapping[str, float], ledger: Sequence[Spent], left_ms: float) -> float:
    """What is left for `stage`: all that is left, less the shares of the stages that have still to come.

    A stage that has a line in the ledger has spent what it spent: what it saved is to the good of those after it, what
    it overspent is to their cost.
    """
    spent = {line.stage for line in ledger}
    return left_ms - sum(share for name, share in shares_ms.items() if name != stage and name not in spent)


def rung_of(
    stage: str,
    costs_ms: Mapping[Rung, float],
    allowed_ms: float,
    left_ms: float,
    late: Late = NOBODY,
    made: Sequence[Concession] = (),
) -> Concession | None:
    """The highest rung of the stage's own that fits, as the concession it is; None where nothing has to be given up.

    `costs_ms` are the stage's rungs and what each is expected to take. What anybody gave up before (`made`) stays given
    up and is not conceded again; after an `abstain` there is nothing left to concede. A stage gives up its rungs one by
    one for what it is allowed (`allowed_ms`); for its last one it may take all that is left (`left_ms`), and only
    where that is too little too it abstains. Less time never gives a higher rung. The reason names who was `late` if
    without that the rung above would have fitted; else the budget was too small for it from the start.
    """
    given_up = {concession.rung for concession in made}
    if "abstain" in given_up:
        return None
    own = [rung for rung in LADDER if rung in costs_ms]
    begin = max((own.index(rung) for rung in given_up if rung in costs_ms), default=0)
    needed_ms = 0.0
    for number, rung in enumerate(own[begin:]):
        is_last = rung == own[-1]
        if costs_ms[rung] <= (left_ms if is_last else allowed_ms):
            return (
                None
                if number == 0
                else Concession(stage, rung, allowed_ms, needed_ms, late_for(needed_ms - allowed_ms, late))
            )
        needed_ms = costs_ms[rung]
    return Concession(stage, "abstain", left_ms, needed_ms, late_for(needed_ms - left_ms, late))


def late_for(missing_ms: float, late: Late) -> str:
    """Why `missing_ms` are missing."""
    return late.words if late.by_ms >= missing_ms else "the budget is small"


def latest(shares_ms: Mapping[str, float], ledger: Sequence[Spent], waited_ms: float) -> Late:
    """Who spent the most beyond its share: a stage of the ledger, or the wait for the one that asks.

    A stage that had no share (it worked before the plan was made) is measured by all that it spent.
    """
    beyond = {line.stage: line.waited_ms + line.worked_ms - shares_ms.get(line.stage, 0.0) for line in ledger}
    worst = max(beyond, key=lambda stage: beyond[stage], default="")
    if waited_ms > 0 and waited_ms >= beyond.get(worst, 0.0):
        return Late(waited_ms, f"it lay waiting for {waited_ms:.0f} ms")
    if not worst or beyond[worst] <= 0:
        return NOBODY
    total_ms = beyond[worst] + shares_ms.get(worst, 0.0)
    share = f", {beyond[worst]:.0f} ms beyond its share" if worst in shares_ms else ""
    return Late(beyond[worst], f"{worst} spent {total_ms:.0f} ms{share}")


def unaccounted_ms(fact: Fact, now_ms: float) -> float:
    """What passed since the question was asked and stands in no line of the ledger: the wait for whoever has it now."""
    return max(0.0, now_ms - fact.asked_at_ms - sum(line.waited_ms + line.worked_ms for line in fact.ledger))


class Pace:
    """How fast a stage is on each of its rungs, learned from its own work; decides by it which rung a fact gets.

    `costs_ms` are the rungs with what each is first taken to cost; 0.0 says that nothing is known, and fits always.
    """

    def __init__(self, stage: str, costs_ms: Mapping[Rung, float], clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds. Raises `ValueError` without a rung to stand on."""
        if not costs_ms:
            raise ValueError(f"{stage} has no rung to stand on")
        self._stage = stage
        self._clock = clock
        self.costs_ms: dict[Rung, float] = {rung: costs_ms[rung] for rung in LADDER if rung in costs_ms}

    def short_of(self, fact: Planned, of: Collection[Rung] = LADDER) -> Concession | None:
        """What the stage has to give up for this fact, where it has only those of its rungs that are among `of`.

        A plan that shares nothing out holds nobody to anything, and who has no rung has nothing to give up.
        """
        shares_ms = fact.plan.shares_ms
        costs_ms = {rung: cost for rung, cost in self.costs_ms.items() if rung in of}
        if not shares_ms or not costs_ms:
            return None
        now_ms = self._clock() * 1000
        left_ms = fact.deadline_at_ms - now_ms
        allowed_ms = allowance_ms(self._stage, shares_ms, fact.ledger, left_ms)
        late = latest(shares_ms, fact.ledger, unaccounted_ms(fact, now_ms))
        return rung_of(self._stage, costs_ms, allowed_ms, left_ms, late, fact.concessions)

    def rung(self, fact: Fact, of: Collection[Rung] = LADDER) -> Rung:
        """The rung on which the stage works, or worked, at this fact: what was conceded by anybody, or its first.

        Of its rungs those count that are among `of`, of which there must be one.
        """
        given_up = {made.rung for made in fact.concessions}
        if "abstain" in given_up:
            return "abstain"
        own = [rung for rung in self.costs_ms if rung in of]
        return next((rung for rung in reversed(own) if rung in given_up), own[0])

    def took(self, rung: Rung, worked_ms: float) -> None:
        """Learn from work that was done, or (`abstain`) was not. The rungs above fade towards it, so that one slow time
        is not for ever. Raises `ValueError` for a rung that is not the stage's."""
        if rung not in (*self.costs_ms, "abstain"):
            raise ValueError(f"{self._stage} has no rung {rung}")
        known_ms = self.costs_ms.get(rung, 0.0)
        taken_ms = known_ms + NEWEST * (worked_ms - known_ms) if known_ms else worked_ms
        for other, cost_ms in self.costs_ms.items():
            if other == rung:
                self.costs_ms[other] = taken_ms
            elif LADDER.index(other) < LADDER.index(rung):
                self.costs_ms[other] = cost_ms + FADES * min(0.0, taken_ms - cost_ms)
