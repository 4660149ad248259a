"""Publishes a pack at the hub: its collections, its other parts, and those of its documents that changed.

A publication that was cut short goes on where it was when it is made again. What is of scope `site` is not published:
it never leaves its site. Next: held_documents.py, artefacts.py; arrival.py, when sites have it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from tidegate.schemas import ArtefactPublished, Collection, DocumentContent
from tidegate.schemas.pack import Document, Pack
from tidegate.services.fleet.artefacts import ArtefactTerms, PartPublisher
from tidegate.services.fleet.held_documents import CollectionDifference, compare_with_held, from_pack, read_collections
from tidegate.services.fleet.models import ProgressReporter, check_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.text_embedder import TextEmbedder
from tidegate.services.packs.collections import FOR_SCOPE, collection_of, collections_of, documents_by_collection
from tidegate.services.packs.load import load_pack
from tidegate.services.packs.parts import parts_of
from tidegate.services.settings import Settings
from tidegate.sync.shells.replica_client import ReplicaClient

BATCH = 16
"""Documents whose vectors are made before any of them is sent: what Ctrl-C has to wait for."""


class PackPublication(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be published, as whom: `hub` are the settings of the hub. With `overwrites` documents that a site has
    edited or deleted since are replaced too."""

    hub: Settings
    tenant: str
    pack: Path
    terms: ArtefactTerms = ArtefactTerms()
    overwrites: bool = False


class DocumentPublication(msgspec.Struct, frozen=True, kw_only=True):
    """Documents that are to be published in one collection; where it is empty, in that for the scope of each."""

    hub: Settings
    tenant: str
    documents: tuple[Document, ...]
    collection: str = ""


