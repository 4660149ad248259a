"""What SQLite says of a file, told apart: the system's reasons from the file's own. Next: whoever keeps a database."""

from __future__ import annotations

import sqlite3

_OF_SYSTEM = frozenset(
    getattr(sqlite3, f"SQLITE_{name}")
    for name in ("FULL", "IOERR", "READONLY", "CANTOPEN", "PERM", "AUTH", "NOMEM", "NOLFS", "TOOBIG", "PROTOCOL")
)
SYSTEM_HINT = "see that the disk works and has room, and that this user may read and write the directory"


def code_of(error: sqlite3.Error) -> int:
    """The class of an error: the low byte of its extended code; 1 where SQLite gave none."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def is_of_system(error: sqlite3.Error) -> bool:
    """Whether the system, and not the file, is the reason: the file may be whole."""
    return code_of(error) in _OF_SYSTEM
