"""How old what a site holds is, and the rung of the ladder full → local-only → evidence-only → closed that follows.

Age is judged by monotonic time from the last time that the hub vouched for; the wall clock can only make it older.
Next: schemas/artefact.py, the budget inside an artefact; activation.py, which epoch is in force."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import msgspec

from tidegate.schemas.artefact import Rung, StalenessBudget
from tidegate.schemas.errors import TidegateError

RUNGS: tuple[Rung, ...] = get_args(Rung)
"""From the best service to none."""


class TimeWentBackError(TidegateError):
    """The monotonic time is before that of the same start which is stored: it is not of this machine."""

    hint = "the state was copied from another machine: provision this site anew"


class TrustedTime(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that a signed timestamp or a lease of the hub told, and what passed since; stored often.

    `elapsed_ms` of trusted time had passed by the monotonic reading `monotonic_ms` of the start `boot_id`, when the
    wall clock was at `wall_ms`.
    """

    trusted_ms: int
    boot_id: str
    monotonic_ms: int
    wall_ms: int
    elapsed_ms: int = 0


class Now(msgspec.Struct, frozen=True, kw_only=True):
    """What the machine's clocks say: the monotonic one of this start, and the wall's."""

    boot_id: str
    monotonic_ms: int
    wall_ms: int


class TimeJudgement(msgspec.Struct, frozen=True, kw_only=True):
    """The trusted time now, no earlier than it can be. `is_doubtful`: the machine was off, for how long only the wall
    clock says, and it may say too little."""

    trusted_ms: int
    is_doubtful: bool = False


def trust(hub_time_ms: int, now: Now, known: TrustedTime | None = None, is_live: bool = False) -> TrustedTime:
    """The time to go by after the hub told one, signed. `is_live`: the message answers a nonce of this site.

    A live time corrects a wall clock that ran ahead. One that may be a replay only ever makes what is held older; one
    that is not after what is known already changes nothing but what has passed. Raises `TimeWentBackError`.
    """
    if known is not None:
        least = known.trusted_ms if is_live else judge_time(known, now).trusted_ms
        if hub_time_ms <= least:
            return checkpoint(known, now)
    return TrustedTime(trusted_ms=hub_time_ms, boot_id=now.boot_id, monotonic_ms=now.monotonic_ms, wall_ms=now.wall_ms)


def judge_time(known: TrustedTime, now: Now) -> TimeJudgement:
    """The trusted time at `now`. In one start by the monotonic clock alone; after another start by what is stored, the
    time since the start, and whatever more the wall clock says. Raises `TimeWentBackError`."""
    if now.boot_id == known.boot_id:
        passed = now.monotonic_ms - known.monotonic_ms
        if passed < 0:
            raise TimeWentBackError(f"{-passed} ms before what this start has stored already")
        return TimeJudgement(trusted_ms=known.trusted_ms + known.elapsed_ms + passed)
    passed = max(now.monotonic_ms, now.wall_ms - known.wall_ms)
    return TimeJudgement(trusted_ms=known.trusted_ms + known.elapsed_ms + passed, is_doubtful=True)


def checkpoint(known: TrustedTime, now: Now) -> TrustedTime:
    """What to store now and then, so that a restart does not make anything younger. Raises `TimeWentBackError`."""
    elapsed = judge_time(known, now).trusted_ms - known.trusted_ms
    return TrustedTime(
        trusted_ms=known.trusted_ms,
        boot_id=now.boot_id,
        monotonic_ms=now.monotonic_ms,
        wall_ms=now.wall_ms,
        elapsed_ms=elapsed,
    )


class HeldArtefact(msgspec.Struct, frozen=True, kw_only=True):
    """An artefact in force, its budget, and when the hub last vouched that it is current, by the hub's time."""

    name: str
    budget: StalenessBudget
    current_at_ms: int


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The rung that a site is on, and why: the artefacts that hold it there, and those that are past their soft limit,
    with which every answer is labelled."""

    rung: Rung
    because: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    is_doubtful: bool = False


def rung_at(age_ms: int, budget: StalenessBudget) -> Rung:
    """The rung that one artefact of this age allows."""
    if budget.closed_s and age_ms >= budget.closed_s * 1000:
        return "closed"
    return budget.at_hard if age_ms >= budget.hard_s * 1000 else "full"


def standing(held: Iterable[HeldArtefact], time: TimeJudgement, is_linked: bool) -> Standing:
    """The lowest of the rungs that the artefacts allow, and `local-only` at best without the link; closed without any.

    An older artefact never gives a higher rung.
    """
    ages = [(artefact, max(0, time.trusted_ms - artefact.current_at_ms)) for artefact in held]
    if not ages:
        return Standing(rung="closed", because=("nothing is in force",), is_doubtful=time.is_doubtful)
    rungs = {artefact.name: rung_at(age, artefact.budget) for artefact, age in ages}
    allowed: list[Rung] = [*rungs.values(), "full" if is_linked else "local-only"]
    lowest = max(allowed, key=RUNGS.index)
    holding = [name for name, rung in sorted(rungs.items()) if rung == lowest and rung != "full"]
    return Standing(
        rung=lowest,
        because=tuple(holding) or (() if lowest == "full" else ("the link is down",)),
        stale=tuple(sorted(artefact.name for artefact, age in ages if age >= artefact.budget.soft_s * 1000)),
        is_doubtful=time.is_doubtful,
    )
