"""What a runtime decided in process, kept so that it can be decided again: the facts of each request, as streams keep
those of a site.

Promises that what is kept is sealed under the asker's key, so that it is unreadable once the asker is erased, and goes
after `retention.pipe_s`, as facts in streams do. Next: replay.py, which decides; runtime_log.py, which keeps."""

from __future__ import annotations

import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.process.private_files import make_private_file
from tidegate.schemas import Asked, Message, Retrieved, encode
from tidegate.schemas.errors import TidegateError
from tidegate.services.privacy.vault import NOBODY, SEALED_FOR_NOBODY, Vault

FILE = "runtime.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  tenant TEXT NOT NULL, rid TEXT NOT NULL, asker TEXT NOT NULL, at_s REAL NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (tenant, rid)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (at_s);
"""
STREAM = "RUNTIME"
"""Where a fact of the record says that it was stored."""
_facts = msgspec.json.Decoder(list[str])


class RecordDamagedError(TidegateError):
    """What was kept of a request in process cannot be read."""

    hint = "the disk or somebody changed the file; the receipt in the audit log is untouched by that"


class RuntimeRecord:
    """The record of one site. Every call opens the file for itself: several processes may keep and read at once."""

    def __init__(self, directory: Path, vault: Vault, kept_s: int) -> None:
        """`kept_s`: how long a request is kept; 0: for ever."""
        self._path = directory / FILE
        self._vault = vault
        self._kept_s = kept_s

    def keep(self, asked: Asked, facts: Sequence[Message], now_s: float) -> None:
        """Keep what became of a sealed request: all its facts but the passages, of which no decision is derived again.
        On the disk when this returns. What is too old goes. Raises `OSError`, `sqlite3.Error`."""
        texts = [b64encode(encode(fact)).decode() for fact in (asked, *facts) if not isinstance(fact, Retrieved)]
        owner = NOBODY if asked.sealed.startswith(SEALED_FOR_NOBODY) else asked.asker
        sealed = self._vault.seal(asked.tenant, owner, asked.rid, msgspec.json.encode(texts).decode())
        with self._open() as connection, connection:
            connection.execute(
                "INSERT OR REPLACE INTO requests VALUES (?, ?, ?, ?, ?)",
                (asked.tenant, asked.rid, asked.asker, now_s, sealed),
            )
            if self._kept_s:
                connection.execute("DELETE FROM requests WHERE at_s < ?", (now_s - self._kept_s,))

    def read(self, tenant: str, rid: str) -> list[StoredMessage]:
        """The facts of a request as a stream would have them; none of one that is not, or no longer, here.

        Raises `ErasedError` where its asker was erased, `TamperedError`, `RecordDamagedError`, `sqlite3.Error`.
        """
        if not self._path.is_file():
            return []
        with self._open() as connection:
            query = "SELECT asker, at_s, sealed FROM requests WHERE tenant = ? AND rid = ?"
            row = connection.execute(query, (tenant, rid)).fetchone()
        if row is None:
            return []
        asker, at_s, sealed = row
        text = self._vault.unseal(tenant, asker, rid, sealed)
        try:
            texts = _facts.decode(text)
            data = [b64decode(text, validate=True) for text in texts]
        except ValueError as error:
            raise RecordDamagedError(f"what was kept of {rid}: {error}") from error
        subject = f"runtime.{tenant}.{rid}"
        return [StoredMessage(STREAM, number, at_s, subject, {}, each) for number, each in enumerate(data, 1)]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        make_private_file(self._path)
        connection = sqlite3.connect(self._path, timeout=10.0)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(SCHEMA)
            yield connection
        finally:
            connection.close()
