"""One SQLite file with all that a replica holds of a tenant: its tables, its transactions, its damage.

A transaction that ended is on the disk (WAL, `synchronous=FULL`), one that did not leaves nothing; readers see one
state and block nobody. Next: store.py, what is in it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tidegate.schemas.errors import TidegateError

SCHEMA = """
CREATE TABLE IF NOT EXISTS own (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS replicas (collection TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
  collection TEXT NOT NULL, document_id TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL,
  generation INTEGER NOT NULL, content BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (collection, document_id));
CREATE INDEX IF NOT EXISTS by_key ON documents (collection, key, document_id, digest);
CREATE INDEX IF NOT EXISTS by_generation ON documents (collection, generation);
CREATE TABLE IF NOT EXISTS ranges (
  collection TEXT NOT NULL, range TEXT NOT NULL, parts BLOB NOT NULL, PRIMARY KEY (collection, range)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (
  scope TEXT NOT NULL, actor TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (scope, actor)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT, stream TEXT NOT NULL, collection TEXT NOT NULL,
  document_id TEXT NOT NULL, actor TEXT NOT NULL, counter INTEGER NOT NULL, operation BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS by_dot ON outbox (actor, counter);
CREATE INDEX IF NOT EXISTS by_document ON outbox (collection, document_id);
CREATE TABLE IF NOT EXISTS chunks (
  collection TEXT NOT NULL, digest TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (collection, digest));
CREATE TABLE IF NOT EXISTS damages (
  collection TEXT NOT NULL, document_id TEXT NOT NULL, PRIMARY KEY (collection, document_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS incarnations (site TEXT PRIMARY KEY, incarnation INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fences (actor TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
"""


class StoreDamagedError(TidegateError):
    """The file of a replica's store is not one that SQLite can read: the disk damaged it, or somebody wrote into it."""

    hint = "move the file away and start again: the replica is restored from the hub, as one with an empty disk is"


class StoreFullError(TidegateError):
    """The disk has no room for what was to be stored; nothing of it was."""

    hint = "make room on the disk: the store goes on by itself"


class StoreMissingError(TidegateError, LookupError):
    """There is no store of a replica here: the domain never held anything of this tenant."""

    hint = "start the sync worker of the domain, which makes it: `tidegate up`"


class StoreClosedError(TidegateError):
    """Whoever has the store is ending: what was asked of it is not done."""

    hint = "ask again once the sync worker runs again"


class Database:
    """The connections to one file: one that writes, under a lock, and as many that read as there are readers at once.

    Opening raises `StoreDamagedError`, as each use of it may; after `close` each raises `StoreClosedError`.
    """

    def __init__(self, path: Path, trace: Callable[[str], None] | None = None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False
        with naming_errors(path):
            self._writer = self._connect()
            self._writer.executescript(SCHEMA)
        if trace is not None:
            self._writer.set_trace_callback(trace)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is stored when the block ends, and nothing where it raises.

        Raises `StoreFullError`, `StoreDamagedError`. Not to be nested.
        """
        # Also several processes may write: IMMEDIATE waits for the other one here, and never in the middle.
        with self._lock, naming_errors(self._path):
            self._check_open()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # a full disk may have ended it already
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file, whatever is written meanwhile. Raises `StoreDamagedError`."""
        with naming_errors(self._path):
            self._check_open()
            connection = self._idle.pop() if self._idle else self._connect()
            try:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM own").fetchone()  # the state is chosen by the first read
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                self._idle.append(connection)

    def close(self) -> None:
        """Close every connection, once the transaction in hand has ended: SQLite does not bear to be closed by one
        thread while another one, whom nobody waits for any more, is at work. What was read may no longer be used."""
        with self._lock:
            self._is_closed = True
            self._writer.close()
        while self._idle:
            self._idle.pop().close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosedError(f"{self._path} is closed")

    def _connect(self) -> sqlite3.Connection:
        # Each connection is used by one thread at a time, though not always the same one.
        connection = sqlite3.connect(self._path, timeout=10.0, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection


@contextmanager
def reading_file(path: Path) -> Iterator[sqlite3.Connection]:
    """One state of a file that another process may write meanwhile; nothing of it is changed.

    Raises `StoreMissingError`, `StoreDamagedError`.
    """
    if not path.is_file():
        raise StoreMissingError(f"there is no {path}")
    with naming_errors(path):
        # Not `mode=ro`: the log of a file that nobody has open is read by whoever opens it, and has to be made.
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", timeout=10.0, isolation_level=None, uri=True)
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM own").fetchone()
            yield connection
        finally:
            connection.close()


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Give SQLite's errors our names."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code is its class
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise StoreDamagedError(f"{path}: {error}") from error
        if code == sqlite3.SQLITE_FULL:
            raise StoreFullError(f"{path}: {error}") from error
        raise
