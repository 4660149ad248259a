"""A wall clock that no step of the machine's own moves: what the hub dates everything by that its sites believe.

A hub whose clock is a year ahead for a minute would tell a time that no site ever goes back from: all that they hold
would age for a year. So in one start of the machine the time goes on by the monotonic clock, and the wall clock may
correct it by what clocks drift. Next: sync/trust/steady_clock.py, which keeps it."""

from __future__ import annotations

import msgspec

from tidegate.sync.rules.staleness import Now

STEP_MS = 60_000
"""A wall clock that is further away than this, and than it may drift, was set."""
DRIFT_PPM = 500
"""What a machine's oscillator is off by at most, and how fast its kernel slews (RFC 5905, 10)."""
BELIEVED_AFTER_MS = 3_600_000
"""A clock that was set ahead is believed after so long: the machine was suspended without counting it, or a person set
it."""


class SteadyTime(msgspec.Struct, frozen=True, kw_only=True):
    """The time `anchor_ms` at the monotonic reading `monotonic_ms` of the start `boot_id`, and the latest that was
    told. `apart_ms`: what the wall clock says beyond it, where it was set; since the reading `apart_since_ms`."""

    anchor_ms: int
    boot_id: str
    monotonic_ms: int
    told_ms: int
    apart_ms: int = 0
    apart_since_ms: int = 0


def anchored(time_ms: int, now: Now) -> SteadyTime:
    """The time that begins here."""
    return SteadyTime(anchor_ms=time_ms, boot_id=now.boot_id, monotonic_ms=now.monotonic_ms, told_ms=time_ms)


def steady_time(known: SteadyTime | None, now: Now) -> SteadyTime:
    """What `told_ms` is now: never less than it was. In another start than the known one the wall clock is believed,
    but for what was told and the time since the start, before which it cannot be."""
    if known is None:
        return anchored(now.wall_ms, now)
    if now.boot_id != known.boot_id or now.monotonic_ms < known.monotonic_ms:
        return anchored(max(now.wall_ms, known.told_ms + now.monotonic_ms), now)
    passed_ms = now.monotonic_ms - known.monotonic_ms
    expected_ms = known.anchor_ms + passed_ms
    apart_ms = now.wall_ms - expected_ms
    if abs(apart_ms) <= STEP_MS + passed_ms * DRIFT_PPM // 1_000_000:
        told_ms = max(known.told_ms, now.wall_ms)
        return msgspec.structs.replace(known, told_ms=told_ms, apart_ms=0, apart_since_ms=0)
    since_ms = known.apart_since_ms if known.apart_ms > 0 and apart_ms > 0 else now.monotonic_ms
    if apart_ms > 0 and now.monotonic_ms - since_ms >= BELIEVED_AFTER_MS:
        return anchored(now.wall_ms, now)
    told_ms = max(known.told_ms, expected_ms)
    return msgspec.structs.replace(known, told_ms=told_ms, apart_ms=apart_ms, apart_since_ms=since_ms)
