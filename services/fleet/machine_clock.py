"""How a domain judges the age of what it quotes: by the time that it may trust, at a site the hub's.

Promises that every process of a machine judges by the same clock. Next: sync/trust/standing.py, trusted_clock.py.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.replica.freshness import FreshnessJudge
from tidegate.services.settings import Settings
from tidegate.sync.rules.staleness import TimeJudgement, TimeWentBackError, judge_time
from tidegate.sync.trust.standing import read_machine_clock
from tidegate.sync.trust.steady_clock import STEADY_FILE, SteadyClock
from tidegate.sync.trust.trusted_clock import TIME_FILE, TrustedClock


def open_freshness(settings: Settings) -> FreshnessJudge:
    """How this domain judges the age of what it quotes."""
    return FreshnessJudge(StatePaths(settings).replica, settings.site, open_trusted_time(settings))


def open_trusted_time(settings: Settings) -> Callable[[], int]:
    """The time in milliseconds that this domain may trust; it raises `TimeWentBackError`, `UnreadableError`."""
    clock = TrustedClock(StatePaths(settings).trust / TIME_FILE)

    def trusted_ms() -> int:
        return clock.judge(read_machine_clock()).trusted_ms

    return hub_time(StatePaths(settings)) if settings.site == HUB else trusted_ms


def open_expiry_time(settings: Settings) -> Callable[[], int]:
    """The time in milliseconds by which credentials end at this domain: at a site the one that it trusts, where the hub
    has told one in this start of the machine; else the latest of its steady clock, the wall clock, and what was trusted
    before: what has ended by one of them has. Raises `UnreadableError` where the steady one is."""
    if settings.site == HUB:
        return hub_time(StatePaths(settings))
    paths = StatePaths(settings)
    trusted, steady = TrustedClock(paths.trust / TIME_FILE), open_steady_clock(paths)

    def expiry_ms() -> int:
        judged = _judge(trusted)
        if not judged.is_doubtful:
            return judged.trusted_ms
        return max(steady.now_ms(), read_machine_clock().wall_ms, judged.trusted_ms)

    return expiry_ms


def _judge(trusted: TrustedClock) -> TimeJudgement:
    """What may be trusted; doubtful where nothing, or nothing of this machine's clock, is known."""
    try:
        known = trusted.known()
        if known is None:
            return TimeJudgement(trusted_ms=0, is_doubtful=True)
        return judge_time(known, read_machine_clock())
    except TimeWentBackError:
        return TimeJudgement(trusted_ms=known.trusted_ms if known else 0, is_doubtful=True)
    except UnreadableError:  # the sync worker names the file; nobody is let in by it for longer than by no file
        return TimeJudgement(trusted_ms=0, is_doubtful=True)


def open_steady_clock(domain: StatePaths) -> SteadyClock:
    """The time by which the hub dates what its sites believe, and a site what it keeps for so long: a step of the
    machine's clock does not move it. The domain's sync worker stores it. Raises `UnreadableError`."""
    return SteadyClock(domain.trust / STEADY_FILE)


def hub_time(hub: StatePaths) -> Callable[[], int]:
    """The hub's time in milliseconds since 1970, for what runs beside its sync worker. Raises `UnreadableError`, then
    and when it is called."""
    return open_steady_clock(hub).now_ms
