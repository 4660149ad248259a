"""Entries say what happened without a word of what was asked; what is forged becomes an entry too, no garbage."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.audit_worlds import published
from tests.support.message_parts import RECEIPT
from tidegate.brokers.base import StoredMessage
from tidegate.schemas import Published, Rewriting, decode, encode, encode_json
from tidegate.schemas.audit import AuditedAct, AuditedAnswer, AuditedLetter, AuditEntry
from tidegate.schemas.subjects import ANSWERS, DEAD
from tidegate.services.evidence.entries import digest, draft_event, draft_of, is_about, redact
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.fleet.audit_spool import EventSpool, act_event

SECRET = "Zebrastreifen"


def entry_of(draft: EntryDraft) -> AuditEntry:
    """What is read again of the entry that a draft becomes."""
    entry = AuditEntry(
        kind=draft.kind,
        domain="site1",
        tenant=draft.tenant,
        counter=0,
        logged_at_ms=1,
        at_ms=draft.at_ms,
        source=draft.source,
        salt="0" * 32,
        body=draft.body,
    )
    return decode(encode_json(entry), AuditEntry)


def stored(stream: str, subject: str, data: bytes, **headers: str) -> StoredMessage:
    return StoredMessage(
        stream, 7, 1.5, subject, {name.replace("_", "-"): value for name, value in headers.items()}, data
    )


def test_no_quote_and_no_question_is_in_an_entry() -> None:
    citation = msgspec.structs.replace(RECEIPT.citations[0], quote=f"Am {SECRET}.")
    receipt = msgspec.structs.replace(
        RECEIPT, citations=(citation,), rewriting=Rewriting(by="rules", question=f"Was kostet der {SECRET}?")
    )
    answer = msgspec.structs.replace(published("r1"), receipt=receipt, text=f"Der {SECRET} ist frei.")
    entry = entry_of(draft_of(stored(ANSWERS, "answers.kiosk.r1", encode(answer))))
    assert SECRET not in encode_json(entry).decode()
    assert isinstance(entry.body, AuditedAnswer)
    assert entry.body.text_digest == digest(answer.text)
    assert entry.body.receipt == redact(receipt)
    assert entry.body.receipt.rewriting == Rewriting(by="rules", question=digest(f"Was kostet der {SECRET}?"))
    assert (entry.at_ms, entry.source) == (1_500, "answers.kiosk.r1#7")
    assert is_about(entry, "r1")
    assert not is_about(entry, "r2")


def test_nobody_keeps_an_answer_out_of_the_log_by_using_its_id_first(tmp_path: Path) -> None:
    taken = "kiosk.r1.prefilter.0.publisher.0"
    forged = stored(DEAD, "dead.router.r9", b"x", Nats_Msg_Id=taken)
    other = stored(ANSWERS, "answers.bank.r1", encode(published("r1", "bank")), Nats_Msg_Id=taken)
    real = stored(ANSWERS, "answers.kiosk.r1", encode(published("r1")), Nats_Msg_Id=taken)
    with AuditLog.open(tmp_path, "site1") as log:
        assert [log.append([draft_of(each)], 1) for each in (forged, other, real, real)] == [1, 1, 1, 0]


@pytest.mark.parametrize("outcome", ["answered", "withheld", "abstained"])
def test_an_answer_s_entry_is_of_its_outcome(outcome: str) -> None:
    answer = msgspec.convert(
        {**msgspec.to_builtins(published("r1")), "outcome": outcome, "reason": "policy_block"}, Published
    )
    entry = entry_of(draft_of(stored(ANSWERS, "answers.kiosk.r1", encode(answer), Nats_Msg_Id="r1.publisher.0")))
    assert (entry.kind, entry.source) == (outcome, "answers.kiosk.r1#r1.publisher.0")


@pytest.mark.parametrize(
    ("subject", "tenant"),
    [
        ("asks.kiosk.r1", "kiosk"),
        ("pipe.bank.screened.r1", "bank"),
        ("escalations.site1.kiosk.r1", "kiosk"),
        ("verdicts.site1.kiosk.r1", "kiosk"),
        ("edits.site1.kiosk.docs.d1", ""),
        ("pipe", ""),
        ("pipe.NOT A NAME.x.r1", ""),
        ("", ""),
    ],
)
def test_a_dead_letter_is_of_the_tenant_of_what_died(subject: str, tenant: str) -> None:
    letter = stored(DEAD, "dead.router.r1", b"x", Dead_Subject=subject, Dead_Stage="router", Dead_Attempt="5")
    assert entry_of(draft_of(letter)).tenant == tenant


@given(
    st.dictionaries(
        st.sampled_from(["Dead-Subject", "Dead-Reason", "Dead-Attempt", "Dead-Stage", "Nats-Msg-Id"]), st.text()
    ),
    st.text(),
    st.binary(),
)
def test_whatever_anybody_stores_becomes_an_entry_that_can_be_read_and_shown(
    headers: dict[str, str], subject: str, data: bytes
) -> None:
    for stream, first in ((ANSWERS, "answers."), (DEAD, "dead.")):
        entry = entry_of(draft_of(StoredMessage(stream, 7, 1.5, first + subject, headers, data)))
        body = entry.body
        assert isinstance(body, (AuditedAct, AuditedLetter))
        shown = (body.reason, body.about) if isinstance(body, AuditedAct) else (body.reason, body.stage, body.rid)
        assert all(" " <= char <= "~" for text in shown for char in text)


def test_events_wait_in_order_until_they_are_logged(tmp_path: Path) -> None:

    spool = EventSpool(tmp_path / "events")
    assert not spool.is_open
    assert spool.waiting(10) == []
    for about in ("a", "b", "c"):
        spool.report(act_event("erased", about, tenant="kiosk"))
    waiting = spool.waiting(2)
    assert [entry_of(draft_event(each)).body.about for each in waiting] == ["a", "b"]  # type: ignore[union-attr]
    assert all(entry_of(draft_event(each)).tenant == "kiosk" for each in waiting)
    spool.forget(waiting)
    assert [each.event.act.about for each in spool.waiting(10) if each.event] == ["c"]
