"""The truth about an index: one SQLite database. Its head names what is in force; one transaction makes one change.

Promises that readers see whole changes, never wait for a writer nor keep one waiting. Next: records.py.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path

import msgspec

from tidegate.brokers.process.sqlite_errors import code_of, is_of_system
from tidegate.schemas import TidegateError
from tidegate.services.knowledge.index import sources
from tidegate.services.knowledge.index.errors import IndexDamagedError, IndexLockedError, IndexUnusableError
from tidegate.services.knowledge.index.storage import Storage

FORMAT = 3
"""`manifest.json` and its files were format 1; see format_1.py. Format 2 had no sources."""
_UPGRADED = 2
_BUSY_S = 30.0
_DIGEST_BYTES = 32

_SCHEMA = f"""
{sources.SCHEMA}
CREATE TABLE head (
    generation INTEGER NOT NULL, embedder TEXT NOT NULL, analyzers TEXT NOT NULL, next_number INTEGER NOT NULL,
    documents INTEGER NOT NULL, passages INTEGER NOT NULL, units INTEGER NOT NULL, tombstones INTEGER NOT NULL,
    digest BLOB NOT NULL, keyword INTEGER NOT NULL, graph TEXT NOT NULL, graph_sha256 TEXT NOT NULL,
    graph_generation INTEGER NOT NULL, graph_numbers INTEGER NOT NULL
);
CREATE TABLE documents (
    first INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, version TEXT NOT NULL, title TEXT NOT NULL,
    language TEXT NOT NULL, origin TEXT NOT NULL, passages INTEGER NOT NULL, units INTEGER NOT NULL,
    document BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE passages (
    number INTEGER PRIMARY KEY, first INTEGER NOT NULL, passage BLOB NOT NULL, units BLOB NOT NULL, crc INTEGER NOT NULL
);
CREATE TABLE vectors (number INTEGER PRIMARY KEY, halves BLOB NOT NULL, crc INTEGER NOT NULL);
CREATE TABLE removals (first INTEGER PRIMARY KEY, passages INTEGER NOT NULL, generation INTEGER NOT NULL);
CREATE INDEX removals_by_generation ON removals (generation);
CREATE TABLE tombstones (id TEXT PRIMARY KEY, version TEXT NOT NULL, origin TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO head VALUES (0, '', '', 0, 0, 0, 0, 0, zeroblob(32), 0, '', '', 0, 0);
"""


class IndexHead(msgspec.Struct, frozen=True, kw_only=True):
    """What holds in one generation; every change makes the next. Numbers from `next_number` on are unused, and none is
    ever used twice.

    `digest` is the sum of the documents' digests, so that it costs a change only what the change holds. The graph
    holds the passages below `graph_numbers` that were live in `graph_generation`.
    """

    generation: int = 0
    embedder: str = ""
    analyzers: str = ""
    next_number: int = 0
    documents: int = 0
    passages: int = 0
    units: int = 0
    tombstones: int = 0
    digest: bytes = bytes(_DIGEST_BYTES)
    keyword: int = 0
    graph: str = ""
    graph_sha256: str = ""
    graph_generation: int = 0
    graph_numbers: int = 0

    @property
    def built_by(self) -> str:
        """What built the pieces and the vectors."""
        return f"{self.analyzers}-{self.embedder}"

    @property
    def version(self) -> str:
        """12 hex digits that are equal where the same documents were indexed by the same models."""
        return _version_of(f"{self.embedder}\n{self.analyzers}\n{self.documents}\n", self.digest)


@lru_cache(maxsize=64)
def _version_of(about: str, digest: bytes) -> str:
    """Remembered: a question asks some thirty times which version it is answered from."""
    return hashlib.sha256(about.encode() + digest).hexdigest()[:12]


_COLUMNS = IndexHead.__struct_fields__
_SELECT_HEAD = f"SELECT {', '.join(_COLUMNS)} FROM head"
_UPDATE_HEAD = f"UPDATE head SET {', '.join(f'{name} = ?' for name in _COLUMNS)}"


def add_digests(digest: bytes, change: int) -> bytes:
    """A sum of digests modulo 2^256: the order in which documents came and went does not show."""
    total = (int.from_bytes(digest, "big") + change) % (1 << 8 * _DIGEST_BYTES)
    return total.to_bytes(_DIGEST_BYTES, "big")


def read_head(connection: sqlite3.Connection) -> IndexHead:
    row = connection.execute(_SELECT_HEAD).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("it has no head")
    return msgspec.convert(dict(zip(_COLUMNS, row, strict=True)), IndexHead)


def put_head(connection: sqlite3.Connection, head: IndexHead) -> None:
    connection.execute(_UPDATE_HEAD, msgspec.structs.astuple(head))


class IndexDatabase:
    """Connections to the database of one index, for any number of threads. Raises `IndexDamagedError`,
    `IndexLockedError`, `IndexUnusableError`, and no error of SQLite.

    A file that was put in its place (a restored copy) is noticed by its inode: an open connection keeps the old one.
    """

    def __init__(self, storage: Storage, busy_s: float = _BUSY_S) -> None:
        self._storage = storage
        self._path = storage.database
        self._busy_s = busy_s
        self._idle: list[tuple[int, sqlite3.Connection]] = []
        self._lock = threading.Lock()

    def create(self) -> None:
        """Make an empty database where there is none, and bring one of the last format to this one.

        Raises `IndexDamagedError`, `IndexLockedError`.
        """
        if self._format() == FORMAT:
            return
        with self._storage.lock():
            found = self._format()
            if found != FORMAT:
                make_database(self._path, sources.SCHEMA if found == _UPGRADED else _SCHEMA)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection on which everything is read as of one generation."""
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                _roll_back(connection)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, on disk when this ends; nothing of it stays when it raises. Only for who holds the lock."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                _roll_back(connection)

    def is_made(self) -> bool:
        """Whether there is a database, and not only its file."""
        return self._format() != 0

    def inode(self) -> int:
        """Tells this database from another one at the same place."""
        try:
            return self._path.stat().st_ino
        except FileNotFoundError as error:
            raise IndexDamagedError(self._path, "is gone") from error
        except OSError as error:
            raise IndexUnusableError(self._path, error) from error

    def close(self) -> None:
        """Close what is not in use."""
        with self._lock:
            for _, connection in self._idle:
                connection.close()
            self._idle.clear()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        inode = self.inode()
        with raising_own_errors(self._path):
            with self._lock:
                fitting = [pair for pair in self._idle if pair[0] == inode]
                for pair in self._idle:
                    if pair not in fitting:
                        pair[1].close()
                pair = fitting.pop() if fitting else (inode, _connect(self._path, self._busy_s))
                self._idle = fitting
            try:
                yield pair[1]
            except sqlite3.Error:
                pair[1].close()  # what it has cached may be what is wrong
                raise
            except BaseException:
                self._give_back(pair)
                raise
            self._give_back(pair)

    def _give_back(self, pair: tuple[int, sqlite3.Connection]) -> None:
        with self._lock:
            self._idle.append(pair)

    def _format(self) -> int:
        if not self._path.exists():
            return 0
        with raising_own_errors(self._path), closing(_connect(self._path, self._busy_s)) as connection:
            (found,) = connection.execute("PRAGMA user_version").fetchone()
        if found not in (0, _UPGRADED, FORMAT):
            raise IndexDamagedError(self._path, f"has format {found}, this program reads {FORMAT}")
        return int(found)


def make_database(path: Path, schema: str = _SCHEMA) -> None:
    """Make all tables, or those that are new, in one transaction. Raises what `IndexDatabase` does."""
    with raising_own_errors(path), closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN; {schema} PRAGMA user_version = {FORMAT}; COMMIT")


def _connect(path: Path, busy_s: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    for pragma in ("synchronous = FULL", "cache_size = -8000", "journal_size_limit = 67108864"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _roll_back(connection: sqlite3.Connection) -> None:
    """End what has not been committed. SQLite has done so by itself where the disk is full or broken."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def raising_own_errors(path: Path) -> Iterator[None]:
    """What SQLite says of a file, and a value that is not what was written, as an error that tells what to do."""
    try:
        yield
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError):  # of this program, not of the file
        raise
    except sqlite3.Error as error:
        raise _own_error(path, error) from error
    except msgspec.DecodeError as error:
        raise IndexDamagedError(path, f"cannot be read ({error})") from error


def _own_error(path: Path, error: sqlite3.Error) -> TidegateError:
    if code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return IndexLockedError(f"{path}: another process keeps it locked")
    if is_of_system(error):
        return IndexUnusableError(path, error)
    return IndexDamagedError(path, f"cannot be read ({error})")


def read_head_of(path: Path) -> IndexHead:
    """The head of the index in a directory; an empty one where there is none. Raises what `IndexDatabase` does."""
    database = IndexDatabase(Storage(path))
    if not database.is_made():
        return IndexHead()
    with closing(database), database.reading() as connection:
        return read_head(connection)
