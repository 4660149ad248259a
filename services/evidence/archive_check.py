"""Holds the archive of answers against the audit log: each was logged when it was published, with its digests.

Promises that an answer which was changed or added in the archive is named. Next: services/fleet/answer_archive.py;
verification.py, which checks the log itself."""

from __future__ import annotations

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.schemas.audit import AuditedAnswer
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.facts import Published
from tidegate.schemas.message import decode
from tidegate.services.evidence.entries import digest, plain, receipt_digest
from tidegate.services.evidence.log_reader import AuditReader, StoredEntry
from tidegate.services.fleet.answer_archive import AnswerArchive, ArchiveUnreadableError

NAMED = 20
"""Faults that are told; the others are counted."""


class ArchiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """How many answers are archived, how many of them are as they were logged, how many in no entry of the log at all,
    and what is wrong with the first of the others."""

    answers: int = 0
    as_logged: int = 0
    unlogged: int = 0
    faults: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        """Whether all are as they were logged."""
        return self.answers == self.as_logged


def check_archive(archive: AnswerArchive, reader: AuditReader) -> ArchiveReport:
    """Read the whole log, and what the archive has of it. An entry that cannot be read is a fault of the log, which
    `verify_log` names. Raises `AuditDamagedError`."""
    good: set[tuple[str, str]] = set()
    wrong: dict[tuple[str, str], str] = {}
    for stored in reader.newest_first():
        tenant, body = _answer_in(stored)
        if body is None:
            continue
        try:
            found = archive.find(body.rid, tenant)
        except ArchiveUnreadableError as error:
            wrong[tenant, body.rid] = error.reason
            continue
        if not found:
            continue
        if _is_as_logged(found[0], body):
            good.add((tenant, body.rid))
        else:
            wrong.setdefault((tenant, body.rid), f"the archived answer of {tenant}/{body.rid} is not what was logged")
    answers = archive.count()
    bad = wrong.keys() - good
    faults = tuple(plain(wrong[each]) for each in sorted(bad)[:NAMED])
    return ArchiveReport(answers=answers, as_logged=len(good), unlogged=answers - len(good) - len(bad), faults=faults)


def _answer_in(stored: StoredEntry) -> tuple[str, AuditedAnswer | None]:
    try:
        entry = stored.entry
    except UnreadableError:
        return "", None
    return entry.tenant, entry.body if isinstance(entry.body, AuditedAnswer) else None


def _is_as_logged(stored: StoredMessage, body: AuditedAnswer) -> bool:
    try:
        published = decode(stored.data, Published)
    except UnreadableError:
        return False
    return (digest(published.text), receipt_digest(published.receipt)) == (body.text_digest, body.receipt_digest)
