"""What the nats-servers of this machine refused somebody, for the audit logs of their domains, by what the servers log.

A server tells its violations to nobody but its own log. Promises that a log of any size costs one line at a time, and
that a flood is a few entries: see refusal_counts.py. Next: server_guard.py, which keeps the servers up."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from pathlib import Path

from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import replace
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.refusal_counts import RefusalCounts, RefusalKind, reporting
from tidegate.services.fleet.server_guard import keep_servers
from tidegate.services.settings import Settings

LOOK_EVERY_S = 1.0
MOST_BYTES = 1 << 20
"""What is read of a log at once; the rest the next time."""
CODES = {
    "Publish Violation": "forbidden_publish",
    "Subscription Violation": "forbidden_subscription",
    "authentication error": "not_admitted",
}
_LINE = re.compile(r"^\[\d+\] \S+ \S+ \[ERR\] .*?(" + "|".join(CODES) + ")")
_NKEY = re.compile(r"nkey:(U[A-Z2-7]{55})")
NOBODY = "nats"


def violation_in(line: str) -> RefusalKind | None:
    """What a line of a server's log says that was refused, and to whom; None for any other line.

    A client chooses its name and its subjects, which stand in the line: where that names more than one user, none is.
    """
    found = _LINE.match(line)
    if found is None:
        return None
    users = set(_NKEY.findall(line))
    by = f"{NOBODY} nkey:{users.pop()}" if len(users) == 1 else NOBODY
    return RefusalKind("", CODES[found[1]], by, "violated")


class ServerLog:
    """The log of one server, read from where it ends now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = self._size()

    def take(self) -> list[RefusalKind]:
        """The violations in the lines that are complete by now, and new. Raises `OSError`."""
        size = self._size()
        self._at = 0 if size < self._at else self._at  # it was begun anew
        if size == self._at:
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read(MOST_BYTES)
        end = data.rfind(b"\n") + 1 or (len(data) if len(data) == MOST_BYTES else 0)
        self._at += end
        lines = data[:end].decode("utf-8", "replace").splitlines()
        return [kind for kind in map(violation_in, lines) if kind is not None]

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0


async def watch_server(server: Server, counts: RefusalCounts) -> None:
    """Count what the server refuses, until cancelled; a log that cannot be read now is read later."""
    log = ServerLog(server.log)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            found = await asyncio.to_thread(log.take)
        except OSError:  # the disk, or the limit of open files: the lines stay
            continue
        for kind in found:
            counts.add(kind)


async def look_after_servers(servers: dict[str, Server], settings: Settings) -> None:
    """Keep the servers of these domains up, and have what they refuse be in the audit logs, until cancelled."""
    async with AsyncExitStack() as stack:
        watching = []
        for name, server in servers.items():
            counts, paths = RefusalCounts(), StatePaths(replace(settings, site=name))
            await stack.enter_async_context(reporting(counts, EventSpool(paths.audit_events)))
            watching.append(watch_server(server, counts))
        await asyncio.gather(keep_servers(servers, Path(settings.state_dir)), *watching)
