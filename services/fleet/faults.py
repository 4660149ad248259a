"""What of this machine cannot be kept up, and why: one file each, while it is so, for `tidegate status` to show.

Next: supervisor.py and server_guard.py, which write them; status.py."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import msgspec
import structlog

from tidegate.schemas import TidegateError
from tidegate.services.fleet.endpoints import StateFileDamagedError, decode_state, write_state

log = structlog.get_logger()
FOLDER = "faults"
"""The folder of a domain's faults, below its own."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """`name`: the process that cannot be kept up. `since_ms`: Unix time at which that was found."""

    name: str
    reason: str
    hint: str
    since_ms: int


def report_fault(path: Path, name: str, error: TidegateError | OSError) -> None:
    """Keep the fault, with the time of the first report. Where there is no room for it the log alone has it: nothing
    may end because a fault cannot be written."""
    log.error("cannot_be_kept_up", action="cannot_be_kept_up", child=name, reason=str(error))
    try:
        since_ms = decode_state(path, Fault).since_ms
    except (OSError, StateFileDamagedError):
        since_ms = int(time.time() * 1000)
    fault = Fault(name=name, reason=str(error), hint=getattr(error, "hint", ""), since_ms=since_ms)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_state(path, fault)
    except OSError as failed:
        log.error("fault_not_written", action="fault_not_written", child=name, reason=failed.strerror)


def clear_fault(path: Path) -> None:
    """It is up again."""
    path.unlink(missing_ok=True)


def read_faults(home: Path) -> tuple[Fault, ...]:
    """The faults of the domain whose directory this is. A file that is not whole is left out: it is being written."""
    found = []
    for path in sorted((home / FOLDER).glob("[!.]*")):
        with suppress(OSError, StateFileDamagedError):
            found.append(decode_state(path, Fault))
    return tuple(found)
