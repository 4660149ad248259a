"""A hub and its sites with their servers and sync workers, in one process: workers and servers can be killed apart."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tests.support.nats_fleet import STAGES, nats_of
from tests.support.open_grants import OpenGrants, open_follower
from tests.support.sync_parts import RING, Keys, text
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.process.background import running
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.schemas import Collection, DocumentContent, Message, decode, encode
from tidegate.schemas.audit import AuditEvent
from tidegate.schemas.replica import DocumentsWritten, Done, PutCollection, ReplicaFault, WriteDocuments
from tidegate.schemas.subjects import HUB, replica_request
from tidegate.services.fleet.roles import roles_of
from tidegate.sync.changes import read_changes
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.domain import DomainParts, SyncOpening
from tidegate.sync.shells.hub_shell import HubPorts, HubSync, open_hub_sync
from tidegate.sync.shells.site_shell import SiteSync, open_site_sync
from tidegate.sync.shells.wire_faults import error_of
from tidegate.sync.store import ReplicaStore

QUICK = SyncSettings(head_every_s=0.5, compare_every_s=30.0)
NOTICES = Collection(tenant="kiosk", name="notices", sites_write=True, merge="ask")
PATIENCE_S = 30.0
M = TypeVar("M", bound=Message)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class SyncFleet:
    """What runs; `options` are passed to the workers of a domain when they are opened."""

    path: Path
    servers: Fleet
    stack: contextlib.AsyncExitStack
    settings: SyncSettings = QUICK
    tenants: Sequence[str] = ("kiosk",)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    buses: dict[str, JetStreamBus] = field(default_factory=dict)
    workers: dict[str, HubSync | SiteSync] = field(default_factory=dict)
    changed: list[tuple[str, str, str]] = field(default_factory=list)
    reported: list[tuple[str, AuditEvent]] = field(default_factory=list)
    """What the workers have for their audit logs, by domain."""
    _closing: dict[str, contextlib.AsyncExitStack] = field(default_factory=dict)

    @property
    def hub(self) -> HubSync:
        worker = self.workers[HUB]
        assert isinstance(worker, HubSync)
        return worker

    def site(self, name: str) -> SiteSync:
        worker = self.workers[name]
        assert isinstance(worker, SiteSync)
        return worker

    async def bus(self, domain: str) -> JetStreamBus:
        """A client of the domain's server, which outlives workers and servers."""
        if domain not in self.buses:
            server = self.servers.hub if domain == HUB else self.servers.sites[domain]
            opened = JetStreamBus.open(server.nats, domain)
            self.buses[domain] = await self.stack.enter_async_context(opened)
        return self.buses[domain]

    async def start(self, *domains: str) -> None:
        """Start the workers of domains, on what their disks hold."""
        for domain in domains:
            stack = self._closing[domain] = contextlib.AsyncExitStack()
            login = nats_of(self.servers, domain, "sync")
            bus = await stack.enter_async_context(JetStreamBus.open(login, domain))
            directory = self.path / domain / "replicas"
            directory.mkdir(parents=True, exist_ok=True)
            stores = {
                name: ReplicaStore(directory / f"{name}.sqlite", domain, secrets.token_hex(8)) for name in self.tenants
            }
            for store in stores.values():
                stack.callback(store.close)
            opening = SyncOpening(
                stores=stores,
                signer=Keys(domain),
                verifier=RING,
                clock=now_ms,
                parts=DomainParts(
                    on_changed=lambda *what, domain=domain: self.changed.append((domain, *what)),
                    report=lambda event, domain=domain: self.reported.append((domain, event)),  # type: ignore[misc]
                ),
            )
            options = dict(self.options.get(domain, {}))
            if domain == HUB:
                grants = OpenGrants(bus, tuple(self.servers.sites), self.tenants, now_ms)
                ports = msgspec.structs.replace(options.pop("ports", HubPorts()), grants=grants)
                hub = await stack.enter_async_context(open_hub_sync(self.settings, bus, opening, ports))
                self.workers[domain] = grants.worker = hub
                await grants.serve(bus)
            else:
                site = await stack.enter_async_context(open_site_sync(self.settings, bus, opening, **options))
                self.workers[domain] = site
                follower = open_follower(bus, self.settings, self.path / domain)
                await stack.enter_async_context(running(follower.keep()))

    async def stop(self, *domains: str) -> None:
        """End the workers of domains."""
        for domain in domains:
            self.workers.pop(domain, None)
            await self._closing.pop(domain).aclose()

    async def restart(self, *domains: str) -> None:
        """End workers and start them again, as another boot."""
        await self.stop(*domains)
        await self.start(*domains)

    async def ask(self, domain: str, verb: str, request: Message, reply: type[M]) -> M:
        """Ask the domain's worker, once it is there. Raises what it could not do."""
        bus, data = await self.bus(domain), b""

        async def is_answered() -> bool:
            nonlocal data
            try:
                data = await bus.request(replica_request(verb), encode(request), timeout_s=20.0)
            except UnreachableError as error:
                if "no answer" in error.reason:  # it may have been done
                    raise
            return bool(data)

        await eventually(is_answered)
        answer: Message = decode(data, reply, ReplicaFault)
        if isinstance(answer, ReplicaFault):
            raise error_of(answer)
        assert isinstance(answer, reply)
        return answer

    async def put(self, collection: Collection = NOTICES, at: str = HUB) -> None:
        await self.ask(at, "collection", PutCollection(collection=collection), Done)

    async def write(
        self, domain: str, documents: dict[str, str], deleted: Sequence[str] = (), collection: str = "notices"
    ) -> DocumentsWritten:
        """Write texts, by id, as a domain."""
        contents: dict[str, DocumentContent] = {each: text(body) for each, body in documents.items()}
        request = WriteDocuments(tenant="kiosk", collection=collection, documents=contents, deleted=tuple(deleted))
        return await self.ask(domain, "write", request, DocumentsWritten)

    def texts(self, domain: str, collection: str = "notices") -> dict[str, str]:
        """The documents as readers get them; nothing where the collection is not known."""
        store = self.workers[domain].tenants["kiosk"].store
        with store.reading() as reader:
            if collection not in reader.collections():
                return {}
            changes = read_changes(reader, collection, 0)
        return {each.document_id: each.resolved.content.text for each in changes.documents if each.resolved.content}

    def knows(self, domain: str, collection: str) -> bool:
        """Whether the domain has heard of the collection."""
        return collection in self.workers[domain].tenants["kiosk"].collections()

    def checksum(self, domain: str, collection: str = "notices") -> str:
        """The checksum of all that a domain holds; empty where the collection is not known."""
        store = self.workers[domain].tenants["kiosk"].store
        with store.reading() as reader:
            return reader.record(collection).checksum.digest if collection in reader.collections() else ""

    async def agree(self, documents: dict[str, str], *domains: str) -> None:
        """Return when all domains (those that run, where none is named) hold the same, and these documents."""
        wanted = domains or tuple(self.workers)

        def is_so() -> bool:
            return len({self.checksum(each) for each in wanted}) == 1 and all(
                self.texts(each) == documents for each in wanted
            )

        await until(is_so, lambda: {each: self.texts(each) for each in wanted})


