"""Looks at the states of a store's replicas from a process that does not write it: how old each collection is.

Nothing is written, not even the file made; what was stored last is seen at the next look. Next: records.py."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import msgspec

from tidegate.sync.database import naming_errors
from tidegate.sync.records import ReplicaRecord

_decode = msgspec.msgpack.Decoder(ReplicaRecord).decode
_BUSY_S = 5.0


class RecordView:
    """The records of one store. Several threads may use it; where nothing changed a look costs microseconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._seen: tuple[int, int] = (0, 0)
        self._records: dict[str, ReplicaRecord] = {}

    def records(self) -> dict[str, ReplicaRecord]:
        """The record of each collection, by name; none where there is no store. Raises `StoreDamagedError`."""
        with self._lock, naming_errors(self._path):
            try:
                inode = self._path.stat().st_ino
            except FileNotFoundError:
                self._close()
                return {}
            if self._connection is None or inode != self._seen[0]:  # a new disk, or a file that was moved away
                self._close()
                uri = f"{self._path.absolute().as_uri()}?mode=ro"
                self._connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_S, check_same_thread=False)
            [version] = self._connection.execute("PRAGMA data_version").fetchone()
            if (inode, version) != self._seen:
                self._records = _read(self._connection)
                self._seen = (inode, version)
            return self._records

    def close(self) -> None:
        """Close the file; the next look opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._seen, self._records = None, (0, 0), {}


def _read(connection: sqlite3.Connection) -> dict[str, ReplicaRecord]:
    is_made = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'replicas'").fetchone()[0]
    rows = connection.execute("SELECT collection, record FROM replicas").fetchall() if is_made else []
    return {name: _decode(record) for name, record in rows}
