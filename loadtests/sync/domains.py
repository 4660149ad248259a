"""A hub and its sites with real servers, and the sync worker of each as a process: any of them can be killed.

Promises that whatever was started here is ended when it is left. Next: worker.py, what is started."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from loadtests.sync.worker import TENANT, WorkerPlan
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection
from tidegate.services.fleet.provision import provision_fleet
from tidegate.sync.database import StoreMissingError
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import ReplicaRecord
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.replica_client import ReplicaClient
from tidegate.sync.store import reading_store

MODEL = Path(".models/multilingual")
START_WITHIN_S = 240.0
POLL_S = 0.01


class NotInTimeError(RuntimeError):
    """Something did not happen in time; the message says what there was instead."""


class Domains:
    """What runs. Every domain is called by its name, the hub too."""

    def __init__(self, servers: Fleet, plans: dict[str, WorkerPlan], stack: contextlib.AsyncExitStack) -> None:
        self.servers = servers
        self.plans = plans
        self._stack = stack
        self._buses: dict[str, JetStreamBus] = {}
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All domains, the hub first."""
        return tuple(self.plans)

    def server(self, domain: str) -> Server:
        """The server of a domain."""
        return self.servers.hub if domain == HUB else self.servers.sites[domain]

    def is_working(self, domain: str) -> bool:
        """Whether the domain's worker runs."""
        return domain in self._workers and self._workers[domain].poll() is None

    def log(self, domain: str) -> Path:
        """What the domain's worker has printed, in all its lives."""
        return self.plans[domain].paths.home / "worker.log"

    async def bus(self, domain: str) -> JetStreamBus:
        """A client of the domain's server, which outlives servers and workers."""
        if domain not in self._buses:
            opened = JetStreamBus.open(self.server(domain).nats, domain)
            self._buses[domain] = await self._stack.enter_async_context(opened)
        return self._buses[domain]

    async def client(self, domain: str) -> ReplicaClient:
        """Asks the domain's worker."""
        return ReplicaClient(await self.bus(domain))

    async def start(self, *domains: str) -> None:
        """Start the workers of domains, and return when they answer. Raises `NotInTimeError` with the end of a log."""
        await asyncio.gather(*(self._start(domain) for domain in domains))

    def kill(self, *domains: str) -> None:
        """SIGKILL the workers of domains."""
        for domain in domains:
            if (worker := self._workers.pop(domain, None)) is not None:
                worker.kill()
                worker.wait()

    async def stop(self, *domains: str) -> None:
        """End the workers of domains in good order."""
        for domain in domains:
            if (worker := self._workers.pop(domain, None)) is not None:
                worker.terminate()
                await asyncio.to_thread(worker.wait, START_WITHIN_S)

    @contextlib.contextmanager
    def reading(self, domain: str) -> Iterator[StoreReader]:
        """One state of what the domain holds, whether its worker runs or not. Raises `StoreMissingError`."""
        with reading_store(self.plans[domain].paths.replica(TENANT)) as reader:
            yield reader

    def record(self, domain: str, collection: str) -> ReplicaRecord | None:
        """The state of a collection's replica; None: the domain does not know of it."""
        try:
            with self.reading(domain) as reader:
                return reader.record(collection) if collection in reader.collections() else None
        except StoreMissingError:
            return None

    def is_level(self, collection: str, *domains: str) -> bool:
        """Whether domains are at one position of a collection's log, and hold the same."""
        records = [self.record(domain, collection) for domain in domains]
        first = records[0]
        return first is not None and all(
            each is not None and (each.replica.position, each.checksum) == (first.replica.position, first.checksum)
            for each in records
        )

    async def put(self, collection: Collection, at: str = HUB) -> None:
        """Have the domain hold a collection, and, where it is shared, wait until the sites that may hold it know it."""
        await (await self.client(at)).put_collection(collection)
        sites = collection.sites or tuple(each for each in self.names if each != HUB)
        for site in sites if collection.owner == "shared" else ():
            await until(lambda site=site: self.record(site, collection.name) is not None)  # type: ignore[misc]

    async def _start(self, domain: str) -> None:
        ready = await asyncio.to_thread(self._spawn, domain)
        deadline_s = time.monotonic() + START_WITHIN_S
        while not await asyncio.to_thread(ready.exists):
            if not self.is_working(domain) or time.monotonic() > deadline_s:
                tail = "\n".join(self.log(domain).read_text(errors="replace").splitlines()[-15:])
                raise NotInTimeError(f"the sync worker of {domain} did not start; the end of its log:\n{tail}")
            await asyncio.sleep(POLL_S)

    def _spawn(self, domain: str) -> Path:
        """Start a worker; returns the file that it makes once it answers."""
        if self.is_working(domain):
            raise NotInTimeError(f"the sync worker of {domain} runs already")
        home = self.plans[domain].paths.home
        home.mkdir(parents=True, exist_ok=True)
        file, ready = home / "worker.json", home / "ready"
        ready.unlink(missing_ok=True)
        file.write_bytes(msgspec.json.encode(self.plans[domain]))
        command = [sys.executable, "-m", "loadtests.sync.worker", str(file)]
        with self.log(domain).open("ab") as log:
            self._workers[domain] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return ready


async def until(holds: Callable[[], bool], show: Callable[[], object] = lambda: "", within_s: float = 60.0) -> float:
    """Return as soon as it holds, with the seconds that took. Raises `NotInTimeError` with what there is instead."""
    begun_s = time.monotonic()
    while not holds():
        if time.monotonic() - begun_s > within_s:
            raise NotInTimeError(f"not within {within_s:g} s: {show()}")
        await asyncio.sleep(POLL_S)
    return time.monotonic() - begun_s


@contextlib.asynccontextmanager
async def open_domains(
    servers: Fleet, directory: Path, sync: SyncSettings, *, is_indexing: bool = True
) -> AsyncIterator[Domains]:
    """The workers of a running fleet, none of them started yet; its topology is declared, and the sites provisioned."""
    await declare_fleet(servers, ())
    known = {HUB: servers.hub, **servers.sites}
    models = await asyncio.to_thread(_link_model, directory)
    plans = {
        domain: WorkerPlan(
            domain=domain,
            nats=server.nats,
            state=str(directory),
            models=str(models),
            sync=sync,
            is_indexing=is_indexing,
        )
        for domain, server in known.items()
    }
    await asyncio.to_thread(provision_fleet, plans[HUB].settings, tuple(servers.sites))
    async with contextlib.AsyncExitStack() as stack:
        domains = Domains(servers, plans, stack)
        stack.callback(lambda: domains.kill(*domains.names))
        yield domains


@contextlib.asynccontextmanager
async def running_domains(
    directory: Path, sites: Sequence[str], sync: SyncSettings | None = None
) -> AsyncIterator[Domains]:
    """Servers and workers of a hub and these sites, all of them started."""
    async with (
        open_fleet(directory, sites) as servers,
        open_domains(servers, directory, sync or SyncSettings()) as domains,
    ):
        await domains.start(*domains.names)
        yield domains


def _link_model(directory: Path) -> Path:
    """A directory of models with the one that an index needs: sites state the digest of all of it."""
    models = directory / "models"
    models.mkdir(parents=True, exist_ok=True)
    if not (models / MODEL.name).exists():
        (models / MODEL.name).symlink_to(MODEL.absolute())
    return models
