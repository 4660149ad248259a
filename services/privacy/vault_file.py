"""The rows of a vault in one SQLite file, with a proof of their state: an older file, or one that was edited, is seen.

Every change counts up. The file holds the count and a sum over all rows, sealed together under the site's key; a mark
outside the file holds the highest count (the sum: Clarke et al., Incremental Multiset Hash Functions, 2003; its terms
are keyed, and no row is there twice). Promises that a change is on disk before it is reported, and that what was
deleted is overwritten. Next: vault.py, which knows what the rows mean."""

from __future__ import annotations

import functools
import hmac
import operator
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from tidegate.brokers.process.private_files import make_private_file
from tidegate.brokers.process.sqlite_errors import is_of_system
from tidegate.services.privacy.faults import VaultDamagedError, VaultRolledBackError, VaultUnusableError
from tidegate.services.privacy.state_mark import StateMark

BUSY_S = 10.0
VERSION = 2
VaultRow = tuple[str | int | bytes, ...]
KEYS, HELD = "keys", "held"
"""The two tables whose rows are in the sum."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS keys (tenant TEXT, asker TEXT, epoch INTEGER NOT NULL, wrapped BLOB NOT NULL,"
    " expires_s INTEGER NOT NULL, PRIMARY KEY (tenant, asker)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS held (tenant TEXT, asker TEXT, token TEXT, session TEXT NOT NULL, sealed BLOB NOT NULL,"
    " expires_s INTEGER NOT NULL, PRIMARY KEY (tenant, asker, token)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS held_by_end ON held (expires_s)",
    "CREATE TABLE IF NOT EXISTS asked (tenant TEXT, asker TEXT, rid TEXT, at_s INTEGER NOT NULL,"
    " PRIMARY KEY (tenant, asker, rid)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS read_up_to (stream TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS state (sequence INTEGER NOT NULL, total BLOB NOT NULL, mac BLOB NOT NULL)",
)


class VaultFile:
    """One connection to the file, for several threads; many processes may have one."""

    def __init__(self, connection: sqlite3.Connection, mark: StateMark, mac_key: bytes) -> None:
        self._connection = connection
        self._mark = mark
        self._mac_key = mac_key
        self._lock = threading.Lock()
        self._seen = 0

    @classmethod
    def open(cls, path: Path, mark_path: Path, mac_key: bytes, *, accept: bool = False) -> VaultFile:
        """The file, made when there is none, and checked; `accept` takes it as it is.

        Raises `VaultDamagedError`, `VaultUnusableError`, `VaultRolledBackError`.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        make_private_file(path)
        try:
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        except sqlite3.DatabaseError as error:
            raise _own_error(path, error) from error
        try:
            _prepare(connection)
            mark = StateMark(mark_path, mac_key)
            if accept:
                mark.forget_foreign()
            opened = cls(connection, mark, mac_key)
            opened._begin(accept=accept)
        except sqlite3.DatabaseError as error:
            connection.close()
            raise _own_error(path, error) from error
        except BaseException:
            connection.close()
            raise
        return opened

    def close(self) -> None:
        """No more of it; waits for whoever is at it."""
        with self._lock:
            self._connection.close()

    @property
    def sequence(self) -> int:
        """How often the rows were changed, as this process last saw it."""
        return self._seen

    def rows(self, query: str, *values: str | int | bytes) -> list[Any]:
        """What a query finds now."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def changing(self) -> Iterator[RowChanges]:
        """Change rows, all or none, alone. Raises `VaultRolledBackError` where the file is older than it was."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                sequence, total = self._state()
                changes = RowChanges(self._connection, total, self._term)
                yield changes
                if changes.total != total:
                    sequence += 1
                    self._put_state(sequence, changes.total)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite has ended it itself where the disk is full
                    self._connection.execute("ROLLBACK")
                raise
            self._seen = sequence
            self._mark.raise_to(sequence)

    def overwrite_deleted(self) -> None:
        """Have nothing of what was deleted in the log beside the file either. A reader may be in the way for a moment:
        then SQLite says so, and it is tried again until `BUSY_S` is over."""
        give_up_at_s = time.monotonic() + BUSY_S
        with self._lock:
            while self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                if time.monotonic() > give_up_at_s:
                    raise sqlite3.OperationalError("a reader keeps the vault's log from being overwritten")
                time.sleep(0.01)

    def _begin(self, *, accept: bool) -> None:
        marked = self._mark.read()  # before the rows: a peer commits first, and raises the mark then
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            found = self._connection.execute("SELECT sequence FROM state").fetchone()
            total = functools.reduce(operator.xor, map(int.from_bytes, self._terms()), 0).to_bytes(32)
            if accept:
                self._put_state(max(marked, found[0] if found else 0) + 1, total)
            elif found is None:
                if total != bytes(32):
                    raise VaultRolledBackError("the vault has rows and no state")
                self._put_state(marked, total)
            sequence, stated = self._state()
            if stated != total:
                raise VaultRolledBackError("the vault's rows are not those that it was left with")
            if sequence < marked:
                raise VaultRolledBackError(f"the vault was changed {sequence} times, and {marked} times before")
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._seen = sequence
        self._mark.raise_to(sequence)

    def _terms(self) -> Iterator[bytes]:
        for table in (KEYS, HELD):
            for row in self._connection.execute(f"SELECT * FROM {table}"):
                yield self._term(table, row)

    def _term(self, table: str, row: VaultRow) -> bytes:
        parts = [table.encode(), *(_bytes_of(column) for column in row)]
        message = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._mac_key, b"row" + message, sha256)

    def _state(self) -> tuple[int, bytes]:
        sequence, total, mac = self._connection.execute("SELECT sequence, total, mac FROM state").fetchone()
        if not hmac.compare_digest(mac, self._mac(sequence, total)):
            raise VaultRolledBackError("the vault's state was not written with this site's key")
        if sequence < self._seen:
            raise VaultRolledBackError(f"the vault was changed {sequence} times, and {self._seen} times before")
        return sequence, total

    def _put_state(self, sequence: int, total: bytes) -> None:
        self._connection.execute("DELETE FROM state")
        row = (sequence, total, self._mac(sequence, total))
        self._connection.execute("INSERT INTO state VALUES (?, ?, ?)", row)

    def _mac(self, sequence: int, total: bytes) -> bytes:
        return hmac.digest(self._mac_key, b"state" + sequence.to_bytes(8, "big") + total, sha256)


