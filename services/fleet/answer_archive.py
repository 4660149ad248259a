"""Answers that have left their stream: one SQLite file of the site, as they were stored, each under its digest.

Promises that what was added is on the disk, that an answer is added once, and that what is erased is in no byte of the
file any more. Next: archiving.py, which moves answers here; erasing.py; services/gateway/answer_store.py."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.process.private_files import make_private_file
from tidegate.schemas import TidegateError

ARCHIVE = "ARCHIVE"
"""What stands in the place of the stream of an answer that was archived."""
BUSY_S = 30.0
"""A writer holds the file while it reads a page of the stream."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  rid TEXT NOT NULL, tenant TEXT NOT NULL, sequence INTEGER NOT NULL, stored_at_ms INTEGER NOT NULL,
  headers BLOB NOT NULL, data BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (rid, tenant));
CREATE INDEX IF NOT EXISTS answers_by_time ON answers (stored_at_ms);
"""
_ROW = "rid, tenant, sequence, stored_at_ms, headers, data, digest"


class ArchiveUnreadableError(TidegateError, OSError):
    """The archive of answers cannot be read or written, or what it has is not what was stored."""

    hint = "put the file back from a copy; the digests of all answers are in the audit log"


class AnswerArchive:
    """The archive by one connection; `open` makes the file where there is none. Many processes may have it open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[AnswerArchive]:
        """Until left. Raises `ArchiveUnreadableError`, `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        make_private_file(path)
        with _naming_errors(path), closing(_connect(path)) as connection:
            if not _is_made(connection):  # else the first of these would wait for whoever writes the file
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
                connection.execute("PRAGMA journal_mode=WAL")
                connection.executescript(_SCHEMA)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA secure_delete=ON")
            yield cls(connection)

    def begin(self) -> None:
        """Be the one writer, until `end`: what is read of the stream from now on is not erased here in between."""
        self._connection.execute("BEGIN IMMEDIATE")

    def end(self, outcome: Literal["COMMIT", "ROLLBACK"]) -> None:
        """Have what was written since `begin` on the disk, or none of it."""
        if self._connection.in_transaction:
            self._connection.execute(outcome)

    def add(self, answers: Sequence[StoredMessage]) -> None:
        """Keep answers as they are stored in their stream. Of a request that has one already nothing is changed."""
        self._connection.executemany(
            f"INSERT OR IGNORE INTO answers ({_ROW}) VALUES (?, ?, ?, ?, ?, ?, ?)", map(_row_of, answers)
        )

    def find(self, rid: str, tenant: str = "*") -> list[StoredMessage]:
        """The answers of a request, of any tenant where none is named. Raises `ArchiveUnreadableError` where one is not
        what was stored."""
        chosen = ("", (rid,)) if tenant == "*" else (" AND tenant = ?", (rid, tenant))
        rows = self._connection.execute(f"SELECT {_ROW} FROM answers WHERE rid = ?{chosen[0]}", chosen[1])
        return [_message_of(*row) for row in rows.fetchall()]

    def count(self) -> int:
        """How many answers there are."""
        return int(self._connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def erase(self, tenant: str, rids: Sequence[str]) -> int:
        """Have the answers of these requests in no byte of the file; how many there were.

        Raises `ArchiveUnreadableError` where a reader is in the way for longer than `BUSY_S`.
        """
        self.begin()
        try:
            gone = [
                self._connection.execute("DELETE FROM answers WHERE rid = ? AND tenant = ?", (rid, tenant)).rowcount
                for rid in rids
            ]
        finally:
            self.end("COMMIT")
        self._overwrite_deleted()
        return sum(gone)

    def forget(self, before_ms: int, most: int) -> int:
        """Keep nothing that was stored before, Unix time; at most so many at a time; how many there were."""
        chosen = "SELECT rowid FROM answers WHERE stored_at_ms < ? ORDER BY stored_at_ms LIMIT ?"
        gone = self._connection.execute(f"DELETE FROM answers WHERE rowid IN ({chosen})", (before_ms, most)).rowcount
        if gone:
            self._connection.execute("PRAGMA incremental_vacuum").fetchall()
            self._overwrite_deleted()
        return int(gone)

    def _overwrite_deleted(self) -> None:
        """Nothing of what was deleted stays in the log beside the file either."""
        give_up_at_s = time.monotonic() + BUSY_S
        while self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > give_up_at_s:
                raise ArchiveUnreadableError("a reader keeps the archive's log from being overwritten")
            time.sleep(0.01)


class ArchiveReader:
    """Looks answers up for as long as a process runs, from any thread; there may be no archive yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def may_be_there(self) -> bool:
        """Whether there is anything to look into; costs less than a change of threads."""
        return self._connection is not None or self._path.is_file()

    def find(self, rid: str, tenant: str) -> list[StoredMessage]:
        """As `AnswerArchive.find`; nothing where there is no archive. Raises `ArchiveUnreadableError`."""
        with self._lock, _naming_errors(self._path):
            if self._connection is None:
                if not self._path.is_file():
                    return []
                connection = _connect(self._path)
                connection.execute("PRAGMA query_only=ON")
                if not _is_made(connection):
                    connection.close()
                    return []
                self._connection = connection
            return AnswerArchive(self._connection).find(rid, tenant)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None


def find_archived(path: Path, rid: str, tenant: str = "*") -> list[StoredMessage]:
    """As `AnswerArchive.find`; nothing where there is no archive."""
    with closing(ArchiveReader(path)) as reader:
        return reader.find(rid, tenant)


def erase_archived(path: Path, tenant: str, rids: Sequence[str]) -> int:
    """As `AnswerArchive.erase`; nothing where there is no archive."""
    if not path.is_file():
        return 0
    with AnswerArchive.open(path) as archive:
        return archive.erase(tenant, rids)


def _connect(path: Path) -> sqlite3.Connection:
    # One thread at a time uses it, though not always the same one.
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _is_made(connection: sqlite3.Connection) -> bool:
    """Whether the file has all that is made of a new one; whoever made it may have been cut."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'answers_by_time'").fetchone())


def _row_of(stored: StoredMessage) -> tuple[str, str, int, int, bytes, bytes, bytes]:
    tenant, rid = stored.subject.split(".")[-2:]
    headers = msgspec.json.encode(dict(stored.headers))
    stored_at_ms = int(stored.stored_at_s * 1000)
    return rid, tenant, stored.sequence, stored_at_ms, headers, stored.data, sha256(stored.data).digest()


def _message_of(rid: str, tenant: str, sequence: int, stored_at_ms: int, *rest: bytes) -> StoredMessage:
    headers, data, digest = rest
    if sha256(data).digest() != digest:
        raise ArchiveUnreadableError(f"the archived answer of {tenant}/{rid} is not what was stored")
    return StoredMessage(
        stream=ARCHIVE,
        sequence=sequence,
        stored_at_s=stored_at_ms / 1000,
        subject=f"answers.{tenant}.{rid}",
        headers=msgspec.json.decode(headers, type=dict[str, str]),
        data=data,
    )


@contextmanager
def _naming_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise ArchiveUnreadableError(f"{path}: {error}") from error
