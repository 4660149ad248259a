"""What processes of a domain report to its audit log: a small file for each event, until the audit worker logged it.

Promises that an event is on the disk when `report` returns, with or without a server, a link or an audit worker, and is
logged once. Next: services/evidence/entries.py, which makes entries of events."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidegate.schemas.audit import ActKind, AuditedAct, AuditEvent
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import decode, encode_json
from tidegate.sync.trust.files import PRIVATE, replace_file

SUFFIX = ".event.json"


class SpooledEvent(msgspec.Struct, frozen=True):
    """An event that waits; `name` is that of its file, and the source under which it is logged. Without an `event` the
    file is none: `fault` says why."""

    name: str
    event: AuditEvent | None
    fault: str = ""


class EventSpool:
    """The events that wait in one directory. Many processes report, one takes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def is_open(self) -> bool:
        """Whether there is an audit log that events go to: the audit worker makes the directory, and so do those who
        report what must not be lost before there is one."""
        return self._directory.is_dir()

    def open(self) -> None:
        """Have events from now on. Raises `OSError`."""
        self._directory.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE | 0o100)
        self._directory.mkdir(exist_ok=True, mode=PRIVATE | 0o100)

    def report(self, event: AuditEvent) -> None:
        """Keep an event until it is logged. Raises `OSError`."""
        self.open()
        event = event if event.at_ms else msgspec.structs.replace(event, at_ms=time.time_ns() // 1_000_000)
        name = f"{time.time_ns():020d}-{secrets.token_hex(6)}{SUFFIX}"
        replace_file(self._directory / name, encode_json(event), PRIVATE)

    def waiting(self, most: int) -> list[SpooledEvent]:
        """The oldest events that wait. Raises `OSError`."""
        if not self.is_open:
            return []
        names = sorted(entry.name for entry in os.scandir(self._directory) if entry.name.endswith(SUFFIX))
        return [self._read(name) for name in names[:most] if not name.startswith(".")]

    def forget(self, events: Sequence[SpooledEvent]) -> None:
        """These are logged. Raises `OSError`."""
        for event in events:
            (self._directory / event.name).unlink(missing_ok=True)

    def _read(self, name: str) -> SpooledEvent:
        try:
            return SpooledEvent(name, decode((self._directory / name).read_bytes(), AuditEvent))
        except UnreadableError as error:
            return SpooledEvent(name, None, error.reason)


def act_event(kind: ActKind, about: str, *, tenant: str = "", reason: str = "", epoch: int = 0) -> AuditEvent:
    """An event of something that was done in this process, by the user that it runs as."""
    act = AuditedAct(about=about[:500], reason=reason[:500], by=f"uid:{os.getuid()}", epoch=epoch)
    return AuditEvent(kind=kind, tenant=tenant, act=act, at_ms=time.time_ns() // 1_000_000)
