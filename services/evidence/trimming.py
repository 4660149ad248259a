"""How far back an audit log is kept: which of its entries may go now. Pure, but for what it reads of the log.

Promises that nothing goes that is under no head which counts, and that what goes leaves its hash: every head that was
ever signed can be proven by those that stay.
Next: bounds.py, which head counts; log.py, which trims; verification.py, which checks that it was allowed."""

from __future__ import annotations

from tidegate.brokers.settings import RetentionSettings
from tidegate.services.evidence.log_file import AuditDamagedError
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.merkle import TILE_LEVEL

TILE = 1 << TILE_LEVEL
"""Entries go by whole tiles."""
MOST_AT_ONCE = 16 * TILE
"""Entries that go in one transaction: some 8 MB, for which nobody who logs has to wait long."""


def choose_end(reader: AuditReader, retention: RetentionSettings, provable: int, now_ms: int) -> int:
    """Before which entry the log may go now, at most `MOST_AT_ONCE` from where it begins; where it begins, for nothing.

    `provable` is the size of the newest head of the log that counts: one that another domain has seen, or where there
    is no other a signed one; see bounds.py. Raises `AuditDamagedError`,
    `UnreadableError`.
    """
    state = reader.state()
    begin = state.trimmed
    tiles = max(0, (min(provable, state.size, begin + MOST_AT_ONCE) - begin) // TILE)
    old = _count_old(reader, begin, tiles, now_ms - 1000 * retention.audit_s) if retention.audit_s else 0
    many = _count_too_many(reader, begin, tiles, retention.audit_bytes) if retention.audit_bytes else 0
    return begin + TILE * max(old, many)


def _count_old(reader: AuditReader, begin: int, tiles: int, before_ms: int) -> int:
    """The tiles whose last entry is older; entries are in the order of their times."""
    low, high = 0, tiles
    while low < high:
        middle = (low + high + 1) // 2
        last = begin + middle * TILE - 1
        stored = next(reader.entries(last, last + 1), None)
        if stored is None:
            raise AuditDamagedError(f"entry {last} is missing")
        if stored.entry.logged_at_ms < before_ms:
            low = middle
        else:
            high = middle - 1
    return low


def _count_too_many(reader: AuditReader, begin: int, tiles: int, most_bytes: int) -> int:
    """The tiles without which the rest is within its bytes."""
    held, count = reader.state().leaf_bytes, 0
    while count < tiles and held > most_bytes:
        held -= reader.count_bytes(begin + count * TILE, begin + (count + 1) * TILE)
        count += 1
    return count
