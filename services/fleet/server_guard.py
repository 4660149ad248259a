"""Keeps nats-servers up by their health: one that has died, does not answer, or cannot store is started again.

Promises that a server which cannot be started ends nothing else: it is tried again, and its fault is kept meanwhile.
Next: deployment.py; services/cli/server.py; brokers/servers/kept_server.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import structlog

from tidegate.brokers.process.disk import disk_usage
from tidegate.brokers.servers.monitoring import Health
from tidegate.schemas import TidegateError
from tidegate.services.fleet.faults import FOLDER, clear_fault, report_fault

log = structlog.get_logger()

LOOK_EVERY_S = 0.05
"""How often it is looked whether the process lives."""
ASK_EVERY_S = 1.0
"""How often it is asked how it is."""
PATIENCE_S = 5.0
"""How long a server may answer nothing, or be unable to store, until it is started again."""
LONGEST_BACK_OFF_S = 30.0
LEAST_FREE_BYTES = 16 << 20
"""Below this a server that cannot store is left as it is: its streams can be read, and a new one would do no better."""


class NoRoomError(TidegateError, RuntimeError):
    """The disk of a server's store is full."""

    hint = "make room on the disk; the server is started again by itself then"


class GuardedServer(Protocol):
    """One nats-server that this process has started; see `nats_server.Server`. `directory` is on the disk of its
    store."""

    name: str
    directory: Path

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""

    async def start(self) -> None:
        """Start it, and return when it is ready. Raises `TidegateError`, `OSError`; it does not run then."""

    def stop(self) -> None:
        """End it in good order."""

    def kill(self) -> None:
        """End it at once."""

    def health(self) -> Health:
        """How it says that it is."""


class ServerGuard:
    """One server. `fault` is the file of what is wrong with it."""

    def __init__(self, server: GuardedServer, fault: Path, patience_s: float = PATIENCE_S) -> None:
        self.restarts = 0
        self._server = server
        self._fault = fault
        self._patience_s = patience_s
        self._is_faulty = False

    async def keep(self) -> None:
        """Keep it up, until cancelled."""
        healthy_at = asked_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now = time.monotonic()
            if self._server.pid is None:
                await self._start("it has ended")
                healthy_at = time.monotonic()
            elif now - asked_at >= ASK_EVERY_S:
                health = await asyncio.to_thread(self._server.health)
                asked_at = time.monotonic()
                if health == "healthy":
                    healthy_at = asked_at
                    self._clear()
                elif asked_at - healthy_at >= self._patience_s and self._has_room(health):
                    await asyncio.to_thread(self._server.kill if health == "silent" else self._server.stop)
                    await self._start("it does not answer" if health == "silent" else "it cannot store")
                    healthy_at = time.monotonic()

    def _has_room(self, health: str) -> bool:
        if health == "silent" or disk_usage(self._server.directory).free >= LEAST_FREE_BYTES:
            return True
        if not self._is_faulty:
            self._report(NoRoomError(f"{self._server.name} cannot store: the disk of {self._server.directory} is full"))
        return False

    async def _start(self, why: str) -> None:
        failures = 0
        while True:
            log.warning("server_restarted", server=self._server.name, why=why)
            try:
                await self._server.start()
            except (TidegateError, OSError) as error:
                failures += 1
                self._report(error)
                await asyncio.sleep(min(LONGEST_BACK_OFF_S, LOOK_EVERY_S * 2**failures))
            else:
                self.restarts += 1
                self._clear()
                return

    def _report(self, error: TidegateError | OSError) -> None:
        self._is_faulty = True
        report_fault(self._fault, "nats-server", error)

    def _clear(self) -> None:
        if self._is_faulty:
            clear_fault(self._fault)
            self._is_faulty = False


async def keep_servers(servers: Mapping[str, GuardedServer], state: Path) -> None:
    """Keep the servers of these domains up, each by itself, until cancelled."""
    guards = [ServerGuard(server, state / name / FOLDER / "nats-server") for name, server in servers.items()]
    await asyncio.gather(*(guard.keep() for guard in guards))
