"""The rows of one document as they are on the disk, each with whether it is as it was written.

Promises to read also what is damaged, where records.py raises. Next: inspection.py, which compares them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import msgspec

from tidegate.schemas.answer import Passage
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Unit
from tidegate.services.knowledge.index.records import DocumentEntry, row_checksum

_T = TypeVar("_T")


class PassageRow(NamedTuple):
    """A passage and its units; None for what cannot be read."""

    passage: Passage | None
    units: tuple[Unit, ...] | None


class TextRows(NamedTuple):
    """The rows of a document but for its vectors; `is_whole`: all of them have their checksums."""

    document: Document | None
    passages: tuple[PassageRow, ...]
    is_whole: bool


def read_text(connection: sqlite3.Connection, entry: DocumentEntry) -> TextRows:
    """The document and its passages, in order."""
    crc, document = connection.execute("SELECT crc, document FROM documents WHERE first = ?", (entry.first,)).fetchone()
    select = "SELECT number, crc, passage, units FROM passages WHERE number >= ? AND number < ? ORDER BY number"
    rows = connection.execute(select, (entry.first, entry.numbers.stop)).fetchall()
    is_whole = row_checksum(entry.first, document) == crc
    is_whole &= all(row_checksum(number, passage, units) == known for number, known, passage, units in rows)
    passages = (PassageRow(_read(row[2], Passage), _read(row[3], tuple[Unit, ...])) for row in rows)
    return TextRows(_read(document, Document), tuple(passages), is_whole)


def read_halves(connection: sqlite3.Connection, entry: DocumentEntry) -> tuple[bytes, bool]:
    """The vectors of a document as they are stored, and whether all of them have their checksums."""
    select = "SELECT number, crc, halves FROM vectors WHERE number >= ? AND number < ? ORDER BY number"
    rows = connection.execute(select, (entry.first, entry.numbers.stop)).fetchall()
    is_whole = all(row_checksum(number, halves) == crc for number, crc, halves in rows)
    return b"".join(halves for _, _, halves in rows), is_whole


def find_names(connection: sqlite3.Connection, numbers: Sequence[int]) -> dict[int, str]:
    """The ids of the documents that these passages are of, where there are such."""
    select = (
        "SELECT p.number, d.id FROM passages p JOIN documents d ON d.first = p.first "
        "WHERE p.number IN (SELECT value FROM json_each(?))"
    )
    return dict(connection.execute(select, (json.dumps(numbers),)).fetchall())


def _read(data: bytes, kind: type[_T]) -> _T | None:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
