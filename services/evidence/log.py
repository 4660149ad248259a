"""The writer of an audit log: entries in batches, each in one transaction with the tree that it makes.

Promises that what was appended is on the disk when `append` returns, once for each source, and numbered without a gap.
Next: log_reader.py; entries.py, what is appended."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec.structs import replace

from tidegate.schemas.audit import AuditedAct, AuditedAnswer, AuditedLetter, AuditEntry, EntryKind
from tidegate.schemas.message import encode_json
from tidegate.services.evidence.checkpoints import BadCheckpointError, SignedNote, origin_of
from tidegate.services.evidence.log_file import LOG, AuditDamagedError, locked, naming_errors, open_writer, writing
from tidegate.services.evidence.log_reader import AuditReader, LogState
from tidegate.services.evidence.merkle import TreeBuilder, leaf_hash

KEPT_EVERY = 256
"""Entries between signed heads that are kept for good: among so many an edit is found that also changed its hash."""
LOOKED_UP = 500
"""Sources that are looked up at once; SQLite takes no more than 999 parameters everywhere."""
SALT_BYTES = 16
STAYING = tuple(f'"kind":"{kind}"'.encode() for kind in ("erased", "trimmed"))
"""What entries hold that are never trimmed."""
NOWHERE: Mapping[str, int] = {}


class EntryDraft(msgspec.Struct, frozen=True, kw_only=True):
    """What is to become an entry; `source` names what it tells of, and is logged once."""

    kind: EntryKind
    body: AuditedAnswer | AuditedLetter | AuditedAct
    source: str
    tenant: str = ""
    at_ms: int = 0


class AuditLog:
    """The log of one domain, as its one writer has it; one thread at a time may use it."""

    def __init__(self, connection: sqlite3.Connection, path: Path, state: LogState) -> None:
        self._connection = connection
        self._path = path
        self._state = state
        self.reader = AuditReader(connection)

    @classmethod
    @contextmanager
    def open(cls, directory: Path, domain: str, incarnation: int = 1) -> Iterator[AuditLog]:
        """The log in a directory, made where there is none, then as that of this incarnation.

        Raises `AuditBusyError`; `AuditDamagedError` where it is another domain's, or not what its own tree says.
        """
        with locked(directory):
            connection = open_writer(directory / LOG)
            try:
                with naming_errors(directory / LOG):
                    state = _load(connection, domain, incarnation)
                yield cls(connection, directory / LOG, state)
            finally:
                connection.close()

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self._state.size

    @property
    def logged_at_ms(self) -> int:
        """The time of the last entry."""
        return self._state.logged_at_ms

    @property
    def cursors(self) -> Mapping[str, int]:
        """The last sequence of each stream that was logged."""
        return self._state.cursors

    def append(self, drafts: Sequence[EntryDraft], now_ms: int, cursors: Mapping[str, int] = NOWHERE) -> int:
        """Log what was not logged before, in this order, and return how many entries that made.

        `now_ms` is the domain's trusted time; where it went back, the log's stays. `cursors` are how far streams were
        read with it. Raises `AuditFullError`, `AuditDamagedError`, and has then logged nothing of it.
        """
        before = self._state
        logged_at_ms = max(now_ms, before.logged_at_ms)
        with writing(self._connection, self._path):
            fresh = self._unknown(drafts)
            tree = TreeBuilder(before.tree)
            rows: list[tuple[int, bytes, bytes]] = []
            tiles: list[tuple[int, int, bytes]] = []
            salts = os.urandom(SALT_BYTES * len(fresh)).hex()
            for draft in fresh.values():
                begin = 2 * SALT_BYTES * len(rows)
                salt = salts[begin : begin + 2 * SALT_BYTES]
                leaf = encode_json(_entry(draft, before.domain, tree.size, logged_at_ms, salt))
                digest = leaf_hash(leaf)
                rows.append((tree.size, digest, leaf))
                tiles += [(level, (tree.size >> level) - 1, full) for level, full in tree.append(digest)]
            execute = self._connection.executemany
            execute("INSERT INTO sources VALUES (?)", [(source,) for source in fresh])
            execute("INSERT INTO entries VALUES (?, ?, ?)", rows)
            execute("INSERT INTO tiles VALUES (?, ?, ?)", tiles)
            size, edge = tree.edge
            known = {**before.cursors, **cursors}
            state = replace(before, size=size, edge=edge, logged_at_ms=logged_at_ms, cursors=known)
            state = replace(state, leaf_bytes=before.leaf_bytes + sum(len(leaf) for _, _, leaf in rows))
            if fresh or state.cursors != before.cursors:
                _store_state(self._connection, state)
        self._state = state
        return len(rows)

    def announce_trimming(self, end: int, now_ms: int) -> None:
        """Log that of the entries before `end` hashes alone are kept from now; see `trim`. Raises as `append` does, and
        `ValueError` where the log is not so long, or begins there."""
        begin, domain = self._state.trimmed, self._state.domain
        if not begin < end <= self._state.size:
            raise ValueError(f"the log has entries {begin} to {self._state.size - 1}, and none goes before {end}")
        act = AuditedAct(about=domain, epoch=end, count=end - begin, digest=self.reader.root_at(end).hex())
        self.append([EntryDraft(kind="trimmed", body=act, source=_trimming_of(domain, end))], now_ms)

    def trim(self, end: int) -> int:
        """Take the bytes of the entries before `end`, and return how many lost them. Their hashes stay, and so does
        what erased somebody's data, for its certificate is proven by it.

        Raises `ValueError` unless that was announced in the log, under a head that is signed; and as `append` does.
        """
        begin, signed = self._state.trimmed, self.reader.newest_checkpoint()
        announced = _digest_of(_trimming_of(self._state.domain, end))
        is_announced = self._connection.execute("SELECT 1 FROM sources WHERE source = ?", (announced,)).fetchone()
        if is_announced is None or signed is None or signed.checkpoint.size != self._state.size:
            raise ValueError(f"no signed head says that the entries before {end} go")
        with writing(self._connection, self._path):
            held = self.reader.count_bytes(begin, end)
            stay = " AND ".join("instr(leaf, ?) = 0" for _ in STAYING)
            going = f"FROM entries WHERE counter >= ? AND counter < ? AND {stay}"
            rows = self._connection.execute(f"SELECT counter, hash, x'' {going}", (begin, end, *STAYING)).fetchall()
            # An update in place would leave their pages nearly empty, and never free one.
            self._connection.execute(f"DELETE {going}", (begin, end, *STAYING))
            self._connection.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
            gone = held - self.reader.count_bytes(begin, end)
            state = replace(self._state, trimmed=end, leaf_bytes=self._state.leaf_bytes - gone)
            _store_state(self._connection, state)
        self._state = state
        return len(rows)

    def keep_checkpoint(self, note: SignedNote) -> None:
        """Keep a signed head; the one before is given up where one that stays is near. Raises as `append` does."""
        size = note.checkpoint.size
        with writing(self._connection, self._path):
            self._connection.execute("DELETE FROM checkpoints WHERE size > ?", ((size - 1) // KEPT_EVERY * KEPT_EVERY,))
            self._connection.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (size, str(note)))

    def keep_head(self, note: SignedNote, seen_at_ms: int) -> None:
        """Keep the newest head of a log, this one or another, as it was witnessed. Raises as `append` does."""
        with writing(self._connection, self._path):
            row = (note.checkpoint.origin, str(note), seen_at_ms)
            self._connection.execute("INSERT OR REPLACE INTO heads VALUES (?, ?, ?)", row)

    def forget_heads(self, domain: str) -> None:
        """Know no head of a domain's logs any more: the next one is taken for the first. Raises as `append` does."""
        with writing(self._connection, self._path):
            names = (origin_of(domain), f"{origin_of(domain)}@")
            self._connection.execute("DELETE FROM heads WHERE origin = ? OR instr(origin, ?) = 1", names)

    def _unknown(self, drafts: Sequence[EntryDraft]) -> dict[bytes, EntryDraft]:
        """Those whose source was never logged, by its digest."""
        found: dict[bytes, EntryDraft] = {}
        for draft in drafts:
            found.setdefault(_digest_of(draft.source), draft)
        keys = list(found)
        for begin in range(0, len(keys), LOOKED_UP):
            some = keys[begin : begin + LOOKED_UP]
            marks = ", ".join("?" * len(some))
            for (known,) in self._connection.execute(f"SELECT source FROM sources WHERE source IN ({marks})", some):
                del found[known]
        return found


