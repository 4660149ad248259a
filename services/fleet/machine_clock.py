"""The clocks of this machine, and the time that may be trusted by them: at the hub its own, at a site that of the hub.

Promises that every process of a machine reads the same monotonic clock, of one boot. Next: sync/trust/trusted_clock.py.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.replica.freshness import FreshnessJudge
from tidegate.services.settings import Settings
from tidegate.sync.rules.staleness import Now
from tidegate.sync.trust.trusted_clock import TIME_FILE, TrustedClock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ROUGHLY_S = 60.0


def read_clocks() -> Now:
    """The clocks now. `boot_id` is the machine's, for as long as it runs: what a monotonic reading belongs to."""
    monotonic_s, wall_s = time.monotonic(), time.time()
    try:
        booted = _BOOT_ID.read_text("ascii").strip()
    except OSError:  # not Linux: when it started, roughly, as the wall clock may be set meanwhile
        booted = str(round((wall_s - monotonic_s) / _ROUGHLY_S))
    boot_id = hashlib.sha256(booted.encode()).hexdigest()[:16]
    return Now(boot_id=boot_id, monotonic_ms=int(monotonic_s * 1000), wall_ms=int(wall_s * 1000))


def open_freshness(settings: Settings) -> FreshnessJudge:
    """How this domain judges the age of what it quotes."""
    paths = StatePaths(settings)
    clock = TrustedClock(paths.trust / TIME_FILE)

    def trusted_ms() -> int:
        now = read_clocks()
        return now.wall_ms if settings.site == HUB else clock.judge(now).trusted_ms

    return FreshnessJudge(paths.replica, settings.site, trusted_ms)
