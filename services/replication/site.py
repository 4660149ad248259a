"""The sync worker of a site, whole: what it believes, its replicas, its indexes, and what is in force of its pack.

Promises that what is in force goes on, whatever of this fails. Next: hub.py, the other end."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tidegate.brokers.base import Bus
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas.artefact import NO_PARTS, ArtefactDescriptor
from tidegate.schemas.errors import RetryLaterError
from tidegate.schemas.message import replace
from tidegate.schemas.replica import ReplicaStatus
from tidegate.schemas.sync import SnapshotManifest
from tidegate.services.fleet.apply import ArtefactFiles
from tidegate.services.fleet.archiving import EVERY_S, AnswerArchiver
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.author_keys import keep_known_keys
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.refusal_counts import RefusalCounts, reporting
from tidegate.services.fleet.refused_sites import RefusedArtefacts
from tidegate.services.fleet.switches import SiteSwitches
from tidegate.services.fleet.trust_site import SiteTrust, SiteTrustPorts, open_site_trust
from tidegate.services.policies.language import load_policies
from tidegate.services.replication.composition import ReplicationParts, TenantStores, open_replication
from tidegate.services.replication.indexes import FollowedIndexes
from tidegate.services.replication.parts_in_force import PartsInForce
from tidegate.services.settings import Settings
from tidegate.sync.shells.domain import DomainParts
from tidegate.sync.shells.faults import Faults
from tidegate.sync.shells.loops import Loop, running
from tidegate.sync.shells.site_shell import SiteSync
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.standing import write_standing

REMAKE_EVERY_S = 600.0
KEYS_EVERY_S = 10.0


@asynccontextmanager
async def open_site_worker(settings: Settings, bus: Bus) -> AsyncIterator[SiteSync]:
    """A site's sync worker, until left. Raises what `open_site_trust` and `open_replication` raise."""
    assert isinstance(bus, JetStreamBus)  # replicas follow streams: there is nothing to follow in memory
    worker, spool = SiteWorker(settings), EventSpool(StatePaths(settings).audit_events)
    async with reporting(worker.refusals, spool), open_site_trust(settings, bus, worker.ports) as trust:
        worker.trust = trust
        parts = ReplicationParts(
            domain=worker.open_parts,
            signer=trust.signer,
            verifier=trust.verifier,
            snapshots=TenantSnapshots(trust),
            lease=worker,
            incarnation=trust.identity.incarnation,
            boot_id=worker.ports.boot_id,
        )
        try:
            async with open_replication(settings, bus, parts) as site:
                assert isinstance(site, SiteSync)  # the settings are a site's
                readmission = Loop("incarnation", partial(readmit, site, trust), 60.0, site.faults)
                archiver = AnswerArchiver(settings, bus, lambda: trust.clock.now_ms() / 1000)
                archive = Loop("archive", archiver.work, EVERY_S, site.faults)
                async with running([*worker.loops(site.faults), readmission, archive]):
                    yield site
        finally:
            worker.close()


async def readmit(site: SiteSync, trust: SiteTrust) -> None:
    """Have the authors write as the incarnation that the site was provisioned as."""
    await site.readmit(trust.identity.incarnation)


class SiteWorker:
    """What a site's documents and parts are followed with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._paths = StatePaths(settings)
        self.refusals = RefusalCounts()
        self._holdings = Holdings(self._paths.trust, self._paths.trust / "blobs")
        self._switches = SiteSwitches(settings)
        self._indexes: FollowedIndexes | None = None
        self._parts: PartsInForce | None = None
        self._loop: Loop | None = None
        self.trust: SiteTrust | None = None
        self.ports = SiteTrustPorts(
            boot_id=secrets.token_hex(8),
            activate=self._activate,
            write_standing=partial(write_standing, self._paths.trust),
            check=check_policy,
            on_refused=RefusedArtefacts(self.refusals).on_refused,
        )

    def open_parts(self, stores: TenantStores) -> DomainParts:
        """What the replicas call."""
        indexes = self._indexes = FollowedIndexes(self._settings, stores, self._followed)
        self._parts = PartsInForce(self._settings, indexes.is_current, self._files, self._wake)
        return DomainParts(
            on_changed=indexes.changed,
            on_taken=indexes.standing.took,
            legs=indexes,
            extend_status=self._extend,
            refresh_trust=self._refresh,
        )

    def loops(self, faults: Faults) -> list[Loop]:
        """What runs beside the replicas."""
        assert self._indexes is not None  # `open_parts` came first
        assert self._parts is not None
        self._loop = Loop("parts", self._parts.make_all, REMAKE_EVERY_S, faults)
        return [self._indexes.loop(faults), self._loop, Loop("keys", self._keep_keys, KEYS_EVERY_S, faults)]

    def has_lease(self) -> bool:
        """See `site_shell.LeaseState`."""
        return self.trust is not None and self.trust.is_leased

    def close(self) -> None:
        """Close the indexes."""
        if self._indexes is not None:
            self._indexes.close()

    async def _activate(self, tenant: str) -> None:
        if self._parts is not None and not await self._parts.apply(tenant):
            raise RetryLaterError(f"what is made of the parts of {tenant} is being made", after_s=1.0)

    def _followed(self, _tenant: str) -> None:
        """Documents have arrived: what waited for them, and what is made of them."""
        if self.trust is not None:
            self.trust.artefacts.sync_soon()
        self._wake()

    def _wake(self) -> None:
        if self._loop is not None:
            self._loop.wake()

    async def _keep_keys(self) -> None:
        """Have other processes of the site know the keys that the hub has published."""
        if self.trust is not None:
            await asyncio.to_thread(keep_known_keys, self._settings, self.trust.artefacts.keyring.keys)

    async def _refresh(self) -> None:
        if self.trust is not None:
            self.trust.artefacts.sync_soon()

    def _files(self, tenant: str) -> ArtefactFiles:
        held = [each.artefact for each in self._holdings.activated().values() if each.artefact.tenant == tenant]
        wanted = [each for each in held if each.kind not in NO_PARTS]
        return {(each.kind, each.name): (self._holdings.verified(each), each.epoch) for each in wanted}

    async def _extend(self, status: ReplicaStatus) -> ReplicaStatus:
        trust = self.trust
        if trust is None:
            return status
        standing = await asyncio.to_thread(trust.standing)
        report = trust.attester.report
        return replace(
            status,
            artefacts=await asyncio.to_thread(trust.status),
            switches=await asyncio.to_thread(self._switches.status),
            rung=standing.rung,
            rung_reason="; ".join(standing.because),
            assurance=report.assurance,
            lease_until_ms=report.until_ms,
            trusted_ms=trust.trusted_ms(),
            faults=(*status.faults, *trust.faults()),
        )


class TenantSnapshots:
    """The snapshots of all tenants, from the hub's repository; see `leaf_client.SnapshotSource`."""

    def __init__(self, trust: SiteTrust) -> None:
        self._trust = trust

    async def manifest(self, tenant: str, collection: str) -> SnapshotManifest | None:
        """See `SnapshotSource`."""
        return await self._trust.snapshots(tenant).snapshot(collection)

    async def chunk(self, tenant: str, collection: str, digest: str) -> bytes:
        """See `SnapshotSource`."""
        return await self._trust.snapshots(tenant).chunk(collection, digest)


def check_policy(artefact: ArtefactDescriptor, file: Path) -> None:
    """Have a critical policy be one that this site can read, before it votes for it. Raises `PolicyError`."""
    if artefact.kind == "policy":
        load_policies([file])
