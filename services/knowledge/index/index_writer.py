"""Changes an index. Promises that a crash between any two writes leaves it whole, and that a change of a large index
costs what it changes. Next: database.py, keyword.py.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import msgspec
import numpy as np
import structlog

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index import records
from tidegate.services.knowledge.index.database import read_head
from tidegate.services.knowledge.index.draft import IndexDraft
from tidegate.services.knowledge.index.embedded import embed_all
from tidegate.services.knowledge.index.errors import IndexUnusableError
from tidegate.services.knowledge.index.format_1 import OldIndex
from tidegate.services.knowledge.index.index_reader import IndexReader
from tidegate.services.knowledge.index.keyword import KeywordLeg
from tidegate.services.knowledge.index.keyword_errors import KeywordLegDamagedError
from tidegate.services.knowledge.index.sources import DocumentSource, put_sources, remove_sources
from tidegate.services.knowledge.index.storage import DocumentOrigin, Storage
from tidegate.services.knowledge.index.vectors import Matrix
from tidegate.services.knowledge.text_embedder import TextEmbedder

_log = structlog.get_logger()

OnDocument = Callable[[Document], None]
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
LOGGED_GENERATIONS = 1_000
"""The log of what went is kept for so many changes, and back to the one that the graph was made of."""


class DocumentRefusedError(TidegateError, ValueError):
    """A document cannot be indexed: it is empty, has no proper id, or comes twice in one call."""

    hint = "give every document a text, and an id of its own of a-z, 0-9, - and _"


class IndexChange(msgspec.Struct, frozen=True, kw_only=True):
    """What one generation changes: first `deleted` go, then `documents` come. `state` are the caller's own values, in
    force together with the change, or as it was before it: where a replica stands, for one.

    `vectors` are those of the units of documents, by id, where somebody has made them already by the same model; others
    are made here. Documents in `anew` are put in again even where they are there. `sources` say where documents come
    from, and `forgotten` are those, by document id and collection, that do not any more.
    """

    documents: Sequence[Document] = ()
    deleted: Iterable[str] = ()
    origin: DocumentOrigin = "added"
    state: Mapping[str, bytes] = {}
    vectors: Mapping[str, Matrix] = {}
    anew: Collection[str] = ()
    sources: Iterable[DocumentSource] = ()
    forgotten: Iterable[tuple[str, str]] = ()
    on_document: OnDocument = lambda _document: None


class IndexWriter:
    """The one writer of an index; every method takes the directory's lock. Raises `IndexLockedError` where it is taken.

    Rows of the keyword leg come before the transaction that makes them live, and go after it. So a leg that holds as
    many rows as there are passages is as a change left it; one that does not was left by a crash, and is reconciled.
    """

    def __init__(self, storage: Storage, reader: IndexReader, embedder: TextEmbedder) -> None:
        self._storage = storage
        self._database = reader.database
        self._reader = reader
        self._embedder = embedder

    def apply(self, change: IndexChange) -> tuple[int, int]:
        """Make a change, all of it or none; returns how many documents came or were replaced, and how many went."""
        check_documents(change.documents)
        with self._storage.lock():
            self._reconcile()
            with self._database.writing() as connection:
                draft = IndexDraft(connection, self._embedder.version)
                gone = sum(draft.delete(name, change.origin) for name in dict.fromkeys(change.deleted))
                changed = [each for each in change.documents if not _is_indexed(connection, change, each)]
                for embedded in embed_all(changed, self._embedder, change.vectors):
                    change.on_document(embedded.document)
                    draft.put(embedded, change.origin)
                remove_sources(connection, change.forgotten)
                put_sources(connection, change.sources)
                self._finish(draft, change.state)
            self._forget(draft)
        return len(changed), gone

    def bring_up_to_date(self, built_by: str) -> None:
        """Convert an index of format 1 and build one of another model again. What another process has done meanwhile
        is not done again: documents that it has deleted since would come back."""
        path = self._storage.path
        with self._storage.lock():
            with self._database.reading() as connection:
                head = read_head(connection)
            if OldIndex.is_in(path):
                old = OldIndex(path)
                if not head.generation:
                    _log.info("index.converting", path=str(path), documents=len(old.origins), made_by=old.built_by)
                    self._take_over(old, built_by)
                old.remove()
            elif head.documents and head.built_by != built_by:
                about = {"made_by": head.built_by, "now": built_by, "documents": head.documents}
                _log.warning("index.rebuilding", path=str(path), reason="made by another model or analyzers", **about)
                self._rebuild()

    def _take_over(self, old: OldIndex, built_by: str) -> None:
        """Put in all that it holds, with its vectors where they are such as would be made today."""
        with self._database.writing() as connection:
            draft = IndexDraft(connection, self._embedder.version)
            embedded = old.embedded() if old.built_by == built_by else embed_all(old.texts(), self._embedder)
            for each in embedded:
                draft.put(each, old.origins[each.document.id])
            for name, tombstone in old.tombstones.items():
                draft.bury(name, tombstone)
            self._finish(draft, {})
        self._forget(draft)

    def _rebuild(self) -> None:
        """Make every document's pieces and vectors again, from the text that the index holds."""
        with self._database.reading() as before, self._database.writing() as connection:
            draft = IndexDraft(connection, self._embedder.version)
            entries = list(records.list_entries(before))
            texts = (records.find_document(before, entry.id) for entry in entries)
            embedded = embed_all((text for text in texts if text is not None), self._embedder)
            for entry, each in zip(entries, embedded, strict=True):
                draft.put(each, entry.origin)
            draft.head = msgspec.structs.replace(draft.head, graph="", graph_sha256="", graph_numbers=0)
            self._finish(draft, {})
        self._forget(draft)

    def repair(self) -> None:
        """Make the keyword leg hold what the database says, row by row."""
        with self._storage.lock():
            self._reconcile(is_thorough=True)

    def is_reconciled(self) -> bool:
        """Whether the keyword leg holds each live passage once, and nothing else.

        In a large index the rows are counted, which finds what a crash leaves; `repair` finds any difference.
        """
        with self._database.reading() as connection:
            head = read_head(connection)
            leg = self._reader.leg(head)
            held = leg.refresh()
            if held.count != head.passages:
                return False
            try:
                return not self._reader.is_exact(head) or held.entries() == records.list_marks(connection)
            except KeywordLegDamagedError:
                return False

    def _finish(self, draft: IndexDraft, state: Mapping[str, bytes]) -> None:
        """What is last in the transaction of a change."""
        records.put_state(draft.connection, state)
        if draft.is_empty:
            return
        head = draft.close()
        oldest = min(head.graph_generation if head.graph else head.generation, head.generation - LOGGED_GENERATIONS)
        draft.connection.execute("DELETE FROM removals WHERE generation <= ?", (oldest,))
        if draft.added:
            leg = self._reader.leg(head)
            try:
                leg.change(added=records.list_keyword_rows(draft.connection, draft.first))
            except ValueError as error:
                raise IndexUnusableError(leg.path, error) from error

    def _forget(self, draft: IndexDraft) -> None:
        """Remove the rows of what the change removed; a small index has no trace of them left in its statistics.

        The change is in force: where this fails nothing is found that should not be, and the next change does it.
        """
        try:
            leg = self._reader.leg(draft.head)
            if self._reader.is_exact(draft.head) and (draft.removed or leg.count_dead()):
                with self._database.reading() as connection:
                    leg.replace(records.list_keyword_rows(connection))
            elif draft.removed:
                leg.change(removed=draft.removed)
        except (ValueError, OSError, IndexUnusableError) as error:
            _log.warning("index.rows_left", path=str(self._storage.path), reason=str(error))

    def _reconcile(self, *, is_thorough: bool = False) -> None:
        """A crash may have left the keyword leg more than the database names or, on a bad disk, less."""
        if not is_thorough and self.is_reconciled():
            return
        with self._database.reading() as connection:
            head = read_head(connection)
            leg = self._reader.leg(head)
            try:
                if self._reader.is_exact(head) or not reconcile_rows(connection, leg):
                    leg.replace(records.list_keyword_rows(connection))
            except ValueError as error:
                raise IndexUnusableError(leg.path, error) from error


