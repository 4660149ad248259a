"""What the database holds of documents and passages, read and written on a connection in a transaction.

Promises that a document goes in and out whole, at a cost of its own size, and that a row which is not what was written
is not taken for it. Next: index_writer.py.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np

from tidegate.schemas.answer import Passage
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Chunk, Unit
from tidegate.services.knowledge.index.embedded import EmbeddedDocument, units_in
from tidegate.services.knowledge.index.keyword import KeywordRow
from tidegate.services.knowledge.index.markdown import strip_tags
from tidegate.services.knowledge.index.storage import DocumentOrigin, Tombstone, make_mark
from tidegate.services.knowledge.index.vectors import DIMENSIONS, Matrix, Numbers, widen_halves

_encode = msgspec.msgpack.encode
_decode_document = msgspec.msgpack.Decoder(Document).decode
_decode_passage = msgspec.msgpack.Decoder(Passage).decode
_decode_units = msgspec.msgpack.Decoder(tuple[Unit, ...]).decode
_CHECKED_PASSAGE = "number, crc, passage, units"
_THESE = "(SELECT value FROM json_each(?))"


class DocumentEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A live document; its passages are numbered from `first`."""

    first: int
    id: str
    version: str
    title: str
    language: str
    origin: DocumentOrigin
    passages: int
    units: int

    @property
    def digest(self) -> int:
        """A number that tells this document, as it is indexed, from all others."""
        about = "\0".join((self.id, self.version, self.language, self.title))
        return int.from_bytes(hashlib.sha256(about.encode()).digest(), "big")

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.passages)


_ENTRY = ", ".join(DocumentEntry.__struct_fields__)


def find_entry(connection: sqlite3.Connection, name: str) -> DocumentEntry | None:
    """The live document of this id."""
    row = connection.execute(f"SELECT {_ENTRY} FROM documents WHERE id = ?", (name,)).fetchone()
    return None if row is None else _entry_of(row)


def list_entries(connection: sqlite3.Connection) -> Iterator[DocumentEntry]:
    """All live documents, in the order of their ids."""
    yield from map(_entry_of, connection.execute(f"SELECT {_ENTRY} FROM documents ORDER BY id"))


def add_document(
    connection: sqlite3.Connection, embedded: EmbeddedDocument, first: int, origin: DocumentOrigin
) -> DocumentEntry:
    """Write a document whose passages are numbered from `first`; none of its id may be there."""
    document, chunks = embedded.document, embedded.chunks
    entry = DocumentEntry(
        first=first,
        id=document.id,
        version=document.version,
        title=document.title,
        language=document.language,
        origin=origin,
        passages=len(chunks),
        units=units_in(chunks),
    )
    encoded = _encode(document)
    row = (*msgspec.structs.astuple(entry), encoded, row_checksum(first, encoded))
    connection.execute(f"INSERT INTO documents ({_ENTRY}, document, crc) VALUES ({', '.join('?' * len(row))})", row)
    pairs = [(_encode(cut_passage(document, chunk)), _encode(chunk.units)) for chunk in chunks]
    rows = (
        (number, first, *pair, row_checksum(number, *pair)) for number, pair in zip(entry.numbers, pairs, strict=True)
    )
    connection.executemany("INSERT INTO passages (number, first, passage, units, crc) VALUES (?, ?, ?, ?, ?)", rows)
    halves = np.ascontiguousarray(embedded.vectors, dtype=np.float16)
    ends = np.cumsum([len(chunk.units) for chunk in chunks])[:-1]
    blobs = zip(entry.numbers, (part.tobytes() for part in np.split(halves, ends)), strict=True)
    checked = ((number, blob, row_checksum(number, blob)) for number, blob in blobs)
    connection.executemany("INSERT INTO vectors VALUES (?, ?, ?)", checked)
    return entry


def remove_document(connection: sqlite3.Connection, entry: DocumentEntry, generation: int) -> None:
    """Remove a document and log in which generation that was, for whoever has to follow."""
    for table, column in (("documents", "first"), ("passages", "number"), ("vectors", "number")):
        last = entry.first + (entry.passages if column == "number" else 1)
        connection.execute(f"DELETE FROM {table} WHERE {column} >= ? AND {column} < ?", (entry.first, last))
    connection.execute("INSERT INTO removals VALUES (?, ?, ?)", (entry.first, entry.passages, generation))


