"""What every process of a site needs to tell how old it is: what is in force, and the trusted time, in one file.

The sync worker writes it; whoever reads it goes on judging by the machine's own clock, also where that worker is gone.
Next: sync/rules/staleness.py, the rules; holdings.py, trusted_clock.py, what is written here."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tidegate.schemas.errors import UnreadableError
from tidegate.sync.rules.staleness import (
    HeldArtefact,
    Now,
    Standing,
    TimeJudgement,
    TimeWentBackError,
    TrustedTime,
    judge_time,
    standing,
)
from tidegate.sync.trust.files import replace_file

FILE = "standing.msgpack"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_OWN_START = secrets.token_hex(8)
"""Stands for the machine's start where the system has no name for that: then nothing that is held gets younger."""


class StandingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force of all tenants, by target, and the trusted time when this was written."""

    held: tuple[HeldArtefact, ...]
    time: TrustedTime
    is_doubtful: bool = False


def read_machine_clock() -> Now:
    """What the machine's clocks say: the monotonic one counts the time that it sleeps, too, and is the same in every
    process."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    try:
        boot_id = _BOOT_ID.read_text("ascii").replace("-", "")[:16]
    except OSError:
        boot_id = _OWN_START
    return Now(
        boot_id=boot_id, monotonic_ms=time.clock_gettime_ns(clock) // 1_000_000, wall_ms=time.time_ns() // 1_000_000
    )


def write_standing(
    directory: Path, held: Iterable[HeldArtefact], judgement: TimeJudgement, now: Now | None = None
) -> None:
    """Write what is in force now, and what the trusted time is. Raises `OSError`."""
    now = now or read_machine_clock()
    known = TrustedTime(
        trusted_ms=judgement.trusted_ms, boot_id=now.boot_id, monotonic_ms=now.monotonic_ms, wall_ms=now.wall_ms
    )
    record = StandingRecord(held=tuple(held), time=known, is_doubtful=judgement.is_doubtful)
    replace_file(directory / FILE, msgspec.msgpack.encode(record))


def read_standing(directory: Path) -> StandingRecord | None:
    """What was written last; None where nothing ever was. Raises `UnreadableError`."""
    try:
        return msgspec.msgpack.decode((directory / FILE).read_bytes(), type=StandingRecord)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise UnreadableError(f"{directory / FILE}: {error}", "restart the site's sync worker") from error


def judge_standing(record: StandingRecord, tenant: str, now: Now) -> Standing:
    """Where a tenant's artefacts stand, were the link up: whether it is, is known to whoever asks over it.

    A record from a clock that this machine has not had yet was brought here from another one: closed.
    """
    held = [each for each in record.held if each.name.startswith(f"artefacts/{tenant}/")]
    try:
        judged = judge_time(record.time, now)
    except TimeWentBackError as error:
        return Standing(rung="closed", because=(str(error),), is_doubtful=True)
    judged = TimeJudgement(trusted_ms=judged.trusted_ms, is_doubtful=judged.is_doubtful or record.is_doubtful)
    return standing(held, judged, is_linked=True)
