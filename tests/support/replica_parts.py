"""What the tests of an index that a replica feeds stand on: a hub's store with the branch's documents, an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.support.branch_index import LETTERS
from tests.support.corpus import BRANCH
from tests.support.sync_parts import NOW, Hub, make_hub
from tidegate.schemas import Collection
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.replica.authoring import contents_of
from tidegate.services.knowledge.replica.index_follower import IndexFollower
from tidegate.services.knowledge.text_embedder import TextEmbedder
from tidegate.sync.store import ReplicaStore

SHARED = Collection(tenant="kiosk", name="documents", sites_write=True, merge="ask")
EXACT, GRAPH = 1_000, 2
"""Units below which an index is searched without a graph."""


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
        """Write documents with their vectors."""
        self.hub.author.write_all(collection, dict(contents_of(documents, LETTERS)), NOW)

    def delete(self, document_id: str, collection: str = "documents") -> None:
        """Delete a document."""
        assert self.hub.author.delete(collection, document_id, NOW)

    def held(self) -> dict[str, str]:
        """The text of each document that the index has, as a reader of answers gets it."""
        versions: Mapping[str, str] = {
            each.document_id: each.document_version for each in self.index.search("e", LETTERS.embed("e"), 1_000, "en")
        }
        found = {name: self.index.units(name, version) for name, version in versions.items()}
        return {name: units.document.text for name, units in found.items() if units is not None}
