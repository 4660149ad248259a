"""What a seed means: who asks what and when, and everything that goes wrong. Pure.

Promises that the same seed is the same schedule in every process, and that after `calm_from_s` nothing goes wrong any
more, so that what was accepted can come to its end. Next: engine.py, which lets it happen."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidegate.schemas import replace

FAULTY_S = 20.0
"""Within so many simulated seconds requests come and things go wrong."""
KILLED = ("prefilter", "router", "retriever", "drafter", "policy", "publisher", "fast-lane", "cloud-verifier")
"""The processes that may be killed, by the stage that each runs."""


class FaultWindow(NamedTuple):
    """From when to when something lasts, in simulated seconds."""

    from_s: float
    to_s: float

    def holds(self, now_s: float) -> bool:
        return self.from_s <= now_s < self.to_s


class SimulatedAsk(msgspec.Struct, frozen=True):
    """One request: `question` is a number of the pack's questions; `times` is how often the client sends it."""

    rid: str
    at_s: float
    question: int
    budget_ms: int
    can_retract: bool
    times: int = 1


class Kill(msgspec.Struct, frozen=True):
    """The process of a stage ends at its `at_await`-th await, counted from its last start, and starts again later."""

    stage: str
    at_await: int
    away_s: float


class Drain(msgspec.Struct, frozen=True):
    """The process of a stage is asked to stop at `at_s`, brings what it has begun to its end, and starts again."""

    stage: str
    at_s: float


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """All that a seed decides beforehand. Shares are probabilities; windows are of simulated seconds.

    `together`: all stages of the site are one process, which dies as one. `peers`: each process of the site has a
    second one beside it, which shares its work and is never killed. `races`: the edge is never sure enough, asks
    the hub about everything, and shows its own draft meanwhile.
    """

    seed: int
    asks: tuple[SimulatedAsk, ...]
    together: bool = False
    races: bool = False
    peers: bool = False
    kills: tuple[Kill, ...] = ()
    drains: tuple[Drain, ...] = ()
    link_cuts: tuple[FaultWindow, ...] = ()
    hub_gone: tuple[FaultWindow, ...] = ()
    slow_disk: tuple[FaultWindow, ...] = ()
    full_disk: tuple[FaultWindow, ...] = ()
    delayed: float = 0.0
    """Of deliveries: each of these comes up to `delay_s` later, and so out of order."""
    delay_s: float = 0.0
    duplicated: float = 0.0
    """Of deliveries: each of these comes twice."""
    unacknowledged: float = 0.0
    """Of acknowledgements: each of these is lost."""
    unconfirmed: float = 0.0
    """Of messages that are published: each of these is stored or not, and the publisher hears neither."""
    one_way_s: float = 0.02
    """How long the link takes in one direction."""
    work_s: float = 0.0
    """The longest that a model takes."""

    @property
    def is_calm(self) -> bool:
        """Whether nothing goes wrong at all."""
        shares = self.delayed + self.duplicated + self.unacknowledged + self.unconfirmed
        events = (self.kills, self.drains, self.link_cuts, self.hub_gone, self.slow_disk, self.full_disk)
        return not shares and not any(events)


def draw_schedule(seed: int, questions: int) -> Schedule:
    """The schedule of a seed, for a pack of so many questions.

    Of the kinds of fault each is drawn or left out: a run with few kinds goes deeper into each of them than one with
    all (Groce et al., "Swarm Testing", ISSTA 2012). One seed in sixteen has none.
    """
    rng = random.Random(f"tidegate/{seed}")
    asks = tuple(draw_ask(number, questions, rng) for number in range(rng.randint(1, 4)))
    together, one_way_s, work_s = rng.random() < 0.3, rng.choice((0.005, 0.02, 0.15)), rng.choice((0.0, 0.01, 0.2))
    races, peers = rng.random() < 0.3, rng.random() < 0.25
    calm = Schedule(
        seed=seed, asks=asks, together=together, races=races, peers=peers, one_way_s=one_way_s, work_s=work_s
    )
    if rng.random() < 1 / 16:
        return calm

    def share(of: Sequence[float]) -> float:
        return rng.choice(of) if rng.random() < 0.4 else 0.0

    def windows(chance: float) -> tuple[FaultWindow, ...]:
        return tuple(draw_window(rng) for _ in range(rng.randint(1, 2))) if rng.random() < chance else ()

    return replace(
        calm,
        kills=tuple(draw_kill(rng) for _ in range(rng.randint(1, 4))) if rng.random() < 0.6 else (),
        drains=tuple(draw_drain(rng) for _ in range(rng.randint(1, 2))) if rng.random() < 0.2 else (),
        link_cuts=windows(0.3),
        hub_gone=windows(0.15),
        slow_disk=windows(0.15),
        full_disk=windows(0.15),
        delayed=share((0.1, 0.5)),
        delay_s=rng.choice((0.05, 1.0, 8.0)),
        duplicated=share((0.1, 0.5)),
        unacknowledged=share((0.05, 0.2)),
        unconfirmed=share((0.05, 0.2)),
    )


def draw_ask(number: int, questions: int, rng: random.Random) -> SimulatedAsk:
    return SimulatedAsk(
        rid=f"r{number}",
        at_s=round(rng.uniform(0.0, FAULTY_S / 4), 3),
        question=rng.randrange(questions),
        budget_ms=rng.choice((1000, 4000, 8000)),
        can_retract=rng.random() < 0.5,
        times=2 if rng.random() < 0.2 else 1,
    )


def draw_kill(rng: random.Random) -> Kill:
    """Early awaits more often than late ones: a process that handles one request has a few dozen of them."""
    return Kill(rng.choice(KILLED), int(rng.triangular(1, 40, 3)), round(rng.uniform(0.0, 3.0), 2))


def draw_drain(rng: random.Random) -> Drain:
    return Drain(rng.choice(KILLED), round(rng.uniform(0.0, FAULTY_S / 3), 2))


def draw_window(rng: random.Random) -> FaultWindow:
    from_s = rng.uniform(0.0, FAULTY_S / 3)
    return FaultWindow(round(from_s, 2), round(min(FAULTY_S, from_s + rng.choice((0.3, 3.0, 12.0))), 2))