def removed_since(connection: sqlite3.Connection, generation: int) -> list[int]:
    """The numbers of the passages that were removed after `generation`, as far back as the log is kept."""
    rows = connection.execute("SELECT first, passages FROM removals WHERE generation > ?", (generation,))
    return [number for first, passages in rows for number in range(first, first + passages)]


def count_removed(connection: sqlite3.Connection, generation: int) -> int:
    """How many passages were removed after `generation`."""
    select = "SELECT coalesce(sum(passages), 0) FROM removals WHERE generation > ?"
    return int(connection.execute(select, (generation,)).fetchone()[0])


def find_document(connection: sqlite3.Connection, name: str) -> Document | None:
    """The live document of this id, with its text."""
    row = connection.execute("SELECT first, crc, document FROM documents WHERE id = ?", (name,)).fetchone()
    if row is None:
        return None
    _check("document", *row)
    return _decode_document(row[2])


def find_passages(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, Passage]:
    """The passages of these numbers, which are live ones."""
    select = f"SELECT {_CHECKED_PASSAGE} FROM passages WHERE number IN {_THESE}"
    found = {}
    for row in connection.execute(select, (json.dumps(numbers),)):
        _check("passage", *row)
        found[row[0]] = _decode_passage(row[2])
    if len(found) < len(set(numbers)):
        raise sqlite3.DatabaseError("passages are missing that are searched")
    return found


def find_places(connection: sqlite3.Connection, numbers: Sequence[int], language: str) -> dict[int, tuple[str, int]]:
    """Where each of these passages stands, its document's id and its own number, if it is live and in `language`."""
    select = (
        "SELECT p.number, d.id FROM passages p JOIN documents d ON d.first = p.first "
        f"WHERE p.number IN {_THESE} AND d.language = ?"
    )
    rows = connection.execute(select, (json.dumps(numbers), language))
    return {number: (name, number) for number, name in rows}


def find_live(connection: sqlite3.Connection, numbers: Sequence[int]) -> set[int]:
    """Those of these passages that are live."""
    rows = connection.execute(f"SELECT number FROM passages WHERE number IN {_THESE}", (json.dumps(numbers),))
    return {number for (number,) in rows}


