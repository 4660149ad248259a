"""What never leaves its domain: each operation goes from the outbox into the stream LOCAL, and comes back from there
where the disk damaged the document.

Promises that what was written is in the stream once the outbox has it no more. Next: mending.py; sync/author.py."""

from __future__ import annotations

import asyncio

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.stored import StoredStream
from tidegate.schemas.message import decode, encode
from tidegate.schemas.subjects import LOCAL, local_edits
from tidegate.schemas.sync import SignedOperation
from tidegate.sync.forgetting import forget_own
from tidegate.sync.reader import Pending
from tidegate.sync.records import DocumentDamagedError
from tidegate.sync.rules.drift import RepairReport
from tidegate.sync.rules.merge import version_of
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.mending import mend, read_back
from tidegate.sync.store import ReplicaStore

BATCH = 500
PAGE = 256


class LocalJournal:
    """The stream LOCAL of one tenant."""

    def __init__(self, bus: JetStreamBus, tenant: str, store: ReplicaStore) -> None:
        self._publisher = bus.publisher
        self._stream = StoredStream(bus, LOCAL)
        self._tenant = tenant
        self._store = store

    async def write(self) -> int:
        """Store all that is pending; how many operations it was. Raises `NotStoredError`, `NotAcknowledgedError`."""
        written = 0
        while True:
            with self._store.reading() as reader:
                entries = reader.pending(BATCH, ("LOCAL",))
            if not entries:
                return written
            await asyncio.gather(*(self._store_one(entry) for entry in entries))
            with self._store.writing() as writer:
                writer.clear_pending(entries)
            written += len(entries)

    async def check(self, collection: str, *, is_repair: bool, is_read_back: bool) -> RepairReport:
        """Read a collection that stays in this domain back from the disk, and repair it where that is asked.

        Raises `DocumentDamagedError` for what the stream has nothing of, `UnreachableError`, `TopologyMissingError`.
        """
        found = await read_back(self._store, collection) if is_read_back else {}
        if is_repair and found:
            await self.write()  # the last operation may be in the outbox alone
            ids = [document_id for each in found.values() for document_id in each]
            if lost := await mend(self._store, collection, ids, self.operations_of):
                raise DocumentDamagedError(f"{', '.join(lost)} of {collection}: nothing of it is in the stream {LOCAL}")
        return RepairReport(documents=found)

    async def forget(self, settings: SyncSettings) -> tuple[str, ...]:
        """Forget deletions: see `forget_own`. Raises what the store raises."""
        return await asyncio.to_thread(forget_own, self._store, settings)

    async def operations_of(self, collection: str, document_id: str) -> list[SignedOperation]:
        """All operations on one document that the stream has, oldest first. Raises `UnreachableError`."""
        subject, sequence = local_edits(self._tenant, collection, document_id), 0
        found: list[SignedOperation] = []
        while page := await self._stream.first(subject, sequence, PAGE):
            found += [decode(stored.data, SignedOperation) for stored in page]
            sequence = page[-1].sequence
        return found

    async def _store_one(self, entry: Pending) -> None:
        operation = version_of(entry.operation).operation
        subject = local_edits(self._tenant, entry.collection, operation.document_id)
        id = f"{self._tenant}.{operation.dot}"  # noqa: A001 - as the header is called
        await self._publisher.store(subject, encode(entry.operation), {"Nats-Msg-Id": id})
