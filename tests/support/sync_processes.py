"""A provisioned hub and its sites on real servers, with `tidegate worker sync` of each as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.nats_fleet import nats_of
from tests.support.paths import MODELS
from tests.support.trust_fleet import TENANT, TrustFleet, trust_fleet
from tidegate.brokers.process.ready import ready_file
from tidegate.schemas import ReplicaStatus, TidegateError, replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.replicas import open_replica_client

QUICK = {"TIDEGATE_SYNC__HEAD_EVERY_S": "0.2", "TIDEGATE_SYNC__TIMESTAMP_EVERY_S": "5"}
WITHIN_S = 120.0
"""Models are loaded meanwhile, on a machine that may be busy."""


@dataclass
class SyncProcesses:
    """What is up. A worker that is started again goes on with what its disk holds."""

    fleet: TrustFleet
    _running: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    async def start(self, *domains: str) -> None:
        """Start the workers of domains, and return when they are ready."""
        for domain in domains:
            self._running[domain] = await self._spawn(domain)
        for domain in domains:
            await self._wait_ready(domain)

    async def stop(self, *domains: str) -> None:
        """End the workers of domains in order."""
        for domain in domains:
            process = self._running.pop(domain)
            process.send_signal(signal.SIGTERM)
            await process.wait()

    async def kill(self) -> None:
        """End all workers at once."""
        for process in self._running.values():
            process.kill()
            await process.wait()

    async def status(self, domain: str) -> ReplicaStatus:
        """What a domain says that it holds. Raises what asking it raises."""
        async with open_replica_client(self.fleet.settings_of(domain)) as client:
            return await client.status(TENANT)

    async def until(self, domain: str, holds: Callable[[ReplicaStatus], bool]) -> None:
        """Return when a domain says so of itself."""
        seen: list[ReplicaStatus] = []
        until_s = time.monotonic() + WITHIN_S
        while not seen or not holds(seen[-1]):
            assert time.monotonic() < until_s, f"{seen[-1:]}\n{self._log(domain).read_text()[-2000:]}"
            await asyncio.sleep(0.05)
            with contextlib.suppress(TidegateError):  # it is busy, or only just there
                seen.append(await self.status(domain))

    async def _spawn(self, domain: str) -> asyncio.subprocess.Process:
        settings = self.fleet.settings_of(domain)
        login = nats_of(self.fleet.all_.fleet, domain, "sync")
        environment = {
            **QUICK,
            "TIDEGATE_NATS__URL": login.url,
            "TIDEGATE_NATS__NKEY_SEED_FILE": login.nkey_seed_file,
            "TIDEGATE_STATE_DIR": settings.state_dir,
            "TIDEGATE_MODELS_DIR": settings.models_dir,
        }
        ready_file(settings, "sync").unlink(missing_ok=True)
        command = (sys.executable, "-m", "tidegate.services.cli", "worker", "sync", "--site", domain)
        with self._log(domain).open("ab") as log:
            return await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, stderr=log)

    async def _wait_ready(self, domain: str) -> None:
        ready, process = ready_file(self.fleet.settings_of(domain), "sync"), self._running[domain]
        async with asyncio.timeout(WITHIN_S):
            while not ready.exists():
                assert process.returncode is None, self._log(domain).read_text()[-2000:]
                await asyncio.sleep(0.05)

    def _log(self, domain: str) -> Path:
        return Path(self.fleet.settings.state_dir) / f"{domain}-sync.log"


@contextlib.asynccontextmanager
async def sync_processes(directory: Path, sites: Sequence[str] = ("site1",)) -> AsyncIterator[SyncProcesses]:
    """All sync workers are up, with the shipped models; nothing is published yet."""
    async with trust_fleet(directory, sites) as fleet:
        fleet.settings = replace(fleet.settings, models_dir=str(MODELS))
        fleet.make_known()
        processes = SyncProcesses(fleet)
        try:
            await processes.start(HUB, *sites)
            yield processes
        finally:
            await processes.kill()