def find_vectors(connection: sqlite3.Connection, numbers: Sequence[int]) -> tuple[list[int], Numbers, Matrix]:
    """Those of these passages that are live, the first row of each, and their units' vectors row by row."""
    select = f"SELECT number, crc, halves FROM vectors WHERE number IN {_THESE} ORDER BY number"
    rows = connection.execute(select, (json.dumps(numbers),)).fetchall()
    for row in rows:
        _check("vectors of passage", *row)
    starts = np.cumsum([0, *(len(halves) // (2 * DIMENSIONS) for _, _, halves in rows[:-1])], dtype=np.int64)
    return [number for number, _, _ in rows], starts, widen_halves(b"".join(halves for _, _, halves in rows))


def list_vectors(connection: sqlite3.Connection, first: int, last: int | None = None) -> Iterator[tuple[int, Matrix]]:
    """The vectors of the units of all live passages from number `first` on, and before `last`, by number."""
    select = "SELECT number, crc, halves FROM vectors WHERE number >= ? AND number < ? ORDER BY number"
    for row in connection.execute(select, (first, 1 << 62 if last is None else last)):
        _check("vectors of passage", *row)
        yield row[0], widen_halves(row[2])


def find_unit_vectors(connection: sqlite3.Connection, entry: DocumentEntry) -> Matrix:
    """The vectors of the units of a document, row by row."""
    parts = [units for _, units in list_vectors(connection, entry.first, entry.numbers.stop)]
    if sum(map(len, parts)) != entry.units:
        raise sqlite3.DatabaseError(f"vectors of {entry.id} are missing")
    return np.concatenate(parts)


def count_units(connection: sqlite3.Connection, first: int) -> int:
    """How many units the live passages from number `first` on have."""
    select = "SELECT coalesce(sum(length(halves)), 0) FROM vectors WHERE number >= ?"
    return int(connection.execute(select, (first,)).fetchone()[0]) // (2 * DIMENSIONS)


def find_units(connection: sqlite3.Connection, entry: DocumentEntry) -> tuple[Unit, ...]:
    """The units of a document, in order."""
    select = f"SELECT {_CHECKED_PASSAGE} FROM passages WHERE number >= ? AND number < ? ORDER BY number"
    found: list[Unit] = []
    for row in connection.execute(select, (entry.first, entry.first + entry.passages)):
        _check("passage", *row)
        found += _decode_units(row[3])
    if len(found) != entry.units:
        raise sqlite3.DatabaseError(f"{entry.id} has {len(found)} units of {entry.units}")
    return tuple(found)


def list_marks(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """What the keyword leg must hold: the number and the mark of every live passage, sorted."""
    select = "SELECT p.number, d.id, d.version FROM passages p JOIN documents d ON d.first = p.first ORDER BY p.number"
    return [(number, make_mark(name, version)) for number, name, version in connection.execute(select)]


def list_keyword_rows(connection: sqlite3.Connection, first: int = 0, last: int = 1 << 62) -> Iterator[KeywordRow]:
    """The rows of the keyword leg for the passages from `first` on and before `last`."""
    select = f"SELECT {_CHECKED_PASSAGE} FROM passages WHERE number >= ? AND number < ? ORDER BY number"
    for row in connection.execute(select, (first, last)):
        _check("passage", *row)
        passage = _decode_passage(row[2])
        yield KeywordRow(
            number=row[0],
            mark=make_mark(passage.document_id, passage.document_version),
            language=passage.language,
            head=f"{passage.title} {passage.heading}",
            body=strip_tags(passage.text),
        )


def find_tombstones(connection: sqlite3.Connection) -> dict[str, Tombstone]:
    """The deleted documents, by id."""
    rows = connection.execute("SELECT id, version, origin FROM tombstones")
    return {name: Tombstone(version=version, by=origin) for name, version, origin in rows}


def put_tombstone(connection: sqlite3.Connection, name: str, tombstone: Tombstone) -> None:
    connection.execute("INSERT OR REPLACE INTO tombstones VALUES (?, ?, ?)", (name, tombstone.version, tombstone.by))


def remove_tombstone(connection: sqlite3.Connection, name: str) -> int:
    """Returns how many there were: one or none."""
    return connection.execute("DELETE FROM tombstones WHERE id = ?", (name,)).rowcount


def put_state(connection: sqlite3.Connection, state: Mapping[str, bytes]) -> None:
    connection.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", list(state.items()))


def find_state(connection: sqlite3.Connection, key: str) -> bytes | None:
    row = connection.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
    return None if row is None else bytes(row[0])


def row_checksum(number: int, *blobs: bytes) -> int:
    """Of what a row holds and where it stands: it is against broken disks, not against people."""
    crc = number & 0xFFFFFFFF
    for blob in blobs:
        crc = zlib.crc32(blob, crc)
    return crc


def _check(what: str, number: int, crc: int, *blobs: bytes) -> None:
    if row_checksum(number, *blobs) != crc:
        raise sqlite3.DatabaseError(f"{what} {number} is not what was written")


def _entry_of(row: tuple[object, ...]) -> DocumentEntry:
    return msgspec.convert(dict(zip(DocumentEntry.__struct_fields__, row, strict=True)), DocumentEntry)


def cut_passage(document: Document, chunk: Chunk) -> Passage:
    """A piece of a document as it is found."""
    return Passage(
        document_id=document.id,
        document_version=document.version,
        title=document.title,
        text=document.text[chunk.start : chunk.end],
        language=document.language,
        start=chunk.start,
        end=chunk.end,
        score=0.0,
        heading=chunk.heading,
        page=document.page_at(chunk.start),
        page_breaks=tuple(start for start in document.page_starts if chunk.start < start < chunk.end),
        recognised=tuple(
            (max(first, chunk.start), min(last, chunk.end))
            for first, last in document.recognised
            if first < chunk.end and chunk.start < last
        ),
    )
