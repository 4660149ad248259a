"""Makes entries of what a domain has stored: answers, dead letters, events. Pure.

Promises that no word of a question, an answer or a document is in any, only digests of them, and that whatever is
stored becomes an entry, also what cannot be read. Next: log.py, which numbers them; worker.py, which reads them."""

from __future__ import annotations

import re
from hashlib import sha256

import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.schemas.audit import AuditedAct, AuditedAnswer, AuditedLetter, AuditEntry
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.facts import Published
from tidegate.schemas.message import decode
from tidegate.schemas.receipt import Receipt
from tidegate.schemas.subjects import ANSWERS, DEAD
from tidegate.services.evidence.log import EntryDraft
from tidegate.services.fleet.audit_spool import SpooledEvent

FOLLOWED = {ANSWERS: "answers.>", DEAD: "dead.>"}
"""The streams of which every message becomes an entry, with the subjects that are read."""
LONGEST = 500
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_TENANT_AT = {"asks": 1, "pipe": 1, "answers": 1, "tokens": 1, "escalations": 2, "verdicts": 2}
"""Where the subject of a message that died has its tenant."""
_to_json = msgspec.json.Encoder()


def draft_of(stored: StoredMessage) -> EntryDraft:
    """The entry of a message of one of the streams that are followed."""
    return _draft_answer(stored) if stored.stream == ANSWERS else _draft_letter(stored)


def draft_event(spooled: SpooledEvent) -> EntryDraft:
    """The entry of an event; a file that is none becomes an entry that says so."""
    source = f"event:{spooled.name}"
    event = spooled.event
    if event is None:
        act = AuditedAct(about=plain(spooled.name), reason=plain(spooled.fault))
        return EntryDraft(kind="violated", body=act, source=source)
    body = event.act if event.answer is None else event.answer
    return EntryDraft(kind=event.kind, body=body, source=source, tenant=event.tenant, at_ms=event.at_ms)


def audited(published: Published) -> AuditedAnswer:
    """What an entry has of an answer."""
    return AuditedAnswer(
        rid=published.rid,
        outcome=published.outcome,
        reason=plain(published.reason),
        text_digest=digest(published.text),
        receipt_digest=receipt_digest(published.receipt),
        receipt=redact(published.receipt),
    )


def redact(receipt: Receipt) -> Receipt:
    """The receipt with digests in the place of what was quoted or asked."""
    replace = msgspec.structs.replace
    citations = tuple(replace(each, quote=digest(each.quote)) for each in receipt.citations)
    rewriting = receipt.rewriting
    if rewriting is not None:
        rewriting = replace(rewriting, question=digest(rewriting.question))
    return replace(receipt, citations=citations, rewriting=rewriting)


def receipt_digest(receipt: Receipt) -> str:
    """What names a receipt as it was published: sha256 of its JSON, in hexadecimal digits."""
    return sha256(_to_json.encode(receipt)).hexdigest()


def digest(text: str) -> str:
    """sha256 of a text, in hexadecimal digits."""
    return sha256(text.encode()).hexdigest()


def plain(text: str) -> str:
    """Printable ASCII of a bounded length: what somebody else wrote never reaches a terminal as it is."""
    return "".join(char if " " <= char <= "~" else "?" for char in text)[:LONGEST]


def _draft_answer(stored: StoredMessage) -> EntryDraft:
    tenant, rid = _last_two(stored.subject)
    try:
        published = decode(stored.data, Published)
        if (published.tenant, published.rid) != (tenant, rid):
            raise UnreadableError("it is stored under another tenant or request than its own")
    except UnreadableError as error:
        return _violation(stored, tenant, error.reason)
    source, at_ms = _source(stored), _at_ms(stored)
    return EntryDraft(kind=published.outcome, body=audited(published), source=source, tenant=tenant, at_ms=at_ms)


def _draft_letter(stored: StoredMessage) -> EntryDraft:
    headers, subject = stored.headers, stored.headers.get("Dead-Subject", "").split(".")
    at = _TENANT_AT.get(subject[0], 0)
    attempt = headers.get("Dead-Attempt", "")
    stage, rid = _last_two(stored.subject)
    body = AuditedLetter(
        rid=plain(rid),
        stage=plain(headers.get("Dead-Stage", "") or stage),
        reason=plain(headers.get("Dead-Reason", "")),
        attempt=int(attempt) if re.fullmatch(r"[0-9]{1,9}", attempt) else 0,
        data_digest=sha256(stored.data).hexdigest(),
    )
    tenant = _name(subject[at]) if at and len(subject) > at else ""
    return EntryDraft(kind="dead_lettered", body=body, source=_source(stored), tenant=tenant, at_ms=_at_ms(stored))


def _violation(stored: StoredMessage, tenant: str, reason: str) -> EntryDraft:
    act = AuditedAct(about=plain(stored.subject), reason=plain(reason), digest=sha256(stored.data).hexdigest())
    return EntryDraft(kind="violated", body=act, source=_source(stored), tenant=_name(tenant), at_ms=_at_ms(stored))


def _source(stored: StoredMessage) -> str:
    """Where it was stored and under which id, which stays the same in a stream that is made anew. An id alone would not
    do: whoever may store anything could use another's before, which would then never be logged."""
    return f"{stored.subject}#{stored.headers.get('Nats-Msg-Id') or stored.sequence}"[:LONGEST]


def _at_ms(stored: StoredMessage) -> int:
    return max(0, int(stored.stored_at_s * 1000))


def _last_two(subject: str) -> tuple[str, str]:
    tokens = ["", *subject.split(".")]
    return tokens[-2], tokens[-1]


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else ""


def is_about(entry: AuditEntry, rid: str) -> bool:
    """Whether an entry is of this request."""
    body = entry.body
    return rid in body.rids if isinstance(body, AuditedAct) else body.rid == rid
