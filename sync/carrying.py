"""Carries a collection to a site without a link: written to a file at the hub, joined from it at the site.

Joining is following: everything is verified as over the link, and a file that is older than what is held changes
nothing. Next: bundle.py, the file; trust/carried.py, what it is believed by; follower.py."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from securesystemslib.signer import CryptoSigner

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import encode
from tidegate.schemas.sync import CollectionDelta, CollectionHead, LogPosition, SnapshotManifest
from tidegate.sync.bundle import BundleClient, digest_of_tail, write_bundle
from tidegate.sync.follower import Follower
from tidegate.sync.reader import CollectionUnknownError
from tidegate.sync.records import ReplicaRecord
from tidegate.sync.rules.ownership import NotOwnedError, check_read
from tidegate.sync.rules.plan import HoleError
from tidegate.sync.rules.staleness import Now
from tidegate.sync.store import ReplicaStore, reading_store
from tidegate.sync.trust.authors import KeyringVerifier
from tidegate.sync.trust.carried import (
    CarriedStatement,
    VerifiedCollection,
    carry_snapshot,
    check_end,
    peek_manifest,
    seal,
    verify_carried,
)
from tidegate.sync.trust.chunks import chunk_name
from tidegate.sync.trust.repository import Repository

PAGE = 500


class NotCarriedError(TidegateError):
    """The collection is not one that sites hold, or nothing of it was ever published."""

    hint = "`tidegate sync status --site hub` lists the collections of the hub; only shared ones can be carried"


class ExportStoppedError(TidegateError):
    """Whoever asked for the file does not want it any more; nothing of it is left."""

    hint = "export it again"


class LogReader(Protocol):
    """The log of a collection; see `relay.LogWriter`."""

    async def read(self, collection: str, after: LogPosition, limit: int) -> tuple[CollectionDelta, ...]:
        """The deltas behind a position, in order; at most `limit`."""


class ExportedCollection(msgspec.Struct, frozen=True, kw_only=True):
    """What was written into a file: up to which position, of when, so many bytes."""

    tenant: str
    collection: str
    position: LogPosition
    documents: int
    deltas: int
    size: int
    known_at_ms: int


class JoinedCollection(msgspec.Struct, frozen=True, kw_only=True):
    """What was joined from a file. `is_new`: it held something that the site had not."""

    tenant: str
    collection: str
    position: LogPosition
    documents: int
    known_at_ms: int
    is_new: bool


class Exporter:
    """Writes collections of a hub's tenant into files: from its store, its log and its repository, which it only
    reads. `signer` is the hub's author key."""

    def __init__(self, store: Path, log: LogReader, repository: Repository, signer: CryptoSigner) -> None:
        self._store = store
        self._log = log
        self._repository = repository
        self._signer = signer

    async def export(self, tenant: str, collection: str, file: Path, now_ms: int) -> ExportedCollection:
        """Write the newest snapshot and the log behind it, as of `now_ms`.

        Raises `NotCarriedError`, `CollectionUnknownError`, `UnknownTargetError` where there is no snapshot yet,
        `HoleError` where the log does not reach back to it, `OSError`, and what the log raises; nothing is left of the
        file then.
        """
        record = self._record(collection)
        if record.collection.owner != "shared" or record.replica.position is None:
            raise NotCarriedError(f"{collection} holds nothing that sites may have")
        snapshot = carry_snapshot(self._repository, tenant, collection)
        first, position = snapshot.manifest.position, record.replica.position
        deltas = await self._tail(collection, first, position) if first < position else ()
        head = CollectionHead(
            tenant=tenant,
            collection=collection,
            position=max(first, position),
            first=first.index + 1,
            checksum=record.checksum.digest if first <= position else snapshot.manifest.checksum,
            documents=record.documents if first <= position else snapshot.manifest.documents,
            tail_bytes=sum(len(encode(each)) for each in deltas),
            known_at_ms=now_ms,
        )
        signed = seal(snapshot, head, record.collection, digest_of_tail(deltas), self._signer)
        stop = threading.Event()
        try:
            chunks = self._chunks(snapshot.manifest, stop)
            await asyncio.to_thread(write_bundle, file, head, signed, chunks, deltas)
        except asyncio.CancelledError:
            stop.set()  # a thread cannot be cancelled: it gives up at its next chunk, and removes what it wrote
            raise
        return ExportedCollection(
            tenant=tenant,
            collection=collection,
            position=head.position,
            documents=head.documents,
            deltas=len(deltas),
            size=await asyncio.to_thread(os.path.getsize, file),
            known_at_ms=now_ms,
        )

    def _record(self, collection: str) -> ReplicaRecord:
        with reading_store(self._store) as reader:
            return reader.record(collection)

    async def _tail(self, collection: str, first: LogPosition, last: LogPosition) -> tuple[CollectionDelta, ...]:
        found: list[CollectionDelta] = []
        at = first
        while at < last and (page := await self._log.read(collection, at, PAGE)):
            found += [each for each in page if each.position <= last]
            at = page[-1].position
        whole = [each.position for each in found]
        if whole != [LogPosition(first.epoch, index) for index in range(first.index + 1, last.index + 1)]:
            raise HoleError(collection, last.epoch, first.index + 1, last.index)
        return tuple(found)

    def _chunks(self, manifest: SnapshotManifest, stop: threading.Event) -> Iterator[bytes]:
        for chunk in manifest.chunks:
            if stop.is_set():
                raise ExportStoppedError(f"{manifest.collection} is not exported to its end")
            yield (self._repository.directory / chunk_name(chunk)).read_bytes()


