"""Puts an empty index in the place of one that cannot be read, so that whoever feeds it can fill it again.

Promises that other processes which have it open see the empty one at their next question. Next: database.py.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress

import msgspec
import structlog

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.database import make_database, raising_own_errors
from tidegate.services.knowledge.index.records import row_checksum
from tidegate.services.knowledge.index.storage import DocumentOrigin, Storage, publish_file

_log = structlog.get_logger()
KeptDocuments = list[tuple[Document, DocumentOrigin]]


def reset_index(storage: Storage) -> KeptDocuments:
    """Begin anew; returns the documents that nobody will bring again, of those that can still be read.

    Raises `IndexLockedError`, `IndexUnusableError`.
    """
    with storage.compaction_lock(), storage.lock():
        kept = _read_unfollowed(storage)
        numbers = [int(folder.name.rpartition("-")[2]) for folder in storage.path.glob("keyword-*")]
        keyword = max(numbers, default=-1) + 1  # a directory of its own: readers may have the last one open
        draft = storage.database.with_suffix(".new")
        draft.unlink(missing_ok=True)
        make_database(draft)
        with raising_own_errors(draft), closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            connection.execute("UPDATE head SET keyword = ?", (keyword,))
        # The log of writes goes first: beside another database it would be taken for that one's.
        for suffix in ("-wal", "-shm"):
            storage.database.with_name(storage.database.name + suffix).unlink(missing_ok=True)
        publish_file(draft, storage.database)
        storage.remove_unnamed(keyword, "")
    _log.warning("index.reset", path=str(storage.path), reason="it could not be read", kept=len(kept))
    return kept


def _read_unfollowed(storage: Storage) -> KeptDocuments:
    """Documents that no replica brought, as far as they can be read."""
    kept: KeptDocuments = []
    unfollowed = (
        "SELECT first, crc, document, origin FROM documents WHERE origin IN ('pack', 'added') "
        "AND id NOT IN (SELECT name FROM sources WHERE name != '')"
    )
    uri = f"{storage.database.absolute().as_uri()}?mode=ro"
    with (
        suppress(TidegateError),
        raising_own_errors(storage.database),
        closing(sqlite3.connect(uri, uri=True)) as connection,
    ):
        for first, crc, document, origin in connection.execute(unfollowed):
            if row_checksum(first, document) == crc:
                kept.append((msgspec.msgpack.decode(document, type=Document), origin))
    return kept
