"""The sync worker of the hub: relays what sites and the hub write, answers sites, grants, writes snapshots, repairs.

Promises that it goes on after a lost server, a full stream or a killed worker, from what the log and the store say,
and that whatever fails is a fault in the status. Next: hub_tenant.py; site_shell.py, the other end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256

import msgspec

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.stored import StoredStream
from tidegate.brokers.topology.streams import SYNC_CONSUMER
from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.following import FollowRequest
from tidegate.schemas.message import encode
from tidegate.schemas.subjects import CORPUS, EDITS, HUB, artefacts
from tidegate.schemas.sync import Collection, LogPosition
from tidegate.sync.leasing import LeaseGate
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.corpus_log import CorpusLog
from tidegate.sync.shells.domain import ChangeWatch, SyncOpening
from tidegate.sync.shells.edits_intake import EditsIntake
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.grants import Granting
from tidegate.sync.shells.hub_endpoints import HubEndpoints, SiteAdmission
from tidegate.sync.shells.hub_tenant import HubTenant
from tidegate.sync.shells.intake import StreamIntake
from tidegate.sync.shells.local_endpoints import LocalEndpoints
from tidegate.sync.shells.local_journal import LocalJournal
from tidegate.sync.shells.loops import Loop, running
from tidegate.sync.shells.refused_sites import OnRefused, tell_nobody
from tidegate.sync.snapshots import BlobWriter

OWN_EVERY_S = 2.0
SNAPSHOTS_EVERY_S = 5.0
GRANTS_EVERY_S = 60.0
RECOVER_EVERY_S = 30.0
TRIM_EVERY_S = 600.0
KEPT_EDITS = 10_000
"""So many of the last edits stay in EDITS once they are relayed, for whoever looks for what the link lost."""


class OriginLostError(TidegateError):
    """A site has applied more of a log than the hub has of it: the hub's log, or its store, was lost or restored."""

    hint = "nothing needs doing: the log goes on in a new epoch, and sites offer what they still hold"


class OwnerChangedError(TidegateError):
    """A collection that holds documents cannot become another owner's: they would be where they may not be."""

    hint = "put a collection of another name, and write the documents into it"


class HubPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a hub is given by those who know of trust. `blobs` takes the snapshots of a tenant; None: none are written.
    `admission` says which sites are answered; None: all that the server lets in. `grants` says what each is sent; None:
    what its carriers were declared with. `gate` knows who has a lease; None: nobody gets what is sensitive.
    `on_refused` hears what a site is refused.
    """

    blobs: Callable[[str], BlobWriter] | None = None
    admission: SiteAdmission | None = None
    grants: Granting | None = None
    gate: LeaseGate | None = None
    on_refused: OnRefused = tell_nobody


class HubSync:
    """The hub's replicas, as a running worker has them; see `domain.ReplicaDomain`."""

    domain = HUB

    def __init__(
        self, settings: SyncSettings, bus: JetStreamBus, opening: SyncOpening,
        ports: HubPorts,
    ) -> None:  # fmt: skip
        self.faults = Faults()
        self._settings = settings
        self._bus = bus
        self._clock = opening.clock
        stream = StoredStream(bus, CORPUS)
        signing = (opening.signer, opening.verifier)
        self._tenants = {
            name: HubTenant(
                name, store, CorpusLog(stream, name), signing, ports.blobs(name) if ports.blobs else None, ports.gate
            )
            for name, store in opening.stores.items()
        }
        self._journals = {name: LocalJournal(bus, name, store) for name, store in opening.stores.items()}
        self._changes = ChangeWatch(opening.parts.on_changed)
        self._on_taken = opening.parts.on_taken
        self._grants = ports.grants
        self.endpoints = HubEndpoints(self._tenants, self, opening.clock, ports.admission, ports.on_refused)
        self.local = LocalEndpoints(self, opening.parts)
        self._own = Loop("own", self._relay_own, OWN_EVERY_S, self.faults)
        self._snapshots = Loop("snapshots", self._write_snapshots, SNAPSHOTS_EVERY_S, self.faults)
        self._mending = Loop("scrub", self._mend, settings.scrub_every_s, self.faults, settings.scrub_every_s)
        self._forgetting = Loop(
            "forgetting", self._forget, settings.forget_every_s, self.faults, settings.forget_every_s
        )
        self._granting = Loop("grants", self._grant, GRANTS_EVERY_S, self.faults)

    @property
    def tenants(self) -> Mapping[str, HubTenant]:
        """See `ReplicaDomain`."""
        return self._tenants

    @property
    def loops(self) -> list[Loop]:
        """All that runs."""
        edits = EditsIntake(self._bus, self._tenants, self._clock, self.faults, self._relayed)
        intake = StreamIntake(self._bus, EDITS, edits.settle, self._on_taken)
        recovery = Loop("recovery", self._recover_again, RECOVER_EVERY_S, self.faults, RECOVER_EVERY_S)
        taking = Loop("edits", intake.run, 0.0, self.faults)
        trimming = Loop("trimming", self._trim, TRIM_EVERY_S, self.faults, TRIM_EVERY_S)
        status = Loop("status", self.local.status.read, self._settings.head_every_s, self.faults)
        own = [self._own, self._snapshots, self._granting, self._mending, self._forgetting]
        return [*own, taking, recovery, trimming, status]

    def now_ms(self) -> int:
        """See `ReplicaDomain`."""
        return self._clock()

    async def written(self, tenant: str) -> None:
        """See `ReplicaDomain`. What the log does not take now is a fault, and is put into it later."""
        try:
            await self._tenants[tenant].take_own(self._clock())
        except (TidegateError, OSError) as error:
            self.faults.note(self._own.source, error)
        self._own.wake()
        self._relayed(tenant)

    async def put_collection(self, collection: Collection) -> None:
        """Store a collection and its rule, publish it, and grant it to the sites that may hold it.

        Raises `OwnerChangedError`, `NotOwnedError`; where the grant could not be made it is made later.
        """
        tenant = self._tenant(collection.tenant)
        _check_owner(tenant, collection)
        tenant.store.put_collection(collection)
        self._relayed(collection.tenant)
        try:
            await self._grant()  # before anything is published under it: what comes later needs no new mirror
        except (TidegateError, OSError) as error:
            self.faults.note("grants", error)
            self._granting.wake()
        if collection.owner != "hub":
            data = encode(collection)
            subject = artefacts(collection.tenant, "collection", collection.name)
            id = f"{self._clock()}.{sha256(data).hexdigest()}"  # noqa: A001 - as the header is called
            await self._bus.publisher.store(subject, data, {"Nats-Msg-Id": id})

    async def check(self, tenant: str, collection: str, *, is_repair: bool, is_read_back: bool) -> RepairReport:
        """See `ReplicaDomain`. Damage is repaired by the log; without reading back there is nothing to compare with."""
        held = self._tenant(tenant)
        if collection not in held.shared():
            return await self._journals[tenant].check(collection, is_repair=is_repair, is_read_back=is_read_back)
        return await held.mend(collection, is_repair=is_repair) if is_read_back else RepairReport(documents={})

    async def snapshot(self, tenant: str, collection: str) -> None:
        """Write a snapshot of a shared collection. Raises `NotOwnedError`, and what `HubTenant.snapshot` raises."""
        if collection not in self._tenant(tenant).shared():
            raise NotOwnedError(f"{collection} is not shared: no site begins with a snapshot of it")
        await self._tenant(tenant).snapshot(collection, self._clock())
        self.faults.clear(f"{tenant}/{collection}", "epoch")

    async def follow(self, site: str, request: FollowRequest) -> None:
        """See `SiteWatcher`."""
        tenant = self._tenant(request.tenant)
        shared = tenant.shared()
        for name, position in request.positions.items():
            if position is not None and name in shared:
                await self._compare_position(site, tenant, name, position)
        tenant.seen.hear(site, request, self._clock())

    def taking(self, tenant: str, operations: int, *, is_settled: bool) -> None:
        """See `SiteWatcher`."""
        self._on_taken(operations, is_settled)
        self._relayed(tenant)

    def damaged(self, tenant: str, collection: str) -> None:
        """See `SiteWatcher`."""
        self.faults.note(f"{tenant}/{collection}", RetryLaterError("a document is damaged on the disk", 0.0), "disk")
        self._mending.wake()

    def _tenant(self, name: str) -> HubTenant:
        if name not in self._tenants:
            raise NotOwnedError(f"this hub has no tenant {name}")
        return self._tenants[name]

    async def _grant(self) -> None:
        if self._grants is not None:
            await self._grants.apply_all()

    def _relayed(self, tenant: str) -> None:
        self._changes.look(tenant, self._tenants[tenant].store)
        self._snapshots.wake()

    async def _relay_own(self) -> None:
        """Read the log after a start; then see that own edits are in it."""
        for tenant in self._tenants.values():
            if not tenant.is_recovered:
                await self._recover(tenant)
            elif await tenant.take_own(self._clock()):
                self._relayed(tenant.name)
        for journal in self._journals.values():
            await journal.write()

    async def _recover_again(self) -> None:
        """An append whose end was not seen may have left the store behind the log, or a server lost its end."""
        for tenant in self._tenants.values():
            if tenant.is_recovered:
                await self._recover(tenant)

    async def _recover(self, tenant: HubTenant) -> None:
        for name in await tenant.recover(self._clock()):
            error = OriginLostError(f"the log of {name} ended before what was applied of it here")
            self.faults.note(f"{tenant.name}/{name}", error, "epoch")
        self._relayed(tenant.name)

    async def _compare_position(self, site: str, tenant: HubTenant, name: str, position: LogPosition) -> None:
        end = await tenant.judge_position(name, position)
        if end is not None:
            error = OriginLostError(f"{site} has applied {position}, the log ended at {end}")
            self.faults.note(f"{tenant.name}/{name}", error, "epoch")
            self._snapshots.wake()

    async def _write_snapshots(self) -> None:
        for tenant in self._tenants.values():
            if not tenant.is_recovered:
                continue
            for name in tenant.shared():
                if await tenant.is_snapshot_due(name, self._settings.snapshot_after_deltas):
                    await self.snapshot(tenant.name, name)

    async def _trim(self) -> None:
        """What was relayed is in the log."""
        await StoredStream(self._bus, EDITS).trim(SYNC_CONSUMER, KEPT_EDITS)

    async def _forget(self) -> None:
        for tenant in self._tenants.values():
            for name in tenant.shared() if tenant.is_recovered else ():
                if await tenant.forget(name, self._clock(), self._settings) is not None:
                    await self.snapshot(tenant.name, name)
                    self._relayed(tenant.name)
        for name, journal in self._journals.items():
            if await journal.forget(self._settings):
                self._relayed(name)

    async def _mend(self) -> None:
        for tenant in self._tenants.values():
            for name in tenant.collections():
                outcome = await self.local.checks.run(tenant.name, name, is_repair=True)
                if not outcome.fault:
                    self.faults.clear(f"{tenant.name}/{name}", "disk")


@asynccontextmanager
async def open_hub_sync(
    settings: SyncSettings,
    bus: JetStreamBus,
    opening: SyncOpening,
    ports: HubPorts | None = None,
) -> AsyncIterator[HubSync]:
    """The hub's worker, until left. Who opens it holds the lock of the stores."""
    hub = HubSync(settings, bus, opening, ports or HubPorts())
    await hub.endpoints.serve(bus)
    await hub.local.serve(bus)
    async with running(hub.loops):
        yield hub


def _check_owner(tenant: HubTenant, collection: Collection) -> None:
    before = tenant.collections().get(collection.name)
    if before is None or before.owner == collection.owner:
        return
    record = tenant.store.record(collection.name)
    if record.documents or record.replica.position is not None:
        raise OwnerChangedError(f"{collection.name} is {before.owner}, and holds {record.documents} documents")