class RowChanges:
    """The changes of one transaction; `total` follows them."""

    def __init__(self, connection: sqlite3.Connection, total: bytes, term: Callable[[str, VaultRow], bytes]) -> None:
        self.total = total
        self._connection = connection
        self._term = term

    def find(self, query: str, *values: str | int | bytes) -> list[Any]:
        """What a query finds, these changes included."""
        return self._connection.execute(query, values).fetchall()

    def note(self, statement: str, *values: str | int | bytes) -> None:
        """Change a table that is in no sum."""
        self._connection.execute(statement, values)

    def put(self, table: str, row: VaultRow, instead_of: VaultRow | None = None) -> None:
        """Store a row, instead of the one with its key where there is one."""
        if instead_of is not None:
            self.total = _xor(self.total, self._term(table, instead_of))
        self.total = _xor(self.total, self._term(table, row))
        places = ", ".join("?" * len(row))
        self._connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({places})", row)

    def delete(self, table: str, where: str, *values: str | int | bytes) -> int:
        """Delete rows; how many."""
        rows = self._connection.execute(f"SELECT * FROM {table} WHERE {where}", values).fetchall()
        for row in rows:
            self.total = _xor(self.total, self._term(table, row))
        self._connection.execute(f"DELETE FROM {table} WHERE {where}", values)
        return len(rows)


def _xor(one: bytes, other: bytes) -> bytes:
    return (int.from_bytes(one) ^ int.from_bytes(other)).to_bytes(32)


def _bytes_of(column: str | int | bytes) -> bytes:
    match column:
        case str():
            return b"s" + column.encode("utf-8", "surrogatepass")
        case int():
            return b"i" + str(column).encode()
    return b"b" + column


def _prepare(connection: sqlite3.Connection) -> None:
    """Switch to WAL and create the tables. SQLite does not wait for a peer that switches at the same time: we do."""
    give_up_at_s = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA secure_delete = ON")
            _create_tables(connection)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at_s:
                raise
            time.sleep(0.01)


def _create_tables(connection: sqlite3.Connection) -> None:
    """Raises `VaultDamagedError` for a vault of another version."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise VaultDamagedError("the vault was made by a later version, whose values this one cannot read")
        if version == 0:  # a vault of the first version was read before: see vault_upgrade.py
            connection.execute("DROP TABLE IF EXISTS held")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _own_error(path: Path, error: sqlite3.DatabaseError) -> VaultDamagedError | VaultUnusableError:
    kind = VaultUnusableError if is_of_system(error) else VaultDamagedError
    return kind(f"{path} cannot be used: {error}")
