"""What the tests of an index that a replica feeds stand on: a hub's store with the branch's documents, and an index."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.support.branch_index import LETTERS
from tests.support.corpus import BRANCH
from tests.support.document_authors import Author, signed
from tests.support.sync_parts import NOW, Hub, make_hub
from tidegate.schemas import Collection, DocumentContent
from tidegate.schemas.clocks import VectorClock
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.knowledge.text_embedder import TextEmbedder, TextRole, Vector
from tidegate.sync.rules.merge import version_of
from tidegate.sync.store import ReplicaStore

SHARED = Collection(tenant="kiosk", name="documents", sites_write=True, merge="ask")
HUB_ONLY = Collection(tenant="kiosk", name="hub-documents", owner="hub")
EXACT, GRAPH = 1_000, 2
"""Units below which an index is searched without a graph."""


class NothingEmbedded:
    """The letters' embedder for who must be given every vector of a passage."""

    version = LETTERS.version

    def embed(self, text: str, role: TextRole = "query") -> Vector:
        assert role == "query", f"embedded again: {text}"
        return LETTERS.embed(text, role)


class ReplicaLab:
    """A hub, its own index, and its follower; the hub is the author."""

    def __init__(self, path: Path, *collections: Collection, exact_below: int = EXACT) -> None:
        self.path = path
        self.hub: Hub = make_hub(path, *(collections or (SHARED,)))
        self.exact_below = exact_below
        self.open()

    @property
    def store(self) -> ReplicaStore:
        return self.hub.store

    def open(self, embedder: TextEmbedder = LETTERS, code_version: str = "1") -> IndexFollower:
        """Open the index, as a process that starts does."""
        self.index = HybridIndex.open(self.path / "index", embedder, exact_below=self.exact_below, fold_at=4)
        self.follower = IndexFollower(self.store, self.index, code_version)
        return self.follower

    def write(self, documents: Iterable[Document] = BRANCH, collection: str = "documents") -> None:
        """Write documents with their vectors, in one generation."""
        self.hub.author.write_all(collection, dict(contents_of(documents, LETTERS)), NOW)

    def delete(self, document_id: str, collection: str = "documents") -> None:
        """Delete a document."""
        assert self.hub.author.delete(collection, document_id, NOW)

    def write_apart(self, document_id: str, *contents: DocumentContent | None) -> None:
        """Versions of a document by sites that know nothing of each other, the first by site1, the last the latest."""
        with self.store.writing() as writer:
            for number, content in enumerate(contents, start=1):
                written = Author(f"site{number}@1").write(document_id, VectorClock(), content, NOW + number)
                operation = signed(msgspec.structs.replace(written.operation, collection="documents"))
                writer.join("documents", version_of(operation), operation)

    def forget_tombstones(self) -> None:
        """Begin an epoch without the tombstones, as the hub does."""
        asyncio.run(self.hub.relay.take_own(NOW))
        with self.store.reading() as reader:
            clocks = [reader.held("documents", name).siblings for name in reader.digests("documents")]
        stable = next(each.clock for each in clocks if each.is_deleted)
        asyncio.run(self.hub.relay.begin_epoch("documents", above=1, stable=stable))

    def held(self) -> dict[str, str]:
        """The text of each document that can be found, by words or by meaning, as it is read for an answer."""
        found = {}
        for each in self.index.search("the", LETTERS.embed("the"), 1_000, "en"):
            units = self.index.units(each.document_id, each.document_version)
            assert units is not None
            found[each.document_id] = units.document.text
        return found
