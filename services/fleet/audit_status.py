"""What a domain's audit worker says of its log, in a file that `tidegate status` reads.

Promises to be as new as the worker's last round. Next: services/evidence/worker.py, which writes it."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tidegate.schemas import TidegateError
from tidegate.services.fleet.endpoints import decode_state

FILE = "status.json"
STALE_MS = 60_000
"""A worker that is at work writes more often."""


class AuditStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The log of one domain: its entries, how many of them are under a signed head, how many under a head that the hub
    has witnessed (at the hub: none is, its sites know its heads). `heads` are the sizes of the logs that it knows of,
    by domain; `faults` what is wrong, the log of another domain included; `followed` the last sequence of each stream
    that is logged."""

    domain: str
    size: int = 0
    signed: int = 0
    witnessed: int = 0
    at_ms: int = 0
    heads: dict[str, int] = {}
    faults: tuple[str, ...] = ()
    followed: dict[str, int] = {}


def read_audit_status(directory: Path) -> AuditStatus | None:
    """What was written last; None where no audit worker ever ran, or what it wrote cannot be read."""
    try:
        return decode_state(directory / FILE, AuditStatus)
    except (TidegateError, OSError):
        return None


def find_audit_problems(domain: str, status: AuditStatus) -> list[str]:
    """What of it somebody has to look at."""
    problems = [f"{domain}: audit log: {fault}" for fault in status.faults]
    silent_ms = time.time_ns() // 1_000_000 - status.at_ms
    if silent_ms > STALE_MS:
        problems.append(f"{domain}: audit log: nothing was logged for {silent_ms // 1000} s: its worker does not run")
    return problems
