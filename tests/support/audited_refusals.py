"""What becomes of refusals in the audit log: the entries that were made of those which a test has provoked."""

from __future__ import annotations

from tidegate.schemas.audit import AuditedAct
from tidegate.services.evidence.entries import draft_event
from tidegate.services.evidence.log import EntryDraft
from tidegate.services.fleet.audit_spool import SpooledEvent
from tidegate.services.fleet.refusal_counts import COUNTS, RefusalCounts


def forget_refusals() -> None:
    """Whatever was refused before is another test's."""
    COUNTS.forget()


def entries_of(counts: RefusalCounts = COUNTS) -> list[EntryDraft]:
    """The entries that the refusals make which were counted since."""
    events = counts.take(is_last=True)
    return [draft_event(SpooledEvent(f"{number}", event)) for number, event in enumerate(events)]


def entry_of(code: str, counts: RefusalCounts = COUNTS) -> tuple[EntryDraft, AuditedAct]:
    """The one entry of the one kind that was refused, which has this code."""
    [entry] = entries_of(counts)
    assert isinstance(entry.body, AuditedAct)
    assert entry.body.about == code
    return entry, entry.body
