"""Asks a fleet things full of personal data, breaks it, and looks for them in every byte that it has written.

Next: personal_requests.py, what is asked; services/evaluation/byte_scan.py, how it is looked for."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from loadtests.personal_requests import PersonalRequest
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import read_topology
from tidegate.brokers.topology.streams import COMPRESSED
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.progress import LineProgress
from tidegate.services.evaluation.byte_scan import ByteScan
from tidegate.services.evaluation.client import SiteClient, ask_all
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.deployment import Deployment, deploy
from tidegate.services.fleet.filling import fill_sites
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.settings import Settings

SITES = ("site1", "site2")
PATIENCE_S = 120.0


class ScanResult(msgspec.Struct, frozen=True):
    """What was asked and answered, how many values that was, and which were found where: in the files of the fleet,
    and as a control in a file that they were written to."""

    asked: int
    answered: int
    values: int
    found: dict[str, list[str]]
    in_control: int
    scanned_bytes: int

    @property
    def at_hub(self) -> int:
        """How many were found in the hub's files."""
        return sum(any(f"/{HUB}/" in path for path in paths) for paths in self.found.values())


class ScannedFleet:
    """A hub and two sites at work."""

    def __init__(self, settings: Settings, deployment: Deployment, access_key: str) -> None:
        self.settings = settings
        self._deployment = deployment
        self._access_key = access_key

    async def ask(self, requests: Sequence[PersonalRequest], crashing: str = "") -> int:
        """Ask over every transport; how many were answered or refused. The worker of the site that is `crashing` is
        ended by SIGABRT when a third is answered, as a fault in native code ends one."""
        questions = [
            LabelledQuestion(id=f"scan-{number}", text=request.text, kind="personal", personal=request.values)
            for number, request in enumerate(requests)
        ]
        endpoints, answered = self._deployment.endpoints, 0
        async with AsyncExitStack() as stack:
            clients = {}
            for site, nats in endpoints.sites.items():
                bus = await stack.enter_async_context(JetStreamBus.open(nats, site))
                clients[site] = SiteClient(bus, endpoints.http[site], self._access_key)

            def count(_: object) -> None:
                nonlocal answered
                answered += 1
                if crashing and answered == len(questions) // 3:
                    os.kill(self._deployment.supervisor.children[f"{crashing}/all"].pid, signal.SIGABRT)

            tenant = self.settings.tenants[0]
            runs = await ask_all(
                questions, clients, tenant=tenant, budget_ms=10_000, on_answer=count, patience_s=PATIENCE_S
            )
        return sum(run.reply is not None for run in runs)


@asynccontextmanager
async def scanned_fleet(settings: Settings, *, is_filled: bool) -> AsyncIterator[ScannedFleet]:
    """The fleet below `settings.state_dir`, filled where it is not yet."""

    async def fill() -> None:
        await fill_sites(settings, SITES, LineProgress())

    if not is_filled:
        await asyncio.to_thread(provision_fleet, settings, SITES)
    async with deploy(settings, SITES, fill=None if is_filled else fill) as deployment:
        await store_as_it_is(deployment)
        with temporary_key(settings, "byte scan") as access_key:
            yield ScannedFleet(settings, deployment, access_key)


async def store_as_it_is(deployment: Deployment) -> None:
    """Have no server compress what it stores from now on: what is looked for would not be found in it."""
    for name, server in deployment.servers.items():
        async with api.connect(server.nats, name) as client:
            for stream, config in (await read_topology(client)).streams.items():
                if stream in COMPRESSED:
                    await api.put_stream(client, {**config, "compression": "none"}, is_new=False)


def scan(settings: Settings, requests: Sequence[PersonalRequest], answered: int) -> ScanResult:
    """Look into every file below the state directory, and beside that into one that holds all that was asked."""
    values = [value for request in requests for value in request.values]
    scanner, root = ByteScan(values), Path(settings.state_dir)
    with tempfile.TemporaryDirectory() as control:
        (Path(control) / "asked.txt").write_text("\n".join(request.text for request in requests), "utf-8")
        in_control = len(scanner.find_below(Path(control)))
    return ScanResult(
        asked=len(requests),
        answered=answered,
        values=len({value for request in requests for value in request.values if value in request.text}),
        found=scanner.find_below(root),
        in_control=in_control,
        scanned_bytes=sum(file.stat().st_size for file in root.rglob("*") if file.is_file()),
    )
