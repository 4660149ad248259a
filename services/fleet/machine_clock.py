"""How a domain judges the age of what it quotes: by the time that it may trust, at a site the hub's.

Promises that every process of a machine judges by the same clock. Next: sync/trust/standing.py, trusted_clock.py.
"""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.replica.freshness import FreshnessJudge
from tidegate.services.settings import Settings
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


def open_hub_clock(hub: StatePaths) -> SteadyClock:
    """The time by which the hub dates what its sites believe: a step of the machine's clock does not move it. Its sync
    worker stores it. Raises `UnreadableError`."""
    return SteadyClock(hub.trust / STEADY_FILE)


def hub_time(hub: StatePaths) -> Callable[[], int]:
    """The hub's time in milliseconds since 1970, for what runs beside its sync worker. Raises `UnreadableError`, then
    and when it is called."""
    return open_hub_clock(hub).now_ms
