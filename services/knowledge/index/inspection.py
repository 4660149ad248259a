"""Looks whether an index is what was written, and what is to be in it: the database, both legs, and every file of them.

Promises to find a flipped byte wherever it is. Reads all that it is asked about. Next: replica/index_verifier.py.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index import records, sources
from tidegate.services.knowledge.index.chunking import Chunk, cut_into_chunks
from tidegate.services.knowledge.index.compaction import IndexParts
from tidegate.services.knowledge.index.database import IndexHead, add_digests, read_head
from tidegate.services.knowledge.index.errors import IndexUnusableError
from tidegate.services.knowledge.index.graph_files import is_graph_whole
from tidegate.services.knowledge.index.keyword import KeywordLeg
from tidegate.services.knowledge.index.records import DocumentEntry
from tidegate.services.knowledge.index.row_checks import PassageRow, find_names, read_halves, read_text
from tidegate.services.knowledge.index.segment_files import find_damaged_files
from tidegate.services.knowledge.index.vectors import DIMENSIONS
from tidegate.sync.rules.drift import Leg

VECTOR_BYTES = 2 * DIMENSIONS


class IndexFault(msgspec.Struct, frozen=True, kw_only=True):
    """Something of an index that is not what it is to be: a document by its id, or a file by its name.

    `is_stored`: it is there, and not as it should be. `is_whole`: by its own checksum it is as it was written.
    """

    leg: Leg
    name: str
    is_file: bool = False
    is_stored: bool = True
    is_whole: bool = True


class ExpectedDocument(NamedTuple):
    """What an index is to hold of a document; `halves` are its vectors as they are stored, None where nobody knows."""

    document: Document
    halves: bytes | None = None


class IndexInspector:
    """Inspects one index. Raises `IndexDamagedError` where it cannot be read, `IndexLockedError`."""

    def __init__(self, parts: IndexParts) -> None:
        self._parts = parts

    def inspect_database(self) -> list[IndexFault]:
        """Whether SQLite finds its file whole, and the head counts what is there."""
        self._parts.reader.database.close()  # what an idle connection remembers of the file is not what the disk has
        with self._parts.reader.database.reading() as connection:
            is_whole = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
            if is_whole and _counted(connection) == _head_counts(read_head(connection)):
                return []
        return [IndexFault(leg="texts", name=self._parts.storage.database.name, is_file=True, is_whole=False)]

    def inspect_documents(self, expected: Mapping[str, ExpectedDocument]) -> list[IndexFault]:
        """What of these documents, given by id, is missing in the database or is not what it is to be."""
        found: list[IndexFault] = []
        with self._parts.reader.database.reading() as connection:
            for name, wanted in expected.items():
                entry = records.find_entry(connection, name)
                if entry is None:
                    found.append(IndexFault(leg="texts", name=name, is_stored=False))
                    continue
                found += _inspect_text(connection, entry, wanted.document)
                found += _inspect_vectors(connection, entry, wanted.halves)
        return found

    def find_unclaimed(self, names: Sequence[str]) -> list[str]:
        """Those of these ids that are in the index, though nothing says where they come from."""
        with self._parts.reader.database.reading() as connection:
            named = sources.find_named(connection, names)
            return [name for name in names if name not in named and records.find_entry(connection, name) is not None]

    def find_damaged_sources(self, collection: str) -> list[str]:
        """The documents of a collection of which the index cannot say any more where they come from."""
        with self._parts.reader.database.reading() as connection:
            return sources.find_damaged(connection, collection)

    def inspect_keywords(self) -> list[IndexFault]:
        """Every file of the keyword leg, and every row against the database."""
        with self._parts.storage.lock(), self._parts.reader.database.reading() as connection:
            leg = self._parts.reader.leg(read_head(connection))
            damaged = find_damaged_files(leg.path)
            if damaged:
                return [_file_of("keywords", f"{leg.path.name}/{name}") for name in damaged]
            try:
                held = Counter(leg.refresh().entries())
            except ValueError:
                return [_file_of("keywords", leg.path.name)]
            return list(_compare_rows(connection, leg, held))

    def inspect_graph(self) -> list[IndexFault]:
        """Whether the bytes of the graph in force are those that were saved; a small index has none."""
        with self._parts.reader.database.reading() as connection:
            head = read_head(connection)
        if not head.graph or self._parts.reader.is_exact(head):
            return []
        path = self._parts.storage.graph(head.graph)
        try:
            is_whole = is_graph_whole(path, head.graph_sha256)
        except FileNotFoundError:
            is_whole = False
        except OSError as error:
            raise IndexUnusableError(path, error) from error
        return [] if is_whole else [_file_of("vectors", path.name)]

    def mend_keywords(self) -> None:
        """Write the rows that differ, or the whole leg where that does not help: its files may be damaged."""
        self._parts.writer.repair()
        if self.inspect_keywords():
            self._parts.compaction.renew_keyword_leg()

    def renew_graph(self) -> None:
        """Make the graph anew."""
        self._parts.compaction.renew_graph()


def _inspect_text(connection: sqlite3.Connection, entry: DocumentEntry, wanted: Document) -> Iterator[IndexFault]:
    """The document's own row and those of its passages."""
    chunks = cut_into_chunks(wanted.text)
    rows = read_text(connection, entry)
    is_right = (
        len(rows.passages) == len(chunks)
        and rows.document == wanted
        and all(_is_passage(row, wanted, chunk) for row, chunk in zip(rows.passages, chunks, strict=True))
    )
    if not is_right or not rows.is_whole:
        yield IndexFault(leg="texts", name=entry.id, is_whole=rows.is_whole)