def _digest_of(source: str) -> bytes:
    return sha256(source.encode()).digest()[:16]


def _trimming_of(domain: str, end: int) -> str:
    return f"trim:{domain}:{end}"


def _entry(draft: EntryDraft, domain: str, counter: int, logged_at_ms: int, salt: str) -> AuditEntry:
    return AuditEntry(
        kind=draft.kind,
        domain=domain,
        tenant=draft.tenant,
        counter=counter,
        logged_at_ms=logged_at_ms,
        at_ms=draft.at_ms,
        source=draft.source,
        salt=salt,
        body=draft.body,
    )


def _load(connection: sqlite3.Connection, domain: str, incarnation: int) -> LogState:
    """The state of the file, which has to be what its entries make. Raises `AuditDamagedError`."""
    last = connection.execute("SELECT coalesce(max(counter), -1) FROM entries").fetchone()[0]
    tables = ("own", "sources", "checkpoints")
    if last < 0 and not any(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables):
        state = LogState(domain, incarnation=incarnation, leaf_bytes=0)
        _store_state(connection, state)
        return state
    reader = AuditReader(connection)
    state = reader.state()
    if state.domain != domain:
        raise AuditDamagedError(f"the log here is that of {state.domain}, not of {domain}")
    if last + 1 != state.size or reader.tree_at(state.size) != state.tree:
        raise AuditDamagedError(f"the log of {domain} has {last + 1} entries, and is not the one that was written here")
    try:
        signed = note.checkpoint if (note := reader.newest_checkpoint()) else None
    except BadCheckpointError as error:
        raise AuditDamagedError(f"the log of {domain}: {error.reason}") from error
    if signed is not None and (signed.size > state.size or reader.root_at(signed.size) != signed.root):
        raise AuditDamagedError(f"the log of {domain} is not the one whose head was signed at {signed.size} entries")
    if state.leaf_bytes < 0:
        state = replace(state, leaf_bytes=reader.count_bytes(0, state.size))
    return state


def _store_state(connection: sqlite3.Connection, state: LogState) -> None:
    connection.execute("INSERT OR REPLACE INTO own VALUES (1, ?)", (msgspec.msgpack.encode(state),))
