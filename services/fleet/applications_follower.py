"""Has a nats-server that runs under systemd or in a container take up the accounts of access keys whenever they change.

Whoever issues or ends a key there is another process, perhaps in another container, and can signal to no server.
Promises that a server never waits for the file. Next: nats_users.py, which writes it; server_guard.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

import structlog

from tidegate.schemas import TidegateError
from tidegate.services.fleet.faults import clear_fault, report_fault

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
Stamp = tuple[int, int, int] | None


class ReloadableServer(Protocol):
    """A server as a follower needs it."""

    def take_up(self) -> None:
        """Have it read its configuration again, and return when it counts. Raises `ServerNotReloadedError`."""


class ApplicationsFollower:
    """The accounts in `file`, which the server's configuration includes, and which is made here, empty, where it is
    not there yet: the server would not start. `fault` is the file that says why they are not taken up."""

    def __init__(self, server: ReloadableServer, file: Path, fault: Path) -> None:
        """Made before the server is started, so that no change is missed. Raises `OSError`."""
        if not file.exists():
            file.touch(mode=0o600)
        self._server, self._file, self._fault = server, file, fault
        self._known = self._stamp()

    async def keep(self) -> None:
        """Follow until cancelled. What the server refuses, or cannot take up now, is tried again with every look."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = self._stamp()
            if now in (self._known, None):  # none: it is being replaced, or its disk is gone
                continue
            try:
                await asyncio.to_thread(self._server.take_up)
            except (TidegateError, OSError) as error:
                report_fault(self._fault, "applications", error)
            else:
                self._known = now
                clear_fault(self._fault)
                log.info("applications_taken_up", file=str(self._file))

    def _stamp(self) -> Stamp:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