def _is_passage(row: PassageRow | None, document: Document, chunk: Chunk) -> bool:
    return row is not None and row.passage == records.cut_passage(document, chunk) and row.units == chunk.units


def _inspect_vectors(
    connection: sqlite3.Connection, entry: DocumentEntry, wanted: bytes | None
) -> Iterator[IndexFault]:
    halves, is_whole = read_halves(connection, entry)
    # Vectors that came for another number of units were not taken: other ones were made.
    is_right = len(halves) == VECTOR_BYTES * entry.units and (
        wanted is None or len(wanted) != len(halves) or wanted == halves
    )
    if not is_right or not is_whole:
        yield IndexFault(leg="vectors", name=entry.id, is_whole=is_whole)


def _compare_rows(
    connection: sqlite3.Connection, leg: KeywordLeg, held: Counter[tuple[int, int]]
) -> Iterator[IndexFault]:
    """Documents that lack rows, and rows that no document has, or that are there twice."""
    wanted = Counter(records.list_marks(connection))
    missing, extra = wanted - held, held - wanted
    names = find_names(connection, [number for number, _ in (*missing, *extra)])
    for name in sorted({names[number] for number, _ in missing}):
        yield IndexFault(leg="keywords", name=name, is_stored=False)
    for number in sorted({number for number, _ in extra}):
        yield IndexFault(leg="keywords", name=names.get(number, f"{leg.path.name}:{number}"))


def _file_of(leg: Leg, name: str) -> IndexFault:
    return IndexFault(leg=leg, name=name, is_file=True, is_whole=False)


def _counted(connection: sqlite3.Connection) -> tuple[int, ...]:
    """What the rows add up to."""
    documents = passages = units = 0
    digest = bytes(len(IndexHead().digest))
    for entry in records.list_entries(connection):
        documents, passages, units = documents + 1, passages + entry.passages, units + entry.units
        digest = add_digests(digest, entry.digest)
    [rows] = connection.execute("SELECT count(*) FROM passages").fetchone()
    [vectors] = connection.execute("SELECT count(*) FROM vectors").fetchone()
    total = records.count_units(connection, 0)
    return documents, passages, units, int.from_bytes(digest, "big"), rows, vectors, total


def _head_counts(head: IndexHead) -> tuple[int, ...]:
    counts = (head.documents, head.passages, head.units, int.from_bytes(head.digest, "big"))
    return *counts, head.passages, head.passages, head.units