async def until(holds: Callable[[], bool], show: Callable[[], object] = lambda: "") -> None:
    """Return as soon as it holds; fail after a time with what there is instead."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline_s, show()
        await asyncio.sleep(0.01)


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(0.02)


def damage(store: Path, document_id: str) -> None:
    """Flip one bit of what is stored of a document, past everything that knows of it."""
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as file:
        [(content,)] = file.execute("SELECT content FROM documents WHERE document_id = ?", (document_id,))
        flipped = bytes([*content[:-1], content[-1] ^ 1])
        file.execute("UPDATE documents SET content = ? WHERE document_id = ?", (flipped, document_id))


@contextlib.asynccontextmanager
async def sync_fleet(
    path: Path, sites: Sequence[str] = ("site1", "site2"), *, start: bool = True, **more: Any
) -> AsyncIterator[SyncFleet]:
    """A hub and sites, with `notices` put at the hub and all workers started, where `start`."""
    async with contextlib.AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_fleet(path, sites, roles_of))
        await declare_fleet(servers, STAGES)
        fleet = SyncFleet(path, servers, stack, **more)
        try:
            if start:
                await fleet.start(HUB, *sites)
                await fleet.put()
                await until(lambda: all(fleet.knows(each, NOTICES.name) for each in fleet.workers))
            yield fleet
        finally:
            await fleet.stop(*tuple(fleet._closing))
