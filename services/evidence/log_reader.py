"""Reads an audit log: its entries, its heads, and the proofs of RFC 9162, which cost a few reads whatever its size.

For a proof the hashes of full subtrees of 256, 65 536, … leaves are kept as tiles; the rest is made of leaf hashes.
Next: verification.py, which believes none of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.schemas.audit import AuditEntry
from tidegate.schemas.message import decode
from tidegate.services.evidence.checkpoints import Checkpoint, SignedNote, origin_of, parse_note
from tidegate.services.evidence.log_file import LOG, AuditDamagedError, open_reader
from tidegate.services.evidence.merkle import (
    TILE_LEVEL,
    Edge,
    Range,
    consistency_ranges,
    edge_of,
    inclusion_ranges,
    range_hash,
)

PAGE = 512
ROW = "counter, CAST(hash AS BLOB), CAST(leaf AS BLOB)"
"""SQLite keeps whatever somebody stores in a column: bytes are what is checked."""

KEPT = "length(leaf) > 0"
"""Of entries that were trimmed there are no bytes, only the hash of them."""


class LogState(msgspec.Struct, frozen=True):
    """Whose log it is, its right edge, and how far what it follows was read; written with every batch of entries."""

    domain: str
    size: int = 0
    edge: tuple[bytes, ...] = ()
    logged_at_ms: int = 0
    cursors: dict[str, int] = {}
    """The last sequence of each stream that was logged."""
    incarnation: int = 1
    """How many times the site had been provisioned when the log was begun."""
    trimmed: int = 0
    """Of the entries before this one only hashes are kept."""
    leaf_bytes: int = -1
    """Bytes of the entries that are kept; -1: the log is of a version that did not count them."""

    @property
    def origin(self) -> str:
        """How the log is called."""
        return origin_of(self.domain, self.incarnation)

    @property
    def tree(self) -> Edge:
        """The tree, as its right edge."""
        return Edge(self.size, self.edge)


class StoredEntry(msgspec.Struct, frozen=True):
    """A row of the log: `leaf` is what was hashed, `hash` what is kept of that."""

    counter: int
    hash: bytes
    leaf: bytes

    @property
    def entry(self) -> AuditEntry:
        """What it says. Raises `UnreadableError`."""
        return decode(self.leaf, AuditEntry)


class AuditReader:
    """The log as one connection sees it. What it reads is as it is stored: nothing here is checked."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def open(cls, directory: Path) -> Iterator[AuditReader]:
        """One state of the log in a directory. Raises `AuditMissingError`, `AuditDamagedError`."""
        with open_reader(directory / LOG) as connection:
            yield cls(connection)

    def state(self) -> LogState:
        """Whose log it is and how long. Raises `AuditDamagedError`."""
        row = self._connection.execute("SELECT state FROM own").fetchone()
        try:
            return msgspec.msgpack.decode(row[0] if row else b"", type=LogState)
        except msgspec.DecodeError as error:
            raise AuditDamagedError(f"the log does not say whose it is: {error}") from error

    def head(self) -> Checkpoint:
        """The head of the log as it is now, unsigned. Raises `AuditDamagedError`."""
        state = self.state()
        return Checkpoint(state.origin, state.size, state.tree.root)

    def entries(self, begin: int = 0, end: int | None = None, *, is_whole: bool = False) -> Iterator[StoredEntry]:
        """The entries from `begin` to before `end`, in their order; those that are missing are left out, and unless
        `is_whole` those that were trimmed, which have no bytes."""
        last = (1 << 62) if end is None else end
        kept = "" if is_whole else f"AND {KEPT}"
        rows = self._connection.execute(
            f"SELECT {ROW} FROM entries WHERE counter >= ? AND counter < ? {kept} ORDER BY counter", (begin, last)
        )
        while page := rows.fetchmany(PAGE):
            yield from (StoredEntry(*row) for row in page)

    def newest_first(self) -> Iterator[StoredEntry]:
        """All entries that were not trimmed, the last one first."""
        rows = self._connection.execute(f"SELECT {ROW} FROM entries WHERE {KEPT} ORDER BY counter DESC")
        while page := rows.fetchmany(PAGE):
            yield from (StoredEntry(*row) for row in page)

    def count_bytes(self, begin: int, end: int) -> int:
        """The bytes of the entries from `begin` to before `end`, without those of their hashes."""
        query = "SELECT coalesce(sum(length(CAST(leaf AS BLOB))), 0) FROM entries WHERE counter >= ? AND counter < ?"
        found: int = self._connection.execute(query, (begin, end)).fetchone()[0]
        return found

    def checkpoints(self) -> list[tuple[int, str]]:
        """The signed heads that are kept, the smallest first, each with the size under which it is stored."""
        query = "SELECT size, CAST(note AS TEXT) FROM checkpoints ORDER BY size"
        return [(size, note) for size, note in self._connection.execute(query)]

    def newest_checkpoint(self) -> SignedNote | None:
        """The newest signed head. Raises `BadCheckpointError`."""
        row = self._connection.execute(
            "SELECT CAST(note AS TEXT) FROM checkpoints ORDER BY size DESC LIMIT 1"
        ).fetchone()
        return parse_note(row[0]) if row else None

    def heads(self) -> dict[str, SignedNote]:
        """The newest known head of each log, this one's included as the hub witnessed it, by origin.

        Raises `BadCheckpointError`.
        """
        rows = self._connection.execute("SELECT origin, CAST(note AS TEXT) FROM heads ORDER BY origin").fetchall()
        return {origin: parse_note(note) for origin, note in rows}

    def head_of(self, origin: str) -> SignedNote | None:
        """The newest known head of one log. Raises `BadCheckpointError`."""
        row = self._connection.execute("SELECT CAST(note AS TEXT) FROM heads WHERE origin = ?", (origin,)).fetchone()
        return parse_note(row[0]) if row else None

    def newest_heads(self, most: int) -> list[str]:
        """The heads of logs that were seen last, as they are kept."""
        query = "SELECT CAST(note AS TEXT) FROM heads ORDER BY seen_at_ms DESC, origin LIMIT ?"
        return [note for (note,) in self._connection.execute(query, (most,))]

    def inclusion_proof(self, counter: int, size: int) -> list[bytes]:
        """That a log of `size` has the entry. Raises `ValueError`, `AuditDamagedError`."""
        return [self._hash(span) for span in inclusion_ranges(counter, size)]

    def consistency_proof(self, old: int, size: int) -> list[bytes]:
        """That a log of `size` begins with one of `old`. Raises `ValueError`, `AuditDamagedError`."""
        return [self._hash(span) for span in consistency_ranges(old, size)]

    def root_at(self, size: int) -> bytes:
        """The root that the log had with `size` entries. Raises `AuditDamagedError`."""
        return self.tree_at(size).root

    def tree_at(self, size: int) -> Edge:
        """The right edge that the log had with `size` entries. Raises `AuditDamagedError`."""
        found, begin = [], 0
        for level in range(size.bit_length() - 1, -1, -1):
            if size >> level & 1:
                found.append(self.full(level, begin >> level))
                begin += 1 << level
        return Edge(size, tuple(found))

    def _hash(self, span: Range) -> bytes:
        return range_hash(span, self.full)

    def full(self, level: int, index: int) -> bytes:
        """The hash of a full subtree, made of at most 128 hashes that are kept."""
        below = level // TILE_LEVEL * TILE_LEVEL
        many = 1 << level - below
        begin = index * many
        if below:
            query = "SELECT hash FROM tiles WHERE level = ? AND number >= ? AND number < ? ORDER BY number"
        else:
            query = "SELECT hash FROM entries WHERE ? = 0 AND counter >= ? AND counter < ? ORDER BY counter"
        hashes = self._connection.execute(query, (below, begin, begin + many)).fetchall()
        if len(hashes) != many:
            raise AuditDamagedError(f"entries between {begin << below} and {(begin + many) << below} are missing")
        return edge_of(each for (each,) in hashes).root
