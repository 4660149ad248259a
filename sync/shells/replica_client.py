"""Asks the sync worker of one's own domain: what it holds, to write, to compare, to publish.

Promises that what is refused is raised with the worker's own code, reason and hint, and that no request is larger than
a server takes. Next: schemas/replica.py, what is asked; services/cli/sync.py, who asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tidegate.brokers.base import Bus, UnreachableError
from tidegate.schemas import (
    REPLICA_REQUESTS,
    ArtefactPublished,
    Collection,
    CollectionImported,
    CollectionRequest,
    DocumentConflict,
    DocumentContent,
    DocumentsWritten,
    Dot,
    ImportCollection,
    Message,
    PublishArtefact,
    PutCollection,
    RepairOutcome,
    ReplicaFault,
    ReplicaStatus,
    ReplicaVerb,
    ResolveConflict,
    TidegateError,
    WriteDocuments,
    decode,
    encode,
    subjects,
)
from tidegate.sync.author import MOST_PAYLOAD_BYTES, DocumentTooLargeError

MOST_BATCH_BYTES = 900_000
"""Documents of one request, encoded; a single one may be as large as an operation may."""
MOST_BATCH_DOCUMENTS = 500
STATUS_S = 5.0
TIMEOUTS_S: dict[ReplicaVerb, float] = {
    "write": 60.0,
    "collection": 60.0,
    "status": STATUS_S,
    "conflicts": 30.0,
    "resolve": 30.0,
    "verify": 600.0,
    "repair": 600.0,
    "snapshot": 600.0,
    "publish": 600.0,
    "import": 600.0,
}
"""How long each may take: a comparison reads every document, a snapshot writes them, a model has gigabytes."""


class SyncWorkerMissingError(TidegateError, ConnectionError):
    """The sync worker of a domain does not run, or does not answer."""

    hint = "`tidegate up` runs it; alone it is `tidegate worker sync --site NAME`, and its log says why it ended"


class ReplicaRefusedError(TidegateError):
    """The sync worker did not do what it was asked to; code, reason and hint are those of its error."""

    hint = "`tidegate sync status` says what the domain holds, and what it may do"

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason, hint)
        self.code = code


class ReplicaClient:
    """Asks over a bus of the domain whose sync worker it is.

    Every method raises `SyncWorkerMissingError`, and `ReplicaRefusedError` where the worker refused.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def status(self, tenant: str = "", collection: str = "", timeout_s: float = STATUS_S) -> ReplicaStatus:
        """What the domain knows, how old that is, and what it may do with it."""
        request = CollectionRequest(tenant=tenant, collection=collection)
        found: ReplicaStatus = await self._ask("status", request, timeout_s)
        return found

    async def put_collection(self, collection: Collection) -> None:
        """Have the domain hold this collection, under these rules."""
        await self._ask("collection", PutCollection(collection=collection))

    async def write(
        self,
        tenant: str,
        collection: str,
        documents: Mapping[str, DocumentContent],
        deleted: Iterable[str] = (),
        on_document: Callable[[str], None] = lambda _id: None,
    ) -> DocumentsWritten:
        """Write documents, by id, and delete others, in as many requests as that takes: each is stored as a whole, and
        `on_document` is called with every id of it then. Raises `DocumentTooLargeError` before anything is sent."""
        dots: dict[str, Dot] = {}
        for batch, gone in list(_batches(documents, tuple(deleted))):
            request = WriteDocuments(tenant=tenant, collection=collection, documents=batch, deleted=gone)
            written: DocumentsWritten = await self._ask("write", request)
            dots |= written.dots
            for document_id in (*batch, *gone):
                on_document(document_id)
        return DocumentsWritten(tenant=tenant, collection=collection, dots=dots)

    async def conflicts(self, tenant: str = "", collection: str = "") -> tuple[DocumentConflict, ...]:
        """The documents with versions that were written apart."""
        found = await self._ask("conflicts", CollectionRequest(tenant=tenant, collection=collection))
        conflicts: tuple[DocumentConflict, ...] = found.conflicts
        return conflicts

    async def resolve(self, tenant: str, collection: str, document_id: str, keep: Dot | None) -> DocumentsWritten:
        """Have one version stay, or none."""
        request = ResolveConflict(tenant=tenant, collection=collection, document_id=document_id, keep=keep)
        written: DocumentsWritten = await self._ask("resolve", request)
        return written

    async def verify(self, tenant: str = "", collection: str = "") -> tuple[RepairOutcome, ...]:
        """Read every document back, compare with the hub and with the index, and change nothing."""
        return await self._compare("verify", tenant, collection)

    async def repair(self, tenant: str = "", collection: str = "") -> tuple[RepairOutcome, ...]:
        """The same, and repair what differs."""
        return await self._compare("repair", tenant, collection)

    async def snapshot(self, tenant: str, collection: str) -> None:
        """At the hub: write and publish a snapshot of the collection as it is."""
        await self._ask("snapshot", CollectionRequest(tenant=tenant, collection=collection))

    async def publish(self, artefact: PublishArtefact) -> ArtefactPublished:
        """At the hub: publish a file of this machine as the next epoch of an artefact."""
        published: ArtefactPublished = await self._ask("publish", artefact)
        return published

    async def import_file(self, path: str) -> CollectionImported:
        """At a site: join a collection from a file of this machine."""
        imported: CollectionImported = await self._ask("import", ImportCollection(path=path))
        return imported

    async def _compare(self, verb: ReplicaVerb, tenant: str, collection: str) -> tuple[RepairOutcome, ...]:
        found = await self._ask(verb, CollectionRequest(tenant=tenant, collection=collection))
        outcomes: tuple[RepairOutcome, ...] = found.outcomes
        return outcomes

    async def _ask(self, verb: ReplicaVerb, request: Message, timeout_s: float | None = None) -> Any:
        try:
            data = await self._bus.request(
                subjects.replica_request(verb), encode(request), timeout_s=timeout_s or TIMEOUTS_S[verb]
            )
        except UnreachableError as error:
            raise SyncWorkerMissingError(f"the sync worker of {self._bus.domain} does not answer: {error}") from error
        reply = decode(data, REPLICA_REQUESTS[verb][1], ReplicaFault)
        if isinstance(reply, ReplicaFault):
            raise ReplicaRefusedError(reply.code, reply.reason, reply.hint)
        return reply


def _batches(
    documents: Mapping[str, DocumentContent], deleted: tuple[str, ...]
) -> Iterator[tuple[dict[str, DocumentContent], tuple[str, ...]]]:
    """The documents in requests that a server takes; what is deleted comes last, and beside the last ones."""
    batch: dict[str, DocumentContent] = {}
    left = MOST_BATCH_BYTES
    for document_id, content in documents.items():
        size = len(msgspec.msgpack.encode(content)) + len(document_id) + 8
        if size > MOST_PAYLOAD_BYTES:
            raise DocumentTooLargeError(f"{document_id} takes {size} bytes with its vectors, of {MOST_PAYLOAD_BYTES}")
        if batch and (size > left or len(batch) == MOST_BATCH_DOCUMENTS):
            yield batch, ()
            batch, left = {}, MOST_BATCH_BYTES
        batch[document_id] = content
        left -= size
    first, others = deleted[:MOST_BATCH_DOCUMENTS], deleted[MOST_BATCH_DOCUMENTS:]
    if batch or first:
        yield batch, first
    for start in range(0, len(others), MOST_BATCH_DOCUMENTS):
        yield {}, others[start : start + MOST_BATCH_DOCUMENTS]
