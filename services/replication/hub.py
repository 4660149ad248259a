"""The sync worker of the hub, whole: its trust, its replicas, its indexes, and the parts that it answers with itself.

Promises that what is published is signed, granted and in force here too. Next: site.py, the other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tidegate.brokers.base import Bus
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas.artefact import NO_PARTS, ArtefactManifest
from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.schemas.message import Message, decode, replace
from tidegate.schemas.replica import ArtefactPublished, PublishArtefact, ReplicaStatus
from tidegate.schemas.sync import Collection
from tidegate.services.fleet.apply import ArtefactFiles
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.refusal_counts import RefusalCounts, reporting
from tidegate.services.fleet.refused_sites import RefusedSites
from tidegate.services.fleet.trust_hub import HubTrust, HubTrustPorts, open_hub_trust
from tidegate.services.replication.composition import ReplicationParts, TenantStores, open_replication
from tidegate.services.replication.indexes import FollowedIndexes
from tidegate.services.replication.parts_in_force import PartsInForce, for_each
from tidegate.services.settings import Settings
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.shells.domain import DomainParts
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.hub_shell import HubPorts, HubSync
from tidegate.sync.shells.loops import Loop, running
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.chunks import download
from tidegate.sync.trust.site_records import RevokedSiteError, SiteRecords
from tidegate.sync.trust.sources import DirectorySource
from tidegate.sync.trust.targets import artefact_path, artefacts_in

PARTS_EVERY_S = 60.0
REMAKE_EVERY_S = 600.0


@asynccontextmanager
async def open_hub_worker(settings: Settings, bus: Bus) -> AsyncIterator[HubSync]:
    """The hub's sync worker, until left. Raises what `open_hub_trust` and `open_replication` raise."""
    assert isinstance(bus, JetStreamBus)  # replicas follow streams: there is nothing to follow in memory
    stores: dict[str, TenantStores] = {}

    def list_collections() -> list[Collection]:
        return [rule for store in stores.get("", {}).values() for rule in _collections(store)]

    counts, spool = RefusalCounts(), EventSpool(StatePaths(settings).audit_events)
    on_refused = RefusedSites(counts).on_refused
    trusted = HubTrustPorts(collections=list_collections, on_refused=on_refused)
    async with reporting(counts, spool), open_hub_trust(settings, bus, trusted) as trust:
        worker = HubWorker(settings, trust)

        def make_parts(opened: TenantStores) -> DomainParts:
            stores[""] = opened
            return worker.open_parts(opened)

        parts = ReplicationParts(
            domain=make_parts,
            signer=trust.signer,
            verifier=trust.verifier,
            clock=trust.clock.now_ms,
            hub=HubPorts(
                blobs=trust.snapshots,
                admission=RecordedSites(SiteRecords(StatePaths(settings).site_records), settings.tenants),
                grants=trust.grants,
                gate=trust.gate,
                on_refused=on_refused,
            ),
        )
        try:
            async with open_replication(settings, bus, parts) as hub:
                assert isinstance(hub, HubSync)  # the settings are the hub's
                async with running(worker.loops(hub.faults)):
                    yield hub
        finally:
            worker.close()


