"""A hub and two sites with their servers, leaves and real sync workers, for commands that run in the test's own thread.

Keys are real and in one register; of the rest of a worker only the index is played: it is always where the store is.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.support.carrying_hub import RepositoryBlobs
from tests.support.command_line import CommandLine
from tests.support.nats_fleet import STAGES
from tests.support.open_grants import OpenGrants, open_follower
from tests.support.paths import MODELS
from tests.support.trust_hub import TrustHub
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.process.background import running
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.endpoints import Endpoints, write_endpoints
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.replication.composition import ReplicationParts, open_replication
from tidegate.services.settings import Settings
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.domain import DomainParts
from tidegate.sync.shells.hub_shell import HubPorts
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.sources import DirectorySource

TENANT = "kiosk"
SITES = ("site1", "site2")
ISLAND = "island"
QUICK = SyncSettings(head_every_s=0.3, compare_every_s=3600.0)


class CurrentIndex:
    """An index that holds what the store of its domain holds; see `domain.IndexLegs`."""

    def __init__(self, world: WorkerWorld, domain: str) -> None:
        self._world = world
        self._domain = domain

    def generation(self, tenant: str, collection: str) -> int:
        """See `IndexLegs`."""
        store: ReplicaStore = self._world.workers[self._domain].tenants[tenant].store
        return store.record(collection).generation

    async def compare(self, tenant: str, collection: str, is_repair: bool) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002
        """See `IndexLegs`."""
        return {}


class WorkerWorld(CommandLine):
    """What is up, and the command line in front of it. `island` has a server and a worker, and no leaf."""

    def __init__(self, state: Path) -> None:
        super().__init__(str(state))
        self.settings = Settings(state_dir=str(state), models_dir=str(MODELS), sync=QUICK)
        self.domains = (HUB, *SITES, ISLAND)
        self.paths = {name: StatePaths(replace(self.settings, site=name)) for name in self.domains}
        self.stores: dict[str, ReplicaStore] = {}
        self.workers: dict[str, Any] = {}
        self.trust = TrustHub(state)
        for name in self.domains:
            self.trust.keys.generate("author", name, now_ms())
        self.trust.repository.publish([self.trust.keys.published()], self.trust.signers("author", "root"), now_ms())
        for name in (*SITES, ISLAND):
            RepositoryClient(self.paths[name].trust, DirectorySource(self.trust.files)).provision(self.trust.root)
        self._running: dict[str, AsyncExitStack] = {}
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()

    def call(self, work: Any) -> Any:
        """Run a coroutine where the sync workers run."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def texts(self, domain: str, collection: str) -> dict[str, str]:
        """The documents of a domain as readers get them; nothing where the collection is not known."""
        store = self.stores[domain]
        with store.reading() as reader:
            if collection not in reader.collections():
                return {}
        changes = store.changes_since(collection, 0)
        return {each.document_id: each.resolved.content.text for each in changes.documents if each.resolved.content}

    def know(self, collection: str, *sites: str) -> None:
        """Return when these sites know of the collection."""
        deadline_s = time.monotonic() + 30
        while any(collection not in self.workers[site].tenants[TENANT].collections() for site in sites):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def agree(self, collection: str, documents: dict[str, str], *domains: str) -> None:
        """Return when these domains hold these documents."""
        deadline_s = time.monotonic() + 30
        while any(self.texts(each, collection) != documents for each in domains or (HUB, *SITES)):
            assert time.monotonic() < deadline_s, {each: self.texts(each, collection) for each in self.stores}
            time.sleep(0.01)

    def end_worker(self, name: str) -> None:
        """End a domain's sync worker; its server stays."""
        self.call(self._running.pop(name).aclose())

    def start_worker(self, name: str) -> None:
        """Start it again."""
        self.call(self._open(name))

    def _serve(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve_all(ready))
        self._loop.close()

    async def _serve_all(self, ready: threading.Event) -> None:
        state = Path(self.state)
        async with AsyncExitStack() as stack:
            servers = await stack.enter_async_context(open_fleet(state, SITES))
            await declare_fleet(servers, STAGES)
            island = await stack.enter_async_context(Server(ISLAND, self.paths[ISLAND].nats))
            self.nats = {each.name: each.nats for each in (servers.hub, island, *servers.sites.values())}
            for name in self.domains:
                await self._open(name)
            sites = {name: self.nats[name] for name in (*SITES, ISLAND)}
            write_endpoints(self.settings, Endpoints(pid=os.getpid(), hub=self.nats[HUB], sites=sites))
            ready.set()
            await self._stop.wait()
            for running in self._running.values():
                await running.aclose()

    async def _open(self, name: str) -> None:
        self._running[name] = stack = AsyncExitStack()
        bus = await stack.enter_async_context(JetStreamBus.open(self.nats[name], name))
        blobs = RepositoryBlobs(self.trust, now_ms)
        grants = OpenGrants(bus, SITES, (TENANT,), now_ms)
        parts = ReplicationParts(
            domain=lambda _: DomainParts(legs=CurrentIndex(self, name)),
            hub=HubPorts(blobs=lambda _tenant: blobs, grants=grants),
        )
        opened = open_replication(replace(self.settings, site=name), bus, parts)
        self.workers[name] = await stack.enter_async_context(opened)
        if name == HUB:
            grants.worker = self.workers[name]
            await grants.serve(bus)
        elif name in SITES:
            follower = open_follower(bus, QUICK, self.paths[name].trust)
            await stack.enter_async_context(running(follower.keep()))
        self.stores[name] = self.workers[name].tenants[TENANT].store


def now_ms() -> int:
    """The time that counts."""
    return time.time_ns() // 1_000_000


@contextmanager
def worker_world(state: Path) -> Iterator[WorkerWorld]:
    """Everything is up."""
    world, ready = WorkerWorld(state), threading.Event()
    thread = threading.Thread(target=world._serve, args=(ready,), name="worker-world")
    with ExitStack() as stack:
        thread.start()
        stack.callback(thread.join, 30)
        stack.callback(lambda: world._loop.call_soon_threadsafe(world._stop.set))
        assert ready.wait(60), "the world did not come up"
        yield world
