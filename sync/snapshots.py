"""A whole collection in chunks: written at the hub while others write, checked chunk by chunk, installed at once.

A snapshot is of one position of the log; what a site holds beyond it stays. Next: follower.py, bundle.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Protocol

import msgspec

from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.message import decode, encode
from tidegate.schemas.replication import HeldDocument, HeldDocuments
from tidegate.schemas.sync import LogPosition, SnapshotChunk, SnapshotManifest
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import NOT_HELD, held_of
from tidegate.sync.rules.clock import NOTHING, merge
from tidegate.sync.rules.merkle import Checksum
from tidegate.sync.store import ReplicaStore
from tidegate.sync.writer import StoreWriter

CHUNK_BYTES = 524_288


class SnapshotRefusedError(TidegateError):
    """A snapshot is not what its manifest says: a chunk was changed, or the manifest is not of these chunks."""

    hint = "nothing of it was installed; fetch it again, and if it fails again, publish another snapshot at the hub"


class BlobWriter(Protocol):
    """Where the hub stores snapshots: chunks by their digest, then the manifest that names them."""

    async def put(self, collection: str, digest: str, data: bytes) -> None:
        """Store a chunk; the same digest again changes nothing."""

    async def publish(self, manifest: SnapshotManifest) -> None:
        """Sign the manifest and make it the newest of its collection; all its chunks are stored."""


async def write_snapshot(
    store: ReplicaStore, collection: str, blobs: BlobWriter, now_ms: int, chunk_bytes: int = CHUNK_BYTES
) -> SnapshotManifest:
    """Write a snapshot of a collection as it is now; edits and deltas go on meanwhile, and are not in it.

    `chunk_bytes`: a chunk is no larger, but for a single document that is. Raises `RetryLaterError` while own edits
    are not in the log, `DocumentDamagedError`, and what the writer of blobs raises; the manifest comes last.
    """
    with store.reading() as reader:
        if reader.pending_documents(collection):
            raise RetryLaterError(f"{collection}: edits of the hub are on their way into the log", after_s=0.1)
        record = reader.record(collection)
        chunks: list[SnapshotChunk] = []
        for data in chunks_of(reader, collection, chunk_bytes):
            digest = sha256(data).hexdigest()
            await blobs.put(collection, digest, data)
            chunks.append(SnapshotChunk(digest, len(data)))
        manifest = SnapshotManifest(
            tenant=record.collection.tenant,
            collection=collection,
            position=record.replica.position or LogPosition(1),
            checksum=record.checksum.digest,
            root=reader.tree(collection, ()).digest.hex() or "0" * 64,
            documents=record.documents,
            size=sum(chunk.size for chunk in chunks),
            chunks=tuple(chunks),
            floor=record.floor,
            authors=reader.marks(collection),
            code_version=record.made_by,
            made_at_ms=now_ms,
        )
    await blobs.publish(manifest)
    return manifest


def chunks_of(reader: StoreReader, collection: str, chunk_bytes: int) -> Iterator[bytes]:
    """The documents of a collection as chunks, in the order of the tree: the same documents give the same bytes."""
    tenant = reader.record(collection).collection.tenant
    batch: list[HeldDocument] = []
    size = 0
    for document in reader.documents(collection):
        length = sum(len(each.payload) + 128 for each in document.operations) + 64
        if batch and size + length > chunk_bytes:
            yield encode(HeldDocuments(tenant=tenant, collection=collection, documents=tuple(batch)))
            batch, size = [], 0
        batch.append(document)
        size += length
    if batch:
        yield encode(HeldDocuments(tenant=tenant, collection=collection, documents=tuple(batch)))


def check_chunk(chunk: SnapshotChunk, data: bytes) -> None:
    """Raises `SnapshotRefusedError` unless these are the bytes of the chunk."""
    if len(data) != chunk.size or sha256(data).hexdigest() != chunk.digest:
        raise SnapshotRefusedError(f"a chunk of {chunk.size} bytes does not have the digest {chunk.digest[:12]}")


def install(writer: StoreWriter, manifest: SnapshotManifest, chunks: Iterable[bytes]) -> None:
    """Join a snapshot with what is held: documents, floor and marks, in the caller's transaction.

    A version that is held here and covered by the snapshot's floor was deleted, and goes. Raises
    `SnapshotRefusedError` where the documents do not have the manifest's checksum; the transaction is given up then.
    """
    collection, checksum = manifest.collection, Checksum()
    missing = set(writer.digests(collection))
    is_empty = not missing and writer.record(collection).floor == NOTHING  # then there is nothing to join with
    for data in chunks:
        for document in decode(data, HeldDocuments).documents:
            theirs = held_of(document)
            digest = theirs.siblings.digest
            checksum = checksum.replaced(document.document_id, None, digest)
            missing.discard(document.document_id)
            if is_empty:
                writer.insert(collection, document, digest)
            elif writer.digest_of(collection, document.document_id) != digest:
                writer.reconcile(collection, document.document_id, theirs, manifest.floor)
    if is_empty:
        writer.rebuild(collection)
    if (checksum.digest, checksum.documents) != (manifest.checksum, manifest.documents):
        raise SnapshotRefusedError(f"the chunks of {collection} do not have the checksum of their manifest")
    for document_id in sorted(missing):
        writer.reconcile(collection, document_id, NOT_HELD, manifest.floor)
    record = writer.record(collection)
    writer.put_record(msgspec.structs.replace(record, floor=merge((record.floor, manifest.floor))))
    for document_id in sorted(missing):
        held = writer.held_or_damaged(collection, document_id)
        if not held.siblings.versions:  # the merged floor covers what is left of it
            writer.put_held(collection, document_id, held)
    _join_marks(writer, manifest)


def _join_marks(writer: StoreWriter, manifest: SnapshotManifest) -> None:
    known = writer.marks(manifest.collection)
    for actor, mark in manifest.authors.items():
        if actor not in known or known[actor].counter < mark.counter:
            writer.put_mark(manifest.collection, actor, mark)