def check_documents(documents: Iterable[Document]) -> None:
    """Raises `DocumentRefusedError` for one that must not be indexed, before anything is written."""
    seen: set[str] = set()
    for document in documents:
        if not (_KEY.fullmatch(document.id) and _KEY.fullmatch(document.version)):
            raise DocumentRefusedError(f"{document.id}@{document.version} is no name of a document")
        if not document.text.strip():
            raise DocumentRefusedError(f"the document {document.id} is empty")
        if document.id in seen:
            raise DocumentRefusedError(f"the document {document.id} is given twice")
        seen.add(document.id)


def reconcile_rows(connection: sqlite3.Connection, leg: KeywordLeg) -> bool:
    """Bring a leg to what the database says, writing the difference only; returns whether it could be read."""
    wanted = records.list_marks(connection)
    try:
        held = leg.refresh().entries()
    except KeywordLegDamagedError:
        return False
    times = Counter(number for number, _ in held)
    right = set(wanted) & set(held)
    numbers = {number for number, _ in right if times[number] == 1}
    missing = [number for number, _ in wanted if number not in numbers]
    wrong = sorted({number for number, _ in held} - numbers)
    rows = (row for number in missing for row in records.list_keyword_rows(connection, number, number + 1))
    leg.change(removed=wrong, added=rows)
    return True


def _is_indexed(connection: sqlite3.Connection, change: IndexChange, document: Document) -> bool:
    """Whether the index holds this version. What a replica brings must be there to the last field, and its vectors."""
    entry = records.find_entry(connection, document.id)
    if entry is None or document.id in change.anew:
        return False
    if (entry.version, entry.title, entry.language) != (document.version, document.title, document.language):
        return False
    if change.origin != "replica":
        return True
    if entry.origin != change.origin:
        return False
    given = change.vectors.get(document.id)
    try:
        is_same = records.find_document(connection, document.id) == document
        return is_same and (given is None or np.array_equal(records.find_unit_vectors(connection, entry), given))
    except (sqlite3.DatabaseError, msgspec.DecodeError):  # what is damaged is put in again
        return False