class HubWorker:
    """What the hub's own documents and parts are followed with."""

    def __init__(self, settings: Settings, trust: HubTrust) -> None:
        self._settings = settings
        self._trust = trust
        self._source = DirectorySource(StatePaths(settings).repository)
        self._blobs = StatePaths(settings).trust / "blobs"
        self._spool = EventSpool(StatePaths(settings).audit_events)
        self._indexes: FollowedIndexes | None = None
        self._parts: PartsInForce | None = None
        self._loop: Loop | None = None
        self._making: Loop | None = None

    def open_parts(self, stores: TenantStores) -> DomainParts:
        """What the replicas call."""
        indexes = self._indexes = FollowedIndexes(self._settings, stores, self._followed)
        self._parts = PartsInForce(self._settings, indexes.is_current, self._files, self._make_soon)
        answers: dict[str, Callable[[bytes], Awaitable[Message]]] = {"publish": self._publish}
        return DomainParts(
            on_changed=indexes.changed,
            on_taken=indexes.standing.took,
            legs=indexes,
            extend_status=self._extend,
            answers=answers,
        )

    def loops(self, faults: Faults) -> list[Loop]:
        """What runs beside the replicas."""
        assert self._indexes is not None  # `open_parts` came first
        assert self._parts is not None
        self._loop = Loop("parts", self._apply_all, PARTS_EVERY_S, faults)
        self._making = Loop("making", self._parts.make_all, REMAKE_EVERY_S, faults)
        return [self._indexes.loop(faults), self._loop, self._making]

    def close(self) -> None:
        """Close the indexes."""
        if self._indexes is not None:
            self._indexes.close()

    async def _publish(self, data: bytes) -> Message:
        published = await self._trust.answer_publish(decode(data, PublishArtefact))
        if published.is_new:
            await asyncio.to_thread(self._spool.report, publication_event(published))
        self._wake()
        return published

    async def _extend(self, status: ReplicaStatus) -> ReplicaStatus:
        artefacts = await asyncio.to_thread(self._trust.artefacts)
        switches = await asyncio.to_thread(self._trust.switches)
        faults = (*status.faults, *self._trust.faults())
        return replace(status, artefacts=artefacts, switches=switches, faults=faults)

    async def _apply_all(self) -> None:
        """Fetch from the repository what is published, and bring it into force here."""
        assert self._parts is not None  # `open_parts` came first
        state = await asyncio.to_thread(self._trust.repository.repository.state)
        for path, artefact in artefacts_in(state.targets.targets).items():
            if path == artefact_path(artefact) and artefact.kind not in NO_PARTS:
                manifest: ArtefactManifest = await asyncio.to_thread(self._trust.repository.manifest, path)
                await download(self._source, manifest.chunks, self._blobs / artefact.digest, artefact.digest)
        await for_each([each for each in self._settings.tenants if self._files(each)], self._parts.apply)

    def _files(self, tenant: str) -> ArtefactFiles:
        targets = self._trust.repository.repository.state().targets.targets
        return {
            (artefact.kind, artefact.name): (self._blobs / artefact.digest, artefact.epoch)
            for path, artefact in artefacts_in(targets).items()
            if path == artefact_path(artefact)
            and artefact.tenant == tenant
            and artefact.kind not in NO_PARTS
            and (self._blobs / artefact.digest).is_file()
        }

    def _followed(self, _tenant: str) -> None:
        """Documents have arrived: what waited for them, and what is made of them."""
        self._wake()
        self._make_soon()

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.wake()

    def _make_soon(self) -> None:
        if self._making is not None:
            self._making.wake()


def publication_event(published: ArtefactPublished) -> AuditEvent:
    """What the audit log has of an artefact that was published."""
    about = f"{published.kind}/{published.name}"
    act = AuditedAct(about=about, by="operator", digest=published.digest, epoch=published.epoch)
    return AuditEvent(kind="published", tenant=published.tenant, act=act)


class RecordedSites:
    """Answers the sites that were provisioned and not revoked since, each for the tenants that it serves; see
    `hub_endpoints.SiteAdmission`."""

    def __init__(self, records: SiteRecords, tenants: tuple[str, ...]) -> None:
        self._records = records
        self._tenants = tenants

    def may_hold(self, site: str, tenant: str) -> bool:
        """Whether the site is sent anything of the tenant. Raises `UnknownSiteRecordError`, `UnreadableError`."""
        record = self._records.load(site)
        return record.is_good and tenant in (record.tenants or self._tenants)

    def check(self, site: str, tenant: str) -> None:
        """Raises `RevokedSiteError`, `NotOwnedError`, and as `may_hold` does."""
        record = self._records.load(site)
        if record.revoked_at_ms:
            raise RevokedSiteError(f"{site} was revoked: {record.reason or 'no reason is known'}")
        if not self.may_hold(site, tenant):
            raise NotOwnedError(f"{site} does not serve {tenant}, or is fenced")


def _collections(store: ReplicaStore) -> list[Collection]:
    with store.reading() as reader:
        return [reader.record(name).collection for name in reader.collections()]
