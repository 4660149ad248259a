"""Keeps an audit log within its bounds: what it says that it gives up, it signs before anything goes.

Promises that nothing goes that no other domain has witnessed, unless the settings say that there is none. Next:
trimming.py, which chooses; log.py, which trims; worker.py and runtime_log.py, which call it."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas.subjects import HUB
from tidegate.services.evidence.checkpoints import Checkpoint, SignedNote
from tidegate.services.evidence.log import AuditLog
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.trimming import choose_end
from tidegate.services.settings import Settings

SignHead = Callable[[Checkpoint], SignedNote]
"""Signs a head of the domain's log."""


def sign_new(log: AuditLog, sign: SignHead) -> None:
    """Sign the head, where there are entries that no signed head covers. Raises what signing and writing raise."""
    if _count_signed(log.reader) < log.size:
        log.keep_checkpoint(sign(log.reader.head()))


def trim_once(log: AuditLog, sign: SignHead, settings: Settings, now_ms: int, known_at_sites: int = 0) -> bool:
    """Trim what is to go in one transaction; whether anything was. `known_at_sites` is at the hub how many entries its
    sites know the head of. Raises what reading, signing and writing raise."""
    reader = log.reader
    provable = count_provable(reader, settings, known_at_sites)
    end = choose_end(reader, settings.retention, provable, now_ms)
    if end == reader.state().trimmed:
        return False
    log.announce_trimming(end, now_ms)
    sign_new(log, sign)
    log.trim(end)
    return True


def count_provable(reader: AuditReader, settings: Settings, known_at_sites: int = 0) -> int:
    """How many entries are under a head that another domain has seen; where there is no other, under a signed one."""
    if not settings.audit.has_witness:
        return _count_signed(reader)
    if settings.site == HUB:
        return known_at_sites
    own = reader.head_of(reader.state().origin)
    return own.checkpoint.size if own else 0


def _count_signed(reader: AuditReader) -> int:
    signed = reader.newest_checkpoint()
    return signed.checkpoint.size if signed else 0
