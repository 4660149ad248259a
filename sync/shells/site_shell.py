"""The sync worker of a site: follows the hub live, asks what it missed, compares, repairs, sends what is written here.

Promises that whatever was published while the link was down is here soon after it is up, that nothing that was written
here is lost on the way, and that whatever fails is a fault in the status. Next: site_tenant.py; hub_shell.py."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from tidegate.brokers.base import Delivery
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.stored import StoredStream
from tidegate.brokers.topology.streams import UP_CONSUMER
from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.following import FollowReply, SendOperations
from tidegate.schemas.replication import RelayReceipt
from tidegate.schemas.subjects import ARTEFACTS, CORPUS, EDITS
from tidegate.schemas.sync import Collection
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.rules.ownership import NotOwnedError, may_hold
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.arrivals import SOURCE, Arrivals
from tidegate.sync.shells.corpus_log import CorpusLog
from tidegate.sync.shells.domain import ChangeWatch, SyncOpening
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.hub_requests import HubRequests
from tidegate.sync.shells.hub_shell import KEPT_EDITS, TRIM_EVERY_S, OwnerChangedError
from tidegate.sync.shells.hub_time import HubTime
from tidegate.sync.shells.intake import StreamIntake
from tidegate.sync.shells.leaf_client import LeafHubClient, SnapshotSource
from tidegate.sync.shells.local_endpoints import LocalEndpoints
from tidegate.sync.shells.local_journal import LocalJournal
from tidegate.sync.shells.loops import Loop, running
from tidegate.sync.shells.outbox import SiteOutbox
from tidegate.sync.shells.site_tenant import SiteTenant

SEND_EVERY_S = 1.0
RECEIPTS_EVERY_S = 0.25
SLOWEST_RECEIPTS_S = 0.5
"""However long the hub was away: asking where nobody answers costs one short message to the site's own server."""
FIRST_COMPARISON_S = 5.0


class LeaseState(Protocol):
    """Whether the site may read what is sensitive now."""

    def has_lease(self) -> bool:
        """It has a lease that is not over."""


