"""A hub and sites whose audit workers run in this process, each on a server of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from tests.support.message_parts import RECEIPT, WHOSE
from tests.support.nats_fleet import STAGES, nats_of, until
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import Fleet, open_fleet
from tidegate.schemas import Published, replace
from tidegate.schemas.audit import AuditEntry
from tidegate.schemas.subjects import HUB, dead_letter
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.settings import AuditSettings
from tidegate.services.evidence.worker import AuditWorker, open_audit_worker
from tidegate.services.fleet.audit_status import AuditStatus, read_audit_status
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.roles import roles_of
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.site_records import SiteRecords


class AuditWorld:
    """The fleet, and what its domains have logged."""

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        self.fleet = fleet
        self._settings = settings

    def settings(self, domain: str) -> Settings:
        """Those of one domain."""
        return replace(self._settings, site=domain)

    @contextlib.asynccontextmanager
    async def bus(self, domain: str) -> AsyncIterator[JetStreamBus]:
        """A bus of the domain."""
        server = self.fleet.hub if domain == HUB else self.fleet.sites[domain]
        async with JetStreamBus.open(server.nats, domain) as bus:
            yield bus

    @contextlib.asynccontextmanager
    async def worker(self, domain: str) -> AsyncIterator[AuditWorker]:
        """The audit worker of the domain."""
        login = nats_of(self.fleet, domain, "audit")
        async with (
            JetStreamBus.open(login, domain) as bus,
            open_audit_worker(self.settings(domain), bus) as worker,
        ):
            yield worker

    def entries(self, domain: str) -> list[AuditEntry]:
        """What the domain has logged."""
        with AuditReader.open(self.directory(domain)) as reader:
            return [stored.entry for stored in reader.entries()]

    def directory(self, domain: str) -> Path:
        """Where its log is."""
        return StatePaths(self.settings(domain)).audit

    def status(self, domain: str) -> AuditStatus:
        """What its worker has last said of itself."""
        return read_audit_status(self.directory(domain)) or AuditStatus(domain=domain)

    async def logged(self, domain: str, count: int) -> list[AuditEntry]:
        """Its entries, once there are so many."""

        async def enough() -> bool:
            return len(self.entries(domain)) >= count

        await until(enough)
        return self.entries(domain)

    async def witnessed(self, domain: str, count: int) -> AuditStatus:
        """Its status, once the hub has witnessed so many entries."""

        async def enough() -> bool:
            return self.status(domain).witnessed >= count

        await until(enough)
        return self.status(domain)

    async def faulty(self, domain: str, words: str) -> str:
        """The fault of it that has these words, once it stands."""

        async def stands() -> bool:
            return any(words in fault for fault in self.status(domain).faults)

        await until(stands)
        return next(fault for fault in self.status(domain).faults if words in fault)


@contextlib.asynccontextmanager
async def open_world(path: Path, sites: Sequence[str] = ("site1",)) -> AsyncIterator[AuditWorld]:
    """A fleet whose domains have author keys, and whose hub knows its sites."""
    settings = Settings(state_dir=str(path), audit=AuditSettings(sign_every_s=0.05, witness_every_s=0.1))
    keys, records = KeyStore(path / "keys"), SiteRecords(StatePaths(replace(settings, site=HUB)).site_records)
    for domain in (HUB, *sites):
        keys.generate("author", domain, time.time_ns() // 1_000_000)
    for site in sites:
        records.provision(site, 1, "00" * 32, settings.tenants)
    async with open_fleet(path, sites, roles_of) as fleet:
        await declare_fleet(fleet, STAGES)
        yield AuditWorld(settings, fleet)


def published(rid: str, tenant: str = "kiosk") -> Published:
    """An answer as the publisher stores it."""
    whose = {**WHOSE, "rid": rid, "tenant": tenant}
    return Published(**whose, outcome="answered", text="Eine Überweisung ist kostenlos.", receipt=RECEIPT)


async def publish(bus: JetStreamBus, *rids: str) -> None:
    """Store answers."""
    for rid in rids:
        assert await bus.publish(published(rid), id=f"{rid}.publisher.0", headers={})


async def bury(bus: JetStreamBus, rid: str, reason: str = "RejectError: it can never succeed") -> None:
    """Store a dead letter."""
    headers = {
        "Nats-Msg-Id": f"{rid}.router.dead.7",
        "Dead-Stage": "router",
        "Dead-Reason": reason,
        "Dead-Subject": f"pipe.kiosk.screened.{rid}",
        "Dead-Attempt": "5",
    }
    await bus.publisher.publish(dead_letter("router", rid), b"the original bytes", headers)
