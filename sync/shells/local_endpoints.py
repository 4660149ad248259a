"""Answers what is asked of the sync worker of its own domain: edits, collections, conflicts, checks, its status.

Nothing crosses the link here: `replica.<verb>` stays in its domain. What cannot be done is a `ReplicaFault`.
Next: schemas/replica.py, the messages; domain.py, who does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from tidegate.brokers.base import CoreClient, report
from tidegate.schemas.audit import AuditedAct, AuditEvent
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import Message, decode, encode
from tidegate.schemas.replica import (
    CollectionRequest,
    ConflictList,
    DocumentConflict,
    DocumentsWritten,
    Done,
    PutCollection,
    RepairOutcomes,
    ReplicaStatus,
    ResolveConflict,
    WriteDocuments,
)
from tidegate.schemas.subjects import replica_request
from tidegate.sync.rules.merge import Version
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.shells.checks import Checks
from tidegate.sync.shells.conflicts import ConflictIndex
from tidegate.sync.shells.domain import DomainParts, DomainTenant, ReplicaDomain
from tidegate.sync.shells.status import StatusReader
from tidegate.sync.shells.wire_faults import fault_of
from tidegate.sync.store import ReplicaStore

M = TypeVar("M", bound=Message)


class DocumentIdTakenError(TidegateError):
    """Another collection of the tenant holds a document of this id here."""

    hint = "give the document another id, or delete it in the other collection first: a citation names it by its id"


class LocalEndpoints:
    """The endpoints of one domain."""

    def __init__(self, domain: ReplicaDomain, parts: DomainParts) -> None:
        self._domain = domain
        self._parts = parts
        self.conflicts = {name: ConflictIndex(name, each.store) for name, each in domain.tenants.items()}
        self.checks = Checks(domain, parts.legs, parts.report)
        self.status = StatusReader(domain, self.conflicts, self.checks, parts)

    async def serve(self, core: CoreClient) -> None:
        """Answer on `core` until it is closed."""
        answers: dict[str, Callable[[bytes], Awaitable[Message]]] = {
            "write": _reading(WriteDocuments, self._write),
            "collection": _reading(PutCollection, self._put_collection),
            "status": _reading(CollectionRequest, self._status),
            "conflicts": _reading(CollectionRequest, self._list_conflicts),
            "resolve": _reading(ResolveConflict, self._resolve),
            "verify": _reading(CollectionRequest, self._verify),
            "repair": _reading(CollectionRequest, self._repair),
            "snapshot": _reading(CollectionRequest, self._snapshot),
            **self._parts.answers,
        }
        for verb, answer in answers.items():
            await core.respond(replica_request(verb), _replying(answer))

    def report_fence(self, tenant: str, reason: str) -> None:
        """Keep for the audit log that the domain may not write any more. Raises `OSError`."""
        act = AuditedAct(about=self._domain.domain, reason=reason[:500])
        self._parts.report(AuditEvent(kind="site_fenced", tenant=tenant, act=act))

    async def _write(self, request: WriteDocuments) -> DocumentsWritten:
        tenant = self._tenant(request.tenant)
        await asyncio.to_thread(_check_ids, tenant.store, request.collection, request.documents)
        changes = {**dict.fromkeys(request.deleted), **request.documents}
        try:
            written = await tenant.write(request.collection, changes, self._domain.now_ms())
        finally:
            await self._domain.written(request.tenant)
        return _written(request.tenant, request.collection, written)

    async def _put_collection(self, request: PutCollection) -> Done:
        self._tenant(request.collection.tenant)
        await self._domain.put_collection(request.collection)
        return Done()

    async def _status(self, request: CollectionRequest) -> ReplicaStatus:
        return await self.status.read(request.tenant, request.collection)

    async def _list_conflicts(self, request: CollectionRequest) -> ConflictList:
        found: list[DocumentConflict] = []
        for tenant, collection in self._named(request):
            found += await asyncio.to_thread(self.conflicts[tenant].describe, collection)
        return ConflictList(conflicts=tuple(found))

    async def _resolve(self, decision: ResolveConflict) -> DocumentsWritten:
        tenant = self._tenant(decision.tenant)
        content = self.conflicts[decision.tenant].decide(decision)
        changes = {decision.document_id: content}
        try:
            written = await tenant.write(decision.collection, changes, self._domain.now_ms())
        finally:
            await self._domain.written(decision.tenant)
        act = AuditedAct(about=f"{decision.collection}/{decision.document_id}"[:500], by="operator")
        event = AuditEvent(kind="conflict_resolved", tenant=decision.tenant, act=act)
        await asyncio.to_thread(self._parts.report, event)
        return _written(decision.tenant, decision.collection, written)

    async def _verify(self, request: CollectionRequest) -> RepairOutcomes:
        return await self._check(request, is_repair=False)

    async def _repair(self, request: CollectionRequest) -> RepairOutcomes:
        return await self._check(request, is_repair=True)

    async def _check(self, request: CollectionRequest, *, is_repair: bool) -> RepairOutcomes:
        outcomes = [
            await self.checks.run(tenant, collection, is_repair=is_repair)
            for tenant, collection in self._named(request)
        ]
        return RepairOutcomes(outcomes=tuple(outcomes))

    async def _snapshot(self, request: CollectionRequest) -> Done:
        for tenant, collection in self._named(request):
            await self._domain.snapshot(tenant, collection)
        return Done()

    def _named(self, request: CollectionRequest) -> list[tuple[str, str]]:
        """The tenants and collections that a request is about."""
        tenants = self._domain.tenants if not request.tenant else {request.tenant: self._tenant(request.tenant)}
        found = [
            (name, collection)
            for name, tenant in tenants.items()
            for collection in tenant.collections()
            if request.collection in ("", collection)
        ]
        if request.collection and not found:
            raise NotOwnedError(f"{self._domain.domain} holds no collection {request.collection}")
        return found

    def _tenant(self, name: str) -> DomainTenant:
        if name not in self._domain.tenants:
            raise NotOwnedError(f"{self._domain.domain} serves no tenant {name}")
        return self._domain.tenants[name]


def _check_ids(store: ReplicaStore, collection: str, ids: Iterable[str]) -> None:
    """Raises `DocumentIdTakenError`: the index of a tenant has all its collections, and one document of each id."""
    with store.reading() as reader:
        others = [each for each in reader.collections() if each != collection]
        for document_id in ids:
            for other in others:
                if reader.digest_of(other, document_id) and not reader.held(other, document_id).siblings.is_deleted:
                    raise DocumentIdTakenError(f"{document_id} is a document of {other}, and cannot be in {collection}")


def _written(tenant: str, collection: str, versions: Iterable[Version]) -> DocumentsWritten:
    dots = {each.operation.document_id: each.operation.dot for each in versions}
    return DocumentsWritten(tenant=tenant, collection=collection, dots=dots)


def _reading(kind: type[M], answer: Callable[[M], Awaitable[Message]]) -> Callable[[bytes], Awaitable[Message]]:
    async def read(data: bytes) -> Message:
        return await answer(decode(data, kind))

    return read


def _replying(answer: Callable[[bytes], Awaitable[Message]]) -> Callable[[bytes], Awaitable[bytes]]:
    async def reply(data: bytes) -> bytes:
        try:
            return encode(await answer(data))
        except (TidegateError, OSError) as error:
            return encode(fault_of(error))
        except Exception as error:  # noqa: BLE001 - whoever asks is to know that it failed, and so are we
            report(error, "a request to the sync worker was not answered")
            return encode(fault_of(error))

    return reply
