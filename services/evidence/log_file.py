"""The SQLite file of an audit log: its tables, its connections, its one writer, and names for what goes wrong with it.

A transaction that ended is on the disk (WAL, `synchronous=FULL`), one that did not leaves nothing. Next: log.py."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tidegate.brokers.process.private_files import make_private_file
from tidegate.brokers.process.sqlite_errors import SYSTEM_HINT, code_of, is_of_system
from tidegate.schemas.errors import TidegateError
from tidegate.sync.trust.files import PRIVATE

SCHEMA = """
CREATE TABLE IF NOT EXISTS own (id INTEGER PRIMARY KEY CHECK (id = 1), state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS entries (counter INTEGER PRIMARY KEY, hash BLOB NOT NULL, leaf BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sources (source BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tiles (
  level INTEGER NOT NULL, number INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (level, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS heads (
  origin TEXT PRIMARY KEY, note TEXT NOT NULL, seen_at_ms INTEGER NOT NULL) WITHOUT ROWID;
"""
PAGE_BYTES = 1 << 14
"""An entry with a receipt has one or two kilobytes: in SQLite's own 4 KiB pages appending takes twice as long."""
TABLES = "SELECT count(*) FROM sqlite_master WHERE type = 'table'"
"""Read first, by which the state of the log is chosen that is read from then on."""
BEGUN = "SELECT EXISTS (SELECT 1 FROM own) OR EXISTS (SELECT 1 FROM entries)"
"""The writer makes the tables first, and says then whose log it is."""
LOG, LOCK = "log.sqlite", "lock"


class AuditBusyError(TidegateError, RuntimeError):
    """Another process writes the audit log of this domain."""

    hint = "stop the other audit worker of this domain: a log has one writer"


class AuditDamagedError(TidegateError):
    """The file of an audit log cannot be read, or is not what its own tree says: the disk or somebody changed it."""

    hint = "`tidegate audit verify` says which entries are at fault; put the file back from a copy, and keep this one"


class AuditFullError(TidegateError):
    """The disk has no room for the audit log; nothing of what was to be logged is lost, it waits where it came from."""

    hint = "make room on the disk: the log goes on by itself"


class AuditUnusableError(TidegateError):
    """The system does not let the audit log be opened, read or written; the log itself may be whole."""

    hint = SYSTEM_HINT


class AuditMissingError(TidegateError, LookupError):
    """There is no audit log here: no audit worker of this domain ever ran."""

    hint = "`tidegate up` starts one in each domain that has keys; elsewhere `tidegate worker audit --site SITE`"


class AuditClosedError(TidegateError):
    """Whoever writes the audit log is ending: what was asked of it is not done."""

    hint = "ask again once the audit worker of the domain runs again"


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Be the one writer of the log in a directory, until left. Raises `AuditBusyError`, `OSError`."""
    directory.mkdir(parents=True, exist_ok=True, mode=PRIVATE | 0o100)
    descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, PRIVATE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AuditBusyError(f"another process writes the audit log in {directory}") from error
        yield
    finally:
        os.close(descriptor)


def open_writer(path: Path) -> sqlite3.Connection:
    """The connection that writes; it makes the file where there is none. Raises `AuditDamagedError`, `OSError`."""
    make_private_file(path)  # SQLite would have it readable by all
    with naming_errors(path):
        # One thread at a time uses it, though not always the same one.
        connection = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA page_size={PAGE_BYTES}")  # of a file that is made now
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")  # a reader sees all tables or none
    return connection


@contextmanager
def writing(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """A transaction: all of it is stored when the block ends, and nothing where it raises.

    Raises `AuditFullError`, `AuditDamagedError`.
    """
    with naming_errors(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk may have ended it already
                connection.execute("ROLLBACK")
            raise


@contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """One state of a log that another process may write meanwhile; nothing of it is changed.

    Raises `AuditMissingError`, `AuditDamagedError`, `AuditUnusableError`.
    """
    if not path.is_file():
        raise AuditMissingError(f"there is no {path}")
    with naming_errors(path):
        # Not `mode=ro`: the WAL of a file that nobody has open is read by whoever opens it, and has to be made.
        mode = "ro&immutable=1" if _is_read_only(path) else "rw"
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            timeout=10.0,
            isolation_level=None,
            uri=True,
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA query_only=ON")
            connection.execute("BEGIN")
            if not connection.execute(TABLES).fetchone()[0] or not connection.execute(BEGUN).fetchone()[0]:
                raise AuditMissingError(f"there is no audit log in {path} yet: it is just being made")
            yield connection
        finally:
            connection.close()


def _is_read_only(path: Path) -> bool:
    """Whether nobody can write the log, as in a backup on a read-only file system: then it may be read without a WAL.

    Raises `AuditUnusableError` where there are entries in a WAL, which cannot be read there.
    """
    if not os.statvfs(path).f_flag & os.ST_RDONLY:
        return False
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size:
        hint = "copy the directory of the log to where it may be written, and read it there"
        raise AuditUnusableError(f"{path} is on a read-only file system, and has entries in {wal.name}", hint)
    return True


@contextmanager
def naming_errors(path: Path) -> Iterator[None]:
    """Give SQLite's errors our names."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = code_of(error)
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "no such table" in str(error):
            raise AuditDamagedError(f"{path}: {error}") from error
        if code == sqlite3.SQLITE_FULL:
            raise AuditFullError(f"{path}: {error}") from error
        if is_of_system(error):
            raise AuditUnusableError(f"{path}: {error}") from error
        raise
