"""Writes documents as their domain: by its sync worker where that runs, else in this process, under the same lock.

What a site writes for itself never leaves it; what it shares is signed, and sent to the hub by its sync worker, now or
when it runs again. Next: cli/index.py, who asks; sync/author.py."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import closing

import msgspec
from securesystemslib.signer import CryptoSigner

from tidegate.schemas import Collection, TidegateError
from tidegate.schemas.pack import Document, Scope
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.author_keys import AuthorKeyMissingError
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.publishing import DocumentWriter
from tidegate.services.fleet.replicas import open_replica_client
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.text_embedder import TextEmbedder
from tidegate.services.packs.collections import FOR_SCOPE
from tidegate.services.settings import Settings
from tidegate.sync.author import Author
from tidegate.sync.reader import CollectionUnknownError, StoreReader
from tidegate.sync.shells.local_endpoints import DocumentIdTakenError
from tidegate.sync.shells.lock import ReplicasBusyError, lock_replicas
from tidegate.sync.shells.replica_client import ReplicaClient
from tidegate.sync.store import ReplicaStore, reading_store
from tidegate.sync.trust.authors import AuthorSigner
from tidegate.sync.trust.keys import KeyStore, Passphrases

INDEXED_WITHIN_S = 30.0
ASK_EVERY_S = 0.05


class NoReplicasError(TidegateError, LookupError):
    """The domain has no replicas: its documents are in its index alone, in no collection."""

    hint = "`tidegate up` starts its sync worker, which makes them; without --collection it goes into the index"


class DocumentChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written to a collection of a tenant, and deleted from it, as `settings.site`."""

    settings: Settings
    tenant: str
    collection: str = ""
    documents: tuple[Document, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def scope(self) -> Scope:
        """The scope of what a domain writes without a word about the collection."""
        return "hub" if self.settings.site == HUB else "site"

    @property
    def target(self) -> str:
        """The collection; where none is named, what the domain writes for itself."""
        return self.collection or FOR_SCOPE[self.scope]

    def scoped(self, document: Document) -> Document:
        """The document as it is in the collection: what is in the domain's own may be nowhere else."""
        return msgspec.structs.replace(document, scope="shared" if self.collection else self.scope)


class DocumentsChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a change. `is_by_worker`: the sync worker wrote it, and indexes it; `is_indexed`: it has."""

    collection: str
    deleted: frozenset[str] = frozenset()
    is_by_worker: bool = False
    is_indexed: bool = False


def has_replicas(settings: Settings, tenant: str) -> bool:
    """Whether the domain keeps a tenant's documents in collections."""
    return StatePaths(settings).replica(tenant).is_file()


def find_collections(settings: Settings, tenant: str, ids: Iterable[str]) -> dict[str, str]:
    """The collections in which documents are that are held. Raises `StoreDamagedError`."""
    found: dict[str, str] = {}
    with reading_store(StatePaths(settings).replica(tenant)) as reader:
        for document_id in ids:
            for collection in reader.collections():
                if reader.digest_of(collection, document_id) and _is_alive(reader, collection, document_id):
                    found[document_id] = collection
    return found


def change_documents(
    change: DocumentChange, embedder: TextEmbedder, progress: ProgressReporter, passphrases: Passphrases
) -> DocumentsChanged:
    """Write and delete. Raises what the client and `Author.write` raise, `AuthorKeyMissingError`,
    `DocumentRefusedError`; without a sync worker nothing is written then, with one what was written before stays."""
    change = msgspec.structs.replace(change, documents=tuple(map(change.scoped, change.documents)))
    try:
        with lock_replicas(StatePaths(change.settings).replicas):
            return _write_alone(change, embedder, progress, passphrases)
    except ReplicasBusyError:  # the sync worker runs
        return asyncio.run(_ask_worker(change, embedder, progress))


async def _ask_worker(change: DocumentChange, embedder: TextEmbedder, progress: ProgressReporter) -> DocumentsChanged:
    async with open_replica_client(change.settings) as client:
        return await _write_by_worker(client, change, embedder, progress)


async def _write_by_worker(
    client: ReplicaClient, change: DocumentChange, embedder: TextEmbedder, progress: ProgressReporter
) -> DocumentsChanged:
    if not change.collection and not (await client.status(change.tenant, change.target)).collections:
        await client.put_collection(_own_collection(change))
    writer = DocumentWriter(client, change.tenant, change.target, embedder)
    deleted = await writer.delete(change.deleted, progress)
    await writer.write(change.documents, "", progress)
    return DocumentsChanged(
        collection=change.target,
        deleted=deleted,
        is_by_worker=True,
        is_indexed=await _is_indexed(client, change, progress),
    )


async def _is_indexed(client: ReplicaClient, change: DocumentChange, progress: ProgressReporter) -> bool:
    """Wait until the index has followed; False where it has not in time."""
    progress.start("indexing", 1)
    until_s = time.monotonic() + INDEXED_WITHIN_S
    while time.monotonic() < until_s:
        rows = (await client.status(change.tenant, change.target)).collections
        if rows and all(each.indexed_generation >= each.generation for each in rows):
            progress.step()
            return True
        await asyncio.sleep(ASK_EVERY_S)
    return False


def _write_alone(
    change: DocumentChange, embedder: TextEmbedder, progress: ProgressReporter, passphrases: Passphrases
) -> DocumentsChanged:
    paths, now_ms = StatePaths(change.settings), int(time.time() * 1000)
    signer = AuthorSigner(find_author_key(change.settings, now_ms, passphrases))
    path = paths.replica(change.tenant)
    with closing(ReplicaStore(path, change.settings.site, secrets.token_hex(8))) as store:
        _make_collection(store, change)
        _check_ids(change)
        author = Author(store, signer)
        progress.start(f"{change.target}: documents", len(change.documents) + len(change.deleted))
        contents = dict(contents_of(change.documents, embedder, lambda document: progress.step(document.title)))
        author.write_all(change.target, contents, now_ms)
        deleted = _delete(author, change, now_ms, progress.step)
    return DocumentsChanged(collection=change.target, deleted=deleted)


def _delete(author: Author, change: DocumentChange, now_ms: int, step: Callable[[str], None]) -> frozenset[str]:
    found = set()
    for document_id in change.deleted:
        if author.delete(change.target, document_id, now_ms) is not None:
            found.add(document_id)
        step(document_id)
    return frozenset(found)


def _make_collection(store: ReplicaStore, change: DocumentChange) -> None:
    """Have the collection that a domain writes for itself; any other has to be there. Raises
    `CollectionUnknownError`."""
    try:
        store.record(change.target)
    except CollectionUnknownError:
        if change.collection:
            raise
        store.put_collection(_own_collection(change))


def _check_ids(change: DocumentChange) -> None:
    """Raises `DocumentIdTakenError`: a citation names a document by its id."""
    held = find_collections(change.settings, change.tenant, (document.id for document in change.documents))
    for document_id, collection in held.items():
        if collection != change.target:
            raise DocumentIdTakenError(f"{document_id} is a document of {collection}, and cannot be in {change.target}")


def _is_alive(reader: StoreReader, collection: str, document_id: str) -> bool:
    return not reader.held(collection, document_id).siblings.is_deleted


def _own_collection(change: DocumentChange) -> Collection:
    return Collection(tenant=change.tenant, name=change.target, owner=change.scope)


def find_author_key(settings: Settings, now_ms: int, passphrases: Passphrases) -> CryptoSigner:
    """What signs documents as the domain of the settings. Raises `AuthorKeyMissingError`, and what `KeyStore.signer`
    raises."""
    keys = KeyStore(StatePaths(settings).keys)
    good = () if keys.is_empty else keys.good("author", settings.site, now_ms)
    held = [key for key in good if keys.has_private(key.key_id)]
    if not held:
        raise AuthorKeyMissingError(f"{settings.site} has no author key in {StatePaths(settings).keys}")
    return keys.signer(held[0].key_id, now_ms, passphrases)
