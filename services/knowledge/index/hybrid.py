"""One tenant's index: documents in, passages out, ranked by words and by meaning.

Promises that a deleted document never comes back. Next: index_writer.py, snapshot.py.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
import structlog
from cachetools import LRUCache
from numpy.typing import NDArray

from tidegate.schemas.answer import Passage
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Unit
from tidegate.services.knowledge.index.index_writer import IndexWriter, OnDocument
from tidegate.services.knowledge.index.keyword import ANALYZERS, KeywordLeg
from tidegate.services.knowledge.index.limits import EXACT_BELOW
from tidegate.services.knowledge.index.snapshot import IndexSnapshot, passage_of, read_snapshot
from tidegate.services.knowledge.index.storage import (
    DocumentOrigin,
    IndexDamagedError,
    IndexLockedError,
    Manifest,
    Storage,
)
from tidegate.services.knowledge.index.thesaurus import Thesaurus, rewrite_query
from tidegate.services.knowledge.index.vectors import Matrix, VectorLeg
from tidegate.services.knowledge.text_embedder import TextEmbedder

LEAST_DEPTH = 8
"""A leg brings its k best, and never fewer than this: what is far down in both legs must not beat the best of one."""
UNITS_PER_PASSAGE = 6
"""How many units are looked for to find one passage: several of the best often stand in one."""
RANK_CONSTANT = 60
RankedItem = TypeVar("RankedItem", bound=Hashable)

_log = structlog.get_logger()


class IndexStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What `tidegate index` shows; `version` is equal where the same documents were indexed by the same models."""

    version: str
    documents: int
    passages: int
    tombstones: int
    bytes: int
    vectors: Literal["exact", "graph"]
    embedder: str


class DocumentUnits(msgspec.Struct, frozen=True, kw_only=True):
    """A document's units with their vectors, row by row."""

    document: Document
    units: tuple[Unit, ...]
    vectors: Matrix


