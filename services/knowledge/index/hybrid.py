"""One tenant's index: documents in, passages out, ranked by words and by meaning.

Promises that a deleted document never comes back. Next: index_reader.py, index_writer.py.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import structlog
from cachetools import LRUCache
from numpy.typing import NDArray

from tidegate.schemas.answer import Passage
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index import records, sources
from tidegate.services.knowledge.index.chunking import Unit
from tidegate.services.knowledge.index.compaction import Compaction, IndexParts
from tidegate.services.knowledge.index.database import IndexDatabase, read_head
from tidegate.services.knowledge.index.errors import IndexLockedError
from tidegate.services.knowledge.index.format_1 import OldIndex
from tidegate.services.knowledge.index.fusion import LEAST_DEPTH, fuse_rankings
from tidegate.services.knowledge.index.index_reader import IndexReader
from tidegate.services.knowledge.index.index_writer import IndexChange, IndexWriter, OnDocument
from tidegate.services.knowledge.index.keyword import ANALYZERS
from tidegate.services.knowledge.index.known_terms import KnownTerms
from tidegate.services.knowledge.index.limits import EXACT_BELOW, FOLD_AT
from tidegate.services.knowledge.index.sources import DocumentSource
from tidegate.services.knowledge.index.storage import DocumentOrigin, Storage, Tombstone
from tidegate.services.knowledge.index.thesaurus import Thesaurus, rewrite_query
from tidegate.services.knowledge.index.vectors import Matrix
from tidegate.services.knowledge.text_embedder import TextEmbedder

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

    def __init__(self, storage: Storage, embedder: TextEmbedder, exact_below: int, fold_at: int) -> None:
        self._storage = storage
        self._embedder = embedder
        self._reader = IndexReader(storage, f"{ANALYZERS}-{embedder.version}", exact_below)
        self._writer = IndexWriter(storage, self._reader, embedder)
        self._compaction = Compaction(storage, self._reader, fold_at)
        self._units: LRUCache[tuple[str, str], DocumentUnits] = LRUCache(2048)
        self._units_of = ""
        self._units_lock = threading.Lock()
        self._terms = KnownTerms()
        self._thesaurus = Thesaurus.load(storage.path)

    @classmethod
    def open(
        cls, path: Path, embedder: TextEmbedder, *, exact_below: int = EXACT_BELOW, fold_at: int = FOLD_AT
    ) -> HybridIndex:
        """Open the index in `path`, an empty one where there is none.

        An index made by another embedding model or other analyzers is built again from the documents it holds, one of
        an older format is converted, and a keyword leg that holds anything but what the database says is reconciled.
        Raises `IndexDamagedError`, and `IndexLockedError` when it must be built again but another process writes.
        """
        storage = Storage(path)
        IndexDatabase(storage).create()
        index = cls(storage, embedder, exact_below, fold_at)
        index._bring_up_to_date()
        index._compaction.remove_leftovers()
        try:
            if not index._writer.is_reconciled():
                index._writer.repair()
        except IndexLockedError:
            _log.info("index.repair_postponed", path=str(path), reason="another process is writing")
        with index._reader.reading():
            return index

    @property
    def embedder_version(self) -> str:
        """The version of the model that its vectors are of."""
        return self._embedder.version

    def parts(self) -> IndexParts:
        """See `IndexParts`."""
        return IndexParts(self._storage, self._reader, self._writer, self._compaction)

    @property
    def version(self) -> str:
        """Equal where the same documents were indexed by the same models."""
        return self._reader.view.head.version

    def upsert(
        self,
        documents: Sequence[Document],
        *,
        origin: DocumentOrigin = "added",
        on_document: OnDocument = lambda _document: None,
        state: Mapping[str, bytes] | None = None,
    ) -> int:
        """Add documents and replace those of another version, all or none; returns how many changed.

        `on_document` is called with each that changed, when its vectors were made; for `state` see `apply`.
        The same id and version again changes nothing. A deleted document that is named here lives again.
        Raises `DocumentRefusedError`, before anything is written, and `IndexLockedError`.
        """
        change = IndexChange(documents=documents, origin=origin, on_document=on_document, state=state or {})
        return self.apply(change)[0]

    def delete(
        self, ids: Iterable[str], *, origin: DocumentOrigin = "added", state: Mapping[str, bytes] | None = None
    ) -> int:
        """Delete documents and lay a tombstone for each; returns how many there were. Raises `IndexLockedError`."""
        return self.apply(IndexChange(deleted=ids, origin=origin, state=state or {}))[1]

    def apply(self, change: IndexChange) -> tuple[int, int]:
        """Make a change with its state, all or none; returns how many documents came or were replaced, and how many
        went. Raises `DocumentRefusedError`, before anything is written, and `IndexLockedError`."""
        applied = self._writer.apply(change)
        with self._reader.reading():  # so that `version` and `units` are those of one's own writes
            self._compaction.start_if_due()
        return applied

    def state(self, key: str) -> bytes | None:
        """What a change set with its `state`, as it stands now."""
        with self._reader.reading() as now:
            return records.find_state(now.connection, key)

    def document_ids(self) -> frozenset[str]:
        """The ids of the live documents."""
        return frozenset(self.origins())

    def origins(self) -> dict[str, DocumentOrigin]:
        """Where each live document came from, by id."""
        with self._reader.reading() as now:
            return {entry.id: entry.origin for entry in records.list_entries(now.connection)}

    def sources(self, collection: str) -> dict[str, DocumentSource]:
        """What of a replica's collection the index was made from, by document id."""
        with self._reader.reading() as now:
            return {each.document_id: each for each in sources.list_sources(now.connection, collection)}

    def find_sources(self, document_ids: Iterable[str]) -> list[DocumentSource]:
        """What of these documents the index was made from, in whatever collections."""
        with self._reader.reading() as now:
            return sources.find_sources(now.connection, document_ids)

    def tombstones(self) -> dict[str, Tombstone]:
        """The deleted documents, by id."""
        with self._reader.reading() as now:
            return records.find_tombstones(now.connection)

    def rewrite_query(self, question: str, language: str) -> str:
        """A question as a search query, in the words of the documents; `search` and a reader take this."""
        return self._thesaurus.rewrite(rewrite_query(question), language, partial(self.stated_terms, language=language))

    def rewritten_by(self, thesaurus: Thesaurus) -> HybridIndex:
        """This index, with questions put into its documents' words by another thesaurus than it was opened with. What
        is remembered is shared."""
        own = copy(self)
        own._thesaurus = thesaurus
        return own

    def find(self, question: str, k: int, language: str) -> list[Passage]:
        """The k best passages for a question as it was asked; see `search`.

        Words are looked for in those of the documents, meaning in its own: its vector is wanted by others too.
        """
        vector = self._embedder.embed(rewrite_query(question))
        with self.as_of_now():
            return self.search(self.rewrite_query(question, language), vector, k, language)

    def search(self, text: str, vector: NDArray[np.float32], k: int, language: str) -> list[Passage]:
        """The k best passages for a question, best first, by reciprocal rank fusion of BM25 and cosine.

        A passage is as near as the nearest of its units, whatever its language; words are looked for in the documents
        of the question's own. `similarity` is 0.0 where it is not among the nearest.
        """
        depth = max(k, LEAST_DEPTH)
        with self._reader.reading() as now:
            if k <= 0:
                return []
            places = partial(records.find_places, now.connection, language=language)
            stated = now.keyword.search_beyond(text, language, depth, places)
            words = dict(stated[:depth])
            near = now.find_near(vector, depth, [number for number, _ in stated[: 2 * depth]])
            fused = fuse_rankings(list(words), list(near)[:depth])[:k]
            passages = records.find_passages(now.connection, [number for number, _ in fused])
            named = sources.find_named(now.connection, {each.document_id for each in passages.values()})
        return [
            msgspec.structs.replace(
                sources.with_source(passages[number], named),
                score=score,
                bm25=words.get(number, 0.0),
                similarity=max(0.0, near.get(number, 0.0)),
            )
            for number, score in fused
        ]

    def units(self, document_id: str, version: str) -> DocumentUnits | None:
        """A live document's units with their vectors; None when it is gone or has another version by now."""
        key = (document_id, version)
        with self._units_lock:
            if self._units_of != self.version:
                self._units_of = self.version
                self._units.clear()
            found = self._units.get(key)
        if found is None:
            found = self._read_units(document_id, version)
            if found is not None:
                with self._units_lock:
                    self._units[key] = found
        return found

    def as_of_now(self) -> AbstractContextManager[None]:
        """What this thread looks up while this is open is of one version of the index; see `IndexReader.holding`."""
        return self._reader.holding()

    def stated_terms(self, terms: Iterable[str], language: str) -> frozenset[str]:
        """Those of the terms that any passage in `language` states."""
        with self._reader.reading() as now:
            has_term = partial(now.keyword.has_term, find_live=partial(records.find_live, now.connection))
            return frozenset(each for each in terms if self._terms.has(now.head.version, each, language, has_term))

    def rarity(self, term: str, language: str) -> float:
        """The inverse document frequency of a term among the passages in `language`."""
        return self._reader.keyword.rarity(term, language)

    def status(self) -> IndexStatus:
        with self._reader.reading() as now:
            return IndexStatus(
                version=now.head.version,
                documents=now.head.documents,
                passages=now.head.passages,
                tombstones=now.head.tombstones,
                bytes=self._storage.size_bytes(),
                vectors=now.vectors.mode,
                embedder=now.head.embedder,
            )

    def repair(self) -> None:
        """Compare every row of the keyword leg with the database, and mend what differs. Reads all that is held."""
        self._writer.repair()

    def wait_for_compaction(self) -> None:
        """Wait until what was begun in the background has ended. Raises what it raised."""
        self._compaction.wait()

    def close(self) -> None:
        """Wait for what runs in the background and close the files; the index is not to be used afterwards."""
        self._compaction.close()
        self._reader.close()

    def _bring_up_to_date(self) -> None:
        """Convert an index of an older format, and build one of another model again."""
        built_by = f"{ANALYZERS}-{self._embedder.version}"
        with self._reader.database.reading() as connection:
            head = read_head(connection)
        if OldIndex.is_in(self._storage.path) or (head.documents and head.built_by != built_by):
            self._writer.bring_up_to_date(built_by)

    def _read_units(self, document_id: str, version: str) -> DocumentUnits | None:
        with self._reader.database.reading() as connection:
            entry = records.find_entry(connection, document_id)
            document = records.find_document(connection, document_id)
            if entry is None or document is None or entry.version != version:
                return None
            units, vectors = records.find_units(connection, entry), records.find_unit_vectors(connection, entry)
        return DocumentUnits(document=document, units=units, vectors=vectors)