class SiteSync:
    """A site's replicas, as a running worker has them; see `domain.ReplicaDomain`."""

    def __init__(
        self, settings: SyncSettings, bus: JetStreamBus, opening: SyncOpening,
        snapshots: SnapshotSource | None, lease: LeaseState | None,
    ) -> None:  # fmt: skip
        self.domain = bus.domain
        self.faults = Faults()
        self.hub_time = HubTime(opening.clock)
        self._settings = settings
        self._bus = bus
        self._lease = lease
        self._hub = HubRequests(bus, bus.domain)
        self._mirror = StoredStream(bus, CORPUS)
        self._changes = ChangeWatch(opening.parts.on_changed)
        self._on_taken = opening.parts.on_taken
        self._comparing = Loop("compare", self._compare, settings.compare_every_s, self.faults, FIRST_COMPARISON_S)
        self._tenants = {name: self._open_tenant(name, opening, snapshots) for name in opening.stores}
        self._journals = {name: LocalJournal(bus, name, store) for name, store in opening.stores.items()}
        self.local = LocalEndpoints(self, opening.parts)
        self.polling = Loop("hub", self._poll, settings.head_every_s, self.faults, slowest_s=settings.head_every_s)
        self._sending = Loop("outbox", self._send, SEND_EVERY_S, self.faults)
        self._receipts = Loop("receipts", self._send_again, RECEIPTS_EVERY_S, self.faults, slowest_s=SLOWEST_RECEIPTS_S)

    @property
    def tenants(self) -> Mapping[str, SiteTenant]:
        """See `ReplicaDomain`."""
        return self._tenants

    @property
    def loops(self) -> list[Loop]:
        """All that runs."""
        arrivals = Arrivals(self._tenants, self.faults, self.polling.wake)
        intake = StreamIntake(self._bus, CORPUS, arrivals.take, self._on_taken)
        arriving = Loop("arriving", intake.run, 0.0, self.faults)
        learning = Loop("learning", StreamIntake(self._bus, ARTEFACTS, self._learn).run, 0.0, self.faults)
        scrub_every_s = self._settings.scrub_every_s
        scrubbing = Loop("scrub", self._scrub, scrub_every_s, self.faults, scrub_every_s)
        trimming = Loop("trimming", self._trim, TRIM_EVERY_S, self.faults, TRIM_EVERY_S)
        forget_every_s = self._settings.forget_every_s
        forgetting = Loop("forgetting", self._forget, forget_every_s, self.faults, forget_every_s)
        status = Loop("status", self.local.status.read, self._settings.head_every_s, self.faults)
        own = [self.polling, self._sending, self._receipts, self._comparing, arriving, learning]
        return [*own, scrubbing, trimming, forgetting, status]

    async def wake(self) -> None:
        """The connection is back: what failed without it is tried at once."""
        for loop in (self.polling, self._sending, self._receipts):
            loop.wake()

    def now_ms(self) -> int:
        """See `ReplicaDomain`."""
        return self.hub_time.now_ms()

    async def written(self, tenant: str) -> None:
        """See `ReplicaDomain`."""
        self._sending.wake()
        self._look(tenant)

    async def put_collection(self, collection: Collection) -> None:
        """Have a collection that stays at this site. Raises `NotOwnedError`, `OwnerChangedError`."""
        if collection.owner != "site" or not may_hold(collection, self.domain):
            raise NotOwnedError(f"{collection.name} is not this site's own: it is put at the hub")
        tenant = self._tenant(collection.tenant)
        before = tenant.collections().get(collection.name)
        if before is not None and before.owner != "site":
            raise OwnerChangedError(f"{collection.name} is {before.owner}")
        tenant.store.put_collection(collection)
        self._look(collection.tenant)

    async def check(self, tenant: str, collection: str, *, is_repair: bool, is_read_back: bool) -> RepairReport:
        """See `ReplicaDomain`. What stays at this site is compared with nobody, but with its own checksums."""
        held = self._tenant(tenant)
        if collection not in held.shared():
            return await self._journals[tenant].check(collection, is_repair=is_repair, is_read_back=is_read_back)
        if is_read_back:
            await held.scrub(collection)
        return await (held.compare(collection) if is_repair else held.examine(collection))

    async def snapshot(self, tenant: str, collection: str) -> None:
        """Raises `NotOwnedError`: the hub writes snapshots."""
        raise NotOwnedError(f"snapshots of {tenant}/{collection} are written at the hub")

    async def readmit(self, incarnation: int) -> None:
        """Write as another incarnation, which the hub has granted, in all tenants. Raises `AuthorFencedError` where it
        is not a later one, and what the hub raises."""
        for tenant in self._tenants.values():
            with tenant.store.reading() as reader:
                own = reader.own()
            if own.incarnation >= incarnation:
                continue
            asked = SendOperations(tenant=tenant.name, actor=own.actor)
            mark = (await self._hub.ask(asked, RelayReceipt)).mark
            tenant.author.readmit(incarnation, mark, self.now_ms())
            tenant.note_all("readmitted")
            self.faults.clear(f"{tenant.name}", "author")
        self._sending.wake()
        self.polling.wake()

    def _open_tenant(self, name: str, opening: SyncOpening, snapshots: SnapshotSource | None) -> SiteTenant:
        store = opening.stores[name]
        hub = LeafHubClient(name, self._hub, CorpusLog(self._mirror, name), snapshots)
        outbox = SiteOutbox(self.domain, name, store, self._bus, self._hub, self.faults)
        signing = (opening.signer, opening.verifier)
        tenant = SiteTenant(name, store, hub, signing, outbox, opening.code_version)
        tenant.look = lambda: self._changes.look(name, store)
        if opening.parts.refresh_trust is not None:
            tenant.refresh_trust = opening.parts.refresh_trust
        outbox.on_hole = self._comparing.wake
        return tenant

    def _tenant(self, name: str) -> SiteTenant:
        if name not in self._tenants:
            raise NotOwnedError(f"{self.domain} serves no tenant {name}")
        return self._tenants[name]

    def _look(self, tenant: str) -> None:
        self._changes.look(tenant, self._tenants[tenant].store)

    async def _poll(self) -> None:
        """Ask the hub what there is, and fetch what did not come by itself; of every tenant, whatever fails for one."""
        failed = None
        for tenant in self._tenants.values():
            try:
                await self._poll_tenant(tenant)
            except ConnectionError:
                raise  # the link: all others fail alike
            except TidegateError as error:
                failed = error
        if failed is not None:
            raise failed

    async def _poll_tenant(self, tenant: SiteTenant) -> None:
        reply = await self._hub.ask(tenant.report(), FollowReply)
        self.hub_time.hear(reply.known_at_ms)
        tenant.learn(reply, self._lease is None or self._lease.has_lease(), self.faults)
        self._judge_author(tenant, reply)
        heads = [head for head in reply.heads if head.collection in tenant.shared()]
        if tenant.follower.observe(heads):
            self._comparing.wake()
        for collection in tenant.behind(heads):
            await self._follow(tenant, collection)

    def _judge_author(self, tenant: SiteTenant, reply: FollowReply) -> None:
        """Have the author know what the hub knows of it."""
        with tenant.store.reading() as reader:
            own = reader.own()
        known = reply.mark.counter if reply.mark else 0
        if reply.fence or known > own.counter:
            tenant.author.fence()
            reason = reply.fence or f"the hub knows {known} operations of {own.actor}, this disk {own.counter}"
            self.faults.note(tenant.name, AuthorUnknownError(reason), "author")
            if not own.is_fenced:
                self.local.report_fence(tenant.name, reason)
            return
        tenant.author.learn(reply.mark)
        tenant.outbox.settle(reply.mark)

    async def _follow(self, tenant: SiteTenant, collection: str) -> None:
        about = f"{tenant.name}/{collection}"
        try:
            await tenant.follow(collection)
        except RetryLaterError:
            return
        except TidegateError as error:
            if isinstance(error, ConnectionError):
                raise  # the link: all others fail alike
            self.faults.note(about, error, SOURCE)
        else:
            self.faults.clear(about, SOURCE)

    async def _learn(self, batch: Sequence[Delivery]) -> None:
        """A collection was published: ask the hub for it."""
        for delivery in batch:
            await delivery.ack()
        self.polling.wake()

    async def _send(self) -> None:
        for tenant in self._tenants.values():
            await tenant.outbox.publish()
        for journal in self._journals.values():
            await journal.write()

    async def _trim(self) -> None:
        """What the hub has stored, or the outbox holds, need not be in EDITS for ever."""
        await StoredStream(self._bus, EDITS).trim(UP_CONSUMER, KEPT_EDITS)

    async def _forget(self) -> None:
        """What is shared is forgotten with the hub."""
        for name, journal in self._journals.items():
            if await journal.forget(self._settings):
                self._look(name)

    async def _send_again(self) -> None:
        for tenant in self._tenants.values():
            await tenant.outbox.send_again()

    async def _compare(self) -> None:
        """Compare all; raises `RetryLaterError` afterwards, where one could not be."""
        fault = ""
        for tenant in self._tenants.values():
            for collection in tenant.shared():
                if tenant.store.record(collection).replica.state in ("empty", "revoked"):
                    continue
                outcome = await self.local.checks.run(tenant.name, collection, is_repair=True, is_read_back=False)
                if outcome.fault:
                    fault = f"{collection}: {outcome.fault}"
        if fault:
            raise RetryLaterError(fault, after_s=1.0)

    async def _scrub(self) -> None:
        for tenant in self._tenants.values():
            for collection in tenant.collections():
                await tenant.scrub(collection)
        self._comparing.wake()


class AuthorUnknownError(TidegateError):
    """The hub knows another history of this site than its own disk: a new disk, a restored backup, or a clone."""

    hint = "`tidegate site add` provisions the site anew, as its next incarnation; it reads on meanwhile"


@asynccontextmanager
async def open_site_sync(
    settings: SyncSettings,
    bus: JetStreamBus,
    opening: SyncOpening,
    *,
    snapshots: SnapshotSource | None = None,
    lease: LeaseState | None = None,
) -> AsyncIterator[SiteSync]:
    """A site's worker, until left. `snapshots` are where new sites begin; None: they read the log from its beginning.
    `lease` says whether it may read; None: always. Who opens it holds the lock of the stores. Its mirrors are kept by
    downlink_link.py."""
    site = SiteSync(settings, bus, opening, snapshots, lease)
    await site.local.serve(bus)
    bus.link.on_reconnect.append(site.wake)
    try:
        async with running(site.loops):
            yield site
    finally:
        bus.link.on_reconnect.remove(site.wake)