class PublishedCollection(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the documents of a collection; `kept` are those that a site has edited or deleted since."""

    name: str
    owner: str = ""
    written: int = 0
    deleted: int = 0
    unchanged: int = 0
    kept: tuple[str, ...] = ()


class PublishReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was published. `at_sites_only` are documents of the pack that belong to a site: they were not."""

    tenant: str
    pack: str = ""
    version: str = ""
    collections: tuple[PublishedCollection, ...] = ()
    artefacts: tuple[ArtefactPublished, ...] = ()
    at_sites_only: tuple[str, ...] = ()


async def publish_pack(
    client: ReplicaClient, publication: PackPublication, progress: ProgressReporter
) -> PublishReport:
    """Publish a pack. Raises `PackError`, `ModelsNotBuiltError`, `SyncWorkerMissingError`, `ReplicaRefusedError`,
    `DocumentRefusedError`; what was published before that stays published."""
    check_models(publication.hub)
    progress.start(f"reading the pack {publication.pack.name}")
    pack = await asyncio.to_thread(load_pack, publication.pack)
    parts = await asyncio.to_thread(parts_of, publication.pack)
    collections = {each.name: each for each in collections_of(pack, publication.tenant) if each.owner != "site"}
    for collection in collections.values():
        await client.put_collection(collection)
    written = await _publish_documents(client, publication, (pack, collections), progress)
    publisher = PartPublisher(client, publication.hub, publication.tenant)
    # behind the documents: what is made of both is made once
    artefacts = await publisher.publish_parts(parts, publication.terms, progress)
    return PublishReport(
        tenant=publication.tenant,
        pack=pack.name,
        version=pack.version,
        collections=written,
        artefacts=artefacts,
        at_sites_only=tuple(document.id for document in pack.documents if document.scope == "site"),
    )


async def _publish_documents(
    client: ReplicaClient,
    publication: PackPublication,
    of_pack: tuple[Pack, Mapping[str, Collection]],
    progress: ProgressReporter,
) -> tuple[PublishedCollection, ...]:
    pack, collections = of_pack
    paths = StatePaths(publication.hub)
    embedder = await asyncio.to_thread(Embedder.load, paths.models)
    progress.start("comparing with what the hub holds")
    held = await asyncio.to_thread(read_collections, paths.replica(publication.tenant), collections)
    wanted = documents_by_collection(pack)
    found = {
        name: compare_with_held(
            held[name], wanted.get(name, ()), pack.name, embedder.version, overwrites=publication.overwrites
        )
        for name in collections
    }
    writers = {name: DocumentWriter(client, publication.tenant, name, embedder) for name in collections}
    for name, writer in writers.items():  # first: a document may have moved, and is in one collection only
        await writer.delete(found[name].deleted, progress)
    for name, writer in writers.items():
        await writer.write(found[name].changed, pack.name, progress)
    return tuple(_published(name, collections[name].owner, each) for name, each in found.items())


async def publish_documents(
    client: ReplicaClient, publication: DocumentPublication, progress: ProgressReporter
) -> PublishReport:
    """Publish documents that come from no pack. One that is held as it is changes nothing.

    The collections that every tenant has are made where they are missing. Raises as `publish_pack` does, and
    `ReplicaRefusedError` for a collection that nobody made.
    """
    hub, tenant, named = publication.hub, publication.tenant, publication.collection
    check_models(hub)
    by_collection: dict[str, list[Document]] = {}
    for document in publication.documents:
        by_collection.setdefault(named or collection_of(document), []).append(document)
    if not named:
        await _make_missing(client, tenant, by_collection)
    embedder = await asyncio.to_thread(Embedder.load, StatePaths(hub).models)
    held = await asyncio.to_thread(read_collections, StatePaths(hub).replica(tenant), by_collection)
    published: list[PublishedCollection] = []
    for name, documents in by_collection.items():
        found = compare_with_held(held[name], documents, "", embedder.version, overwrites=True)
        await DocumentWriter(client, tenant, name, embedder).write(found.changed, "", progress)
        published.append(_published(name, "", found))
    return PublishReport(tenant=tenant, collections=tuple(published))


async def _make_missing(client: ReplicaClient, tenant: str, names: Iterable[str]) -> None:
    there = {each.collection for each in (await client.status(tenant)).collections}
    owners = {name: owner for owner, name in FOR_SCOPE.items()}
    for name in set(names) & owners.keys() - there:
        await client.put_collection(Collection(tenant=tenant, name=name, owner=owners[name]))


class DocumentWriter:
    """Has documents written to one collection, with vectors that are made here, once."""

    def __init__(self, client: ReplicaClient, tenant: str, collection: str, embedder: TextEmbedder) -> None:
        self._client = client
        self._tenant = tenant
        self._collection = collection
        self._embedder = embedder

    async def write(self, documents: Sequence[Document], pack: str, progress: ProgressReporter) -> None:
        """Write documents; `pack` is where they come from, empty: from no pack."""
        if documents:
            progress.start(f"{self._collection}: documents", len(documents))
        for start in range(0, len(documents), BATCH):
            await self._write_batch(documents[start : start + BATCH], pack, progress)

    async def delete(self, ids: Sequence[str], progress: ProgressReporter) -> frozenset[str]:
        """Delete documents; those that were there."""
        if not ids:
            return frozenset()
        progress.start(f"{self._collection}: deleting documents", len(ids))
        written = await self._client.write(self._tenant, self._collection, {}, ids, on_document=progress.step)
        return frozenset(written.dots)

    async def _write_batch(self, documents: Sequence[Document], pack: str, progress: ProgressReporter) -> None:
        def embed() -> list[tuple[str, DocumentContent]]:
            return [*contents_of(documents, self._embedder, lambda document: progress.show(document.title))]

        contents = await asyncio.to_thread(embed)
        marked = {name: from_pack(content, pack) if pack else content for name, content in contents}
        await self._client.write(self._tenant, self._collection, marked, on_document=progress.step)


def _published(name: str, owner: str, found: CollectionDifference) -> PublishedCollection:
    return PublishedCollection(
        name=name,
        owner=owner,
        written=len(found.changed),
        deleted=len(found.deleted),
        unchanged=found.unchanged,
        kept=found.kept,
    )