async def join_file(stores: Mapping[str, ReplicaStore], file: Path, trust: Path, now: Now) -> JoinedCollection:
    """Join a collection from a file, at a site, whose stores are these, by tenant; `trust` is where it keeps what it
    believes of the hub's repository. Afterwards it is as if it had followed the log up to then.

    Raises `BundleRefusedError`, a `TrustError` that names what is wrong, `NotProvisionedError`, `NotOwnedError`,
    `ReplicaHeldError` without a lease where one is needed, and what `Follower.follow` raises; what was in force before
    stays then.
    """
    verified, client = await open_file(file, trust, now)
    statement = verified.statement
    head, rules = statement.head, statement.rules
    store = stores.get(rules.tenant)
    if store is None:
        raise NotOwnedError(f"this site does not serve {rules.tenant}")
    check_read(rules, store.domain)
    before = _learn(store, statement)
    held = before.replica.position
    is_new = held is None or held < head.position
    if is_new:
        await Follower(store, client, KeyringVerifier(lambda: verified.keyring)).follow(rules.name)
    record = store.record(rules.name)
    return JoinedCollection(
        tenant=rules.tenant,
        collection=rules.name,
        position=record.replica.position or head.position,
        documents=record.documents,
        known_at_ms=head.known_at_ms,
        is_new=is_new,
    )


async def open_file(file: Path, trust: Path, now: Now) -> tuple[VerifiedCollection, BundleClient]:
    """The file, verified but for its chunks and operations, which are when they are applied. Raises what `join_file`
    raises of a file that is not believed."""
    client = BundleClient(file, peek_manifest)
    verified = await verify_carried(client.signed, trust, now)
    check_end(verified.statement, client.end, client.tail_digest())
    return verified, client


def _learn(store: ReplicaStore, statement: CarriedStatement) -> ReplicaRecord:
    """Know of the collection; what is held under other rules stays as it is."""
    rules = statement.rules
    try:
        record = store.record(rules.name)
    except CollectionUnknownError:
        store.put_collection(rules)
        return store.record(rules.name)
    if record.collection.owner != rules.owner:
        raise NotOwnedError(f"{rules.name} is {record.collection.owner} here, and {rules.owner} in the file")
    return record
