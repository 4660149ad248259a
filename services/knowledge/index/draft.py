"""The next generation of an index while it is made in a transaction. Promises that its counts fit what it holds.

Next: records.py, index_writer.py.
"""

from __future__ import annotations

import sqlite3

import msgspec

from tidegate.services.knowledge.index import records
from tidegate.services.knowledge.index.database import IndexHead, add_digests, put_head, read_head
from tidegate.services.knowledge.index.embedded import EmbeddedDocument
from tidegate.services.knowledge.index.keyword import ANALYZERS
from tidegate.services.knowledge.index.records import DocumentEntry
from tidegate.services.knowledge.index.storage import DocumentOrigin, Tombstone


class IndexDraft:
    """The next generation while it is made: the head that it will have, and what the keyword leg has to follow."""

    def __init__(self, connection: sqlite3.Connection, embedder: str) -> None:
        self.connection = connection
        self.head = read_head(connection)
        self.first = self.head.next_number
        self.removed: list[int] = []
        self.added = False
        self.is_empty = True
        self._embedder = embedder
        self._generation = self.head.generation + 1

    def put(self, embedded: EmbeddedDocument, origin: DocumentOrigin) -> None:
        """Add a document, in the place of the one of its id."""
        known = records.find_entry(self.connection, embedded.document.id)
        if known is not None:
            self._remove(known)
        entry = records.add_document(self.connection, embedded, self.head.next_number, origin)
        self._count(entry, 1)
        lost = records.remove_tombstone(self.connection, entry.id)
        self.head = msgspec.structs.replace(
            self.head, next_number=entry.numbers.stop, tombstones=self.head.tombstones - lost
        )
        self.added, self.is_empty = True, False

    def delete(self, name: str, origin: DocumentOrigin) -> int:
        """Delete a document and lay a tombstone; returns 1, or 0 where there is none."""
        known = records.find_entry(self.connection, name)
        if known is None:
            return 0
        self._remove(known)
        self.bury(name, Tombstone(version=known.version, by=origin))
        return 1

    def bury(self, name: str, tombstone: Tombstone) -> None:
        """Lay a tombstone where there is none."""
        records.put_tombstone(self.connection, name, tombstone)
        self.head = msgspec.structs.replace(self.head, tombstones=self.head.tombstones + 1)
        self.is_empty = False

    def close(self) -> IndexHead:
        """Write the head."""
        self.head = msgspec.structs.replace(
            self.head, generation=self._generation, embedder=self._embedder, analyzers=ANALYZERS
        )
        put_head(self.connection, self.head)
        return self.head

    def _remove(self, entry: DocumentEntry) -> None:
        records.remove_document(self.connection, entry, self._generation)
        self.removed += entry.numbers
        self._count(entry, -1)

    def _count(self, entry: DocumentEntry, sign: int) -> None:
        head = self.head
        self.head = msgspec.structs.replace(
            head,
            documents=head.documents + sign,
            passages=head.passages + sign * entry.passages,
            units=head.units + sign * entry.units,
            digest=add_digests(head.digest, sign * entry.digest),
        )
