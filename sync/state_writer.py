"""The small values of a store that every operation reads and changes: who writes here, replicas, and marks of authors.

Promises that a transaction reads what it wrote, and writes each value once, at its end, however many operations it
applies. Next: writer.py, which adds documents and their tree."""

from __future__ import annotations

import sqlite3

import msgspec

from tidegate.schemas.sync import AuthorMark
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import OwnState, ReplicaRecord


class StateWriter(StoreReader):
    """One transaction of a store: what is read of these values is remembered, what is put is written by `finish`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._own: OwnState | None = None
        self._is_own_new = False
        self._records: dict[str, ReplicaRecord] = {}
        self._marks: dict[tuple[str, str], AuthorMark | None] = {}
        self._new_marks: set[tuple[str, str]] = set()

    def own(self) -> OwnState:
        """Who writes here, as this transaction has it so far."""
        if self._own is None:
            self._own = super().own()
        return self._own

    def put_own(self, own: OwnState) -> None:
        """Store who writes here, and how far it is."""
        self._own, self._is_own_new = own, True

    def record(self, collection: str) -> ReplicaRecord:
        """The state of a replica, as this transaction has it so far. Raises `CollectionUnknownError`."""
        if collection not in self._records:
            self._records[collection] = super().record(collection)
        return self._records[collection]

    def put_record(self, record: ReplicaRecord) -> None:
        """Store the state of a replica."""
        self._records[record.collection.name] = record

    def mark(self, scope: str, actor: str) -> AuthorMark | None:
        """The last known operation of one actor, as this transaction has it so far."""
        if (scope, actor) not in self._marks:
            self._marks[scope, actor] = super().mark(scope, actor)
        return self._marks[scope, actor]

    def marks(self, scope: str) -> dict[str, AuthorMark]:
        """The last known operation of each actor, as this transaction has it so far."""
        self._write_marks()
        return super().marks(scope)

    def put_mark(self, scope: str, actor: str, mark: AuthorMark | None) -> None:
        """Store the last known operation of an actor; None: nothing is known of it."""
        self._marks[scope, actor] = mark
        self._new_marks.add((scope, actor))

    def clear_marks(self, scope: str) -> None:
        """Know nothing of any actor there."""
        self._write_marks()
        self._marks.clear()
        self._sql.execute("DELETE FROM marks WHERE scope = ?", (scope,))

    def finish(self) -> None:
        """Write what was put; the last step of every transaction."""
        if self._own is not None and self._is_own_new:
            self._sql.execute("INSERT OR REPLACE INTO own VALUES (1, ?)", (msgspec.msgpack.encode(self._own),))
        self._write_marks()
        for name, record in self._records.items():
            self._sql.execute("INSERT OR REPLACE INTO replicas VALUES (?, ?)", (name, msgspec.msgpack.encode(record)))
        self._records.clear()
        self._own, self._is_own_new = None, False

    def _write_marks(self) -> None:
        for scope, actor in sorted(self._new_marks):
            mark = self._marks[scope, actor]
            if mark is None:
                self._sql.execute("DELETE FROM marks WHERE scope = ? AND actor = ?", (scope, actor))
            else:
                row = (scope, actor, msgspec.msgpack.encode(mark))
                self._sql.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", row)
        self._new_marks.clear()
