"""What a domain knows of its replicas, for `tidegate sync status`, the page and the metrics.

Next: schemas/replica.py, `ReplicaStatus`; domain.py, who adds what this folder does not know."""

from __future__ import annotations

import asyncio

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.replica import CollectionStatus, ReplicaStatus
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import LogPosition
from tidegate.sync.records import ReplicaRecord
from tidegate.sync.shells import metrics
from tidegate.sync.shells.checks import Checks
from tidegate.sync.shells.conflicts import ConflictIndex
from tidegate.sync.shells.domain import DomainParts, DomainTenant, ReplicaDomain


class StatusReader:
    """Reads the status of one domain."""

    def __init__(
        self, domain: ReplicaDomain, conflicts: dict[str, ConflictIndex], checks: Checks, parts: DomainParts
    ) -> None:
        self._domain = domain
        self._conflicts = conflicts
        self._checks = checks
        self._parts = parts
        self._counted: dict[tuple[str, str], int] = {}

    async def read(self, tenant: str = "", collection: str = "") -> ReplicaStatus:
        """The status, of one tenant or collection where it is named. Sets the metrics."""
        found: list[CollectionStatus] = []
        boot_id, incarnation, is_fenced = "", 1, False
        for name, each in self._domain.tenants.items():
            with each.store.reading() as reader:
                own = reader.own()
            boot_id, incarnation = own.boot_id, max(incarnation, own.incarnation)
            is_fenced = is_fenced or own.is_fenced
            if tenant in ("", name):
                wanted = [one for one in each.collections() if collection in ("", one)]
                found += [await self._read(each, one) for one in wanted]
        status = ReplicaStatus(
            domain=self._domain.domain,
            boot_id=boot_id,
            incarnation=incarnation,
            is_fenced=is_fenced,
            collections=tuple(found),
            trusted_ms=self._domain.now_ms(),
            faults=self._domain.faults.all(),
        )
        return status if self._parts.extend_status is None else await self._parts.extend_status(status)

    async def _read(self, tenant: DomainTenant, collection: str) -> CollectionStatus:
        with tenant.store.reading() as reader:
            record, pending = reader.record(collection), reader.count_pending(collection)
        rule, key = record.collection, (tenant.name, collection)
        now_ms = self._domain.now_ms()
        is_followed = rule.owner == "shared" and self._domain.domain != HUB
        known_at_ms = record.known_at_ms if is_followed else now_ms
        legs = self._parts.legs
        status = CollectionStatus(
            tenant=tenant.name,
            collection=collection,
            owner=rule.owner,
            state=record.replica.state if rule.owner == "shared" else "local",
            position=str(record.replica.position or ""),
            head=str((record.head if is_followed else record.replica.position) or ""),
            lag=lag_of(record) if is_followed else 0,
            known_at_ms=known_at_ms,
            fresh_within_s=rule.fresh_within_s,
            is_fresh=now_ms - known_at_ms <= rule.fresh_within_s * 1000,
            documents=record.documents,
            indexed_generation=0 if legs is None else legs.generation(tenant.name, collection),
            generation=record.generation,
            checksum=record.checksum.digest,
            conflicts=await self._count_conflicts(tenant.name, collection),
            pending=pending,
            fault=self._domain.faults.about("/".join(key)),
            last_repair=self._checks.last.get(key),
        )
        metrics.show(status, max(0, now_ms - known_at_ms) / 1000)
        return status

    async def _count_conflicts(self, tenant: str, collection: str) -> int:
        """As they are now; as they were last, where a document cannot be read."""
        try:
            ids = await asyncio.to_thread(self._conflicts[tenant].ids, collection)
        except TidegateError as error:
            self._domain.faults.note(f"{tenant}/{collection}", error, "conflicts")
        else:
            self._domain.faults.clear(f"{tenant}/{collection}", "conflicts")
            self._counted[tenant, collection] = len(ids)
        return self._counted.get((tenant, collection), 0)


def lag_of(record: ReplicaRecord) -> int:
    """The deltas that are not applied, as far as is known."""
    position, head = record.replica.position or LogPosition(1), record.head
    if head is None or head <= position:
        return 0
    return head.index - (position.index if head.epoch == position.epoch else 0)
