"""A hub and a site with their servers and sync workers, for commands that run in the test's own thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import CommandLine
from tests.support.paths import MODELS
from tests.support.sync_parts import NOTICES
from tests.support.sync_party import hub_party, site_party
from tests.support.trust_hub import TrustHub
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

SITE = "site1"


class SyncWorld(CommandLine):
    """What is up, and the command line in front of it."""

    def __init__(self, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
        super().__init__(settings.state_dir)
        self.capsys = capsys
        self.settings = settings
        self.paths = {name: StatePaths(replace(settings, site=name)) for name in (HUB, SITE)}
        self.trust = TrustHub(Path(settings.state_dir))
        self.hub = hub_party(self.paths[HUB].replicas, self.trust)
        self.site = site_party(self.paths[SITE].replicas, SITE, self.hub, NOTICES)
        self.hub.member.store.put_collection(NOTICES)
        self.parties = {HUB: self.hub, SITE: self.site}
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._workers: dict[str, AsyncExitStack] = {}

    def call(self, work: Any) -> Any:
        """Run a coroutine where the sync workers run."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def end_worker(self, name: str) -> None:
        """End a domain's sync worker; its server stays."""
        self.call(self._workers[name].aclose())

    def follow(self) -> None:
        """Have the site come to the end of every log that it follows."""
        member: Any = self.site.member
        for name in self.site.names():
            if member.store.record(name).collection.owner == "shared":
                self.call(member.follower.follow(name))

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve_all(ready))
        self._loop.close()

    async def _serve_all(self, ready: threading.Event) -> None:
        async with AsyncExitStack() as stack:
            servers = {}
            for name, party in self.parties.items():
                server = await stack.enter_async_context(Server(name, self.paths[name].nats))
                servers[name] = server.nats
                self._workers[name] = worker = await stack.enter_async_context(AsyncExitStack())
                worker.callback(party.close)
                await party.serve(await worker.enter_async_context(JetStreamBus.open(servers[name], name)))
            sites = {name: url for name, url in servers.items() if name != HUB}
            write_endpoints(self.settings, Endpoints(pid=os.getpid(), hub=servers[HUB], sites=sites))
            ready.set()
            await self._stop.wait()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The servers are up, and the sync workers answer."""
        ready = threading.Event()
        thread = threading.Thread(target=self._serve, args=(ready,), name="sync-world")
        thread.start()
        try:
            assert ready.wait(30)
            yield
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            thread.join(30)


@contextmanager
def sync_world(state: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[SyncWorld]:
    """A hub and site1, which know the collection `notices`."""
    world = SyncWorld(Settings(state_dir=str(state), models_dir=str(MODELS)), capsys)
    with world.serving():
        yield world
