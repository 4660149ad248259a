"""Where the documents of an index come from, when a replica feeds it: the collection, what it held, and who signed.

Promises that a row goes in and out with the change that it is about, and costs what it names. Next: records.py.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from tidegate.schemas.answer import Passage

SCHEMA = """
CREATE TABLE sources (
    id INTEGER PRIMARY KEY, document_id TEXT NOT NULL, collection TEXT NOT NULL, name TEXT NOT NULL,
    source BLOB NOT NULL, crc INTEGER NOT NULL, UNIQUE (document_id, collection)
);
CREATE INDEX sources_by_name ON sources (name) WHERE name != '';
CREATE INDEX sources_by_collection ON sources (collection);
"""


class DocumentSource(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A document of a replica's collection, deleted ones too. `digest` is that of all that the replica held of it.

    `name` is its id in the index, empty where it is not there: it was deleted or, as `fault` says, could not be put in.
    """

    document_id: str
    collection: str
    digest: bytes
    name: str = ""
    signer: str = ""
    fault: str = ""


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(DocumentSource).decode
_INSERT = "INSERT OR REPLACE INTO sources (document_id, collection, name, source, crc) VALUES (?, ?, ?, ?, ?)"


def put_sources(connection: sqlite3.Connection, sources: Iterable[DocumentSource]) -> None:
    rows = ((each.document_id, each.collection, each.name, _encode(each)) for each in sources)
    connection.executemany(_INSERT, ((*row, zlib.crc32(row[-1])) for row in rows))


def remove_sources(connection: sqlite3.Connection, keys: Iterable[tuple[str, str]]) -> None:
    """Remove rows by document id and collection."""
    connection.executemany("DELETE FROM sources WHERE document_id = ? AND collection = ?", keys)


def list_sources(connection: sqlite3.Connection, collection: str) -> Iterator[DocumentSource]:
    """All rows of a collection that are as they were written; the others are as if they were not there."""
    yield from _whole(connection.execute("SELECT source, crc FROM sources WHERE collection = ?", (collection,)))


def find_sources(connection: sqlite3.Connection, document_ids: Iterable[str]) -> list[DocumentSource]:
    """The rows of these ids, of whatever collections."""
    among = "SELECT source, crc FROM sources WHERE document_id IN (SELECT value FROM json_each(?))"
    return list(_whole(connection.execute(among, (json.dumps(list(document_ids)),))))


def find_named(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, DocumentSource]:
    """Where the documents with these ids in the index come from, of those that a replica brought."""
    among = "SELECT source, crc FROM sources WHERE name != '' AND name IN (SELECT value FROM json_each(?))"
    return {each.name: each for each in _whole(connection.execute(among, (json.dumps(list(names)),)))}


def find_damaged(connection: sqlite3.Connection, collection: str) -> list[str]:
    """The documents whose rows are not as they were written."""
    rows = connection.execute("SELECT document_id, source, crc FROM sources WHERE collection = ?", (collection,))
    return [name for name, source, crc in rows if zlib.crc32(source) != crc]


def with_source(passage: Passage, named: Mapping[str, DocumentSource]) -> Passage:
    """The passage of a document, with where that comes from."""
    source = named.get(passage.document_id)
    if source is None:
        return passage
    return msgspec.structs.replace(passage, collection=source.collection, signer=source.signer)


def _whole(rows: Iterable[tuple[bytes, int]]) -> Iterator[DocumentSource]:
    """The checksum is against broken disks, not against people."""
    for source, crc in rows:
        if zlib.crc32(source) == crc:
            yield _decode(source)