class HybridIndex:
    """Documents of one tenant in one directory. Any process may read; one at a time writes.

    A deleted document is never returned again, by any process, from the moment `delete` returns; nor after a crash at
    any point, a merge or a re-opening. `search` and `units` are safe from several threads.
    """

    def __init__(self, storage: Storage, embedder: TextEmbedder, exact_below: int) -> None:
        self._storage = storage
        self._embedder = embedder
        self._keyword = _open_keyword_leg(storage)
        self._exact_below = exact_below
        self._vectors = VectorLeg(exact_below=exact_below)
        self._refreshing = threading.Lock()
        self._units: LRUCache[tuple[str, str], DocumentUnits] = LRUCache(2048)
        self._units_lock = threading.Lock()
        self._writer = IndexWriter(storage, self._keyword, embedder)
        self._thesaurus = Thesaurus.load(storage.path)
        self._snapshot = IndexSnapshot.empty()

    @classmethod
    def open(cls, path: Path, embedder: TextEmbedder, *, exact_below: int = EXACT_BELOW) -> HybridIndex:
        """Open the index in `path`, an empty one where there is none.

        An index made by another embedding model or other analyzers is built again from the documents it holds, and a
        keyword leg that holds anything but what the manifest says is written anew.
        Raises `IndexDamagedError`, and `IndexLockedError` when it must be built again but another process writes.
        """
        index = cls(Storage(path), embedder, exact_below)
        manifest = index._storage.manifest()
        if manifest.documents and manifest.built_by != index._writer.built_by:
            _log.warning(
                "index.rebuilding",
                path=str(path),
                reason="made by another embedding model or other analyzers",
                made_by=manifest.built_by,
                now=index._writer.built_by,
                documents=len(manifest.documents),
            )
            index._writer.rebuild()
        index._refresh()
        if not index._writer.is_reconciled(index._snapshot.manifest):
            try:
                index._writer.repair()
            except IndexLockedError:
                _log.info("index.repair_postponed", path=str(path), reason="another process is writing")
        return index

    @property
    def version(self) -> str:
        """Equal where the same documents were indexed by the same models."""
        return self._snapshot.digest

    def upsert(
        self,
        documents: Sequence[Document],
        *,
        origin: DocumentOrigin = "added",
        on_document: OnDocument = lambda _document: None,
    ) -> int:
        """Add documents and replace those of another version, all or none; returns how many changed.

        `on_document` is called with each that changed, when its vectors were made.
        The same id and version again changes nothing. A deleted document that is named here lives again.
        Raises `DocumentRefusedError`, before anything is written, and `IndexLockedError`.
        """
        changed = self._writer.upsert(documents, origin, on_document)
        self._settle()
        return changed

    def delete(self, ids: Iterable[str], *, origin: DocumentOrigin = "added") -> int:
        """Delete documents and lay a tombstone for each; returns how many there were. Raises `IndexLockedError`."""
        gone = self._writer.delete(ids, origin)
        self._settle()
        return gone

    def manifest(self) -> Manifest:
        """The truth on disk as it stands now."""
        return self._storage.manifest()

    def document_ids(self) -> frozenset[str]:
        """The ids of the live documents."""
        return frozenset(self._storage.manifest().documents)

    def rewrite_query(self, question: str, language: str) -> str:
        """A question as a search query, in the words of the documents; `search` and a reader take this."""
        return self._thesaurus.rewrite(
            rewrite_query(question), language, lambda term: self._keyword.has_term(term, language)
        )

    def find(self, question: str, k: int, language: str) -> list[Passage]:
        """The k best passages for a question as it was asked; see `search`.

        Words are looked for in those of the documents, meaning in its own: its vector is wanted by others too.
        """
        vector = self._embedder.embed(rewrite_query(question))
        return self.search(self.rewrite_query(question, language), vector, k, language)

    def search(self, text: str, vector: NDArray[np.float32], k: int, language: str) -> list[Passage]:
        """The k best passages for a question, best first, by reciprocal rank fusion of BM25 and cosine.

        A passage is as near as the nearest of its units, whatever its language; words are looked for in the documents
        of the question's own. `similarity` is 0.0 where it is not among the nearest.
        """
        self._refresh()
        if k <= 0:
            return []
        snapshot, depth = self._snapshot, max(k, LEAST_DEPTH)
        words = dict(self._keyword.search(text, language, depth, snapshot.ranks.get(language, {})))
        near: dict[int, float] = {}
        for label, cosine in self._vectors.search(vector, depth * UNITS_PER_PASSAGE):
            near.setdefault(passage_of(label), cosine)
        return [
            msgspec.structs.replace(
                snapshot.passages[number],
                score=score,
                bm25=words.get(number, 0.0),
                similarity=max(0.0, near.get(number, 0.0)),
            )
            for number, score in fuse_rankings(list(words), list(near)[:depth])[:k]
        ]

    def units(self, document_id: str, version: str) -> DocumentUnits | None:
        """A live document's units with their vectors; None when it is gone or has another version by now."""
        entry = self._snapshot.manifest.documents.get(document_id)
        if entry is None or entry.version != version:
            return None
        with self._units_lock:
            found = self._units.get((document_id, version))
        if found is None:
            stored = self._storage.get(document_id, version, self._writer.built_by)
            matrix = self._storage.vectors(document_id, version, self._writer.built_by)
            units = tuple(unit for chunk in stored.chunks for unit in chunk.units)
            found = DocumentUnits(document=stored.document, units=units, vectors=matrix)
            with self._units_lock:
                self._units[document_id, version] = found
        return found

    def has_term(self, term: str, language: str) -> bool:
        """Whether any passage in `language` states the term."""
        return self._keyword.has_term(term, language)

    def rarity(self, term: str, language: str) -> float:
        """The inverse document frequency of a term among the passages in `language`."""
        return self._keyword.rarity(term, language)

    def status(self) -> IndexStatus:
        self._refresh()
        manifest = self._snapshot.manifest
        return IndexStatus(
            version=self.version,
            documents=len(manifest.documents),
            passages=len(self._snapshot.passages),
            tombstones=len(manifest.tombstones),
            bytes=self._storage.size_bytes(),
            vectors=self._vectors.mode,
            embedder=manifest.embedder,
        )

    def _refresh(self) -> None:
        """See what any process wrote since."""
        self._keyword.refresh()
        if self._storage.stamp() == self._snapshot.stamp:
            return
        with self._refreshing:
            stamp = self._storage.stamp()
            if stamp == self._snapshot.stamp:
                return
            try:
                manifest = self._storage.manifest()
                if manifest.documents and manifest.built_by != self._writer.built_by:
                    raise IndexDamagedError(self._storage.path, "was built again by another embedding model meanwhile")
                if not manifest.continues(self._snapshot.manifest):
                    self._vectors = VectorLeg(exact_below=self._exact_below)
                snapshot = read_snapshot(self._storage, manifest, stamp, self._snapshot)
            except IndexDamagedError:
                if self._storage.stamp() == stamp:
                    raise
                return  # another process replaced what was being read; the next call reads what it wrote
            self._keyword.refresh()
            self._vectors.replace(snapshot.labels, snapshot.matrix, self._storage.graph, manifest.graph_sha256)
            self._snapshot = snapshot
            with self._units_lock:
                self._units.clear()

    def _settle(self) -> None:
        """See one's own writes, and save the graph when it has changed by a twentieth."""
        self._refresh()
        rows = len(self._snapshot.labels)
        if self._vectors.mode == "graph" and abs(rows - self._snapshot.manifest.graph_rows) * 20 > rows:
            self._writer.keep_graph(self._vectors.save_graph(self._storage.graph), rows)


def fuse_rankings(*rankings: Sequence[RankedItem]) -> list[tuple[RankedItem, float]]:
    """Reciprocal rank fusion (Cormack, Clarke & Büttcher, SIGIR 2009), k = 60: keys with their score, best first.

    A key scores the sum of 1 / (60 + rank) over the rankings that hold it; ties keep the order of first appearance.
    """
    scores: dict[RankedItem, float] = {}
    for ranking in rankings:
        for rank, key in enumerate(ranking, start=1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (RANK_CONSTANT + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])


def _open_keyword_leg(storage: Storage) -> KeywordLeg:
    """The keyword leg; an empty one, which `open` fills, where its files cannot be read."""
    path = storage.keyword(ANALYZERS)
    try:
        return KeywordLeg(path)
    except ValueError as error:
        with storage.lock():
            _log.warning("index.keyword_leg_unreadable", path=str(path), reason=str(error))
            shutil.rmtree(path)
            return KeywordLeg(path)
