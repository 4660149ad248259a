"""One value of every message of the audit log, with something in every field."""

from __future__ import annotations

from tests.support.message_parts import RECEIPT
from tidegate.schemas import HeadReply, HeadSubmission, Message
from tidegate.schemas.audit import AuditedAct, AuditedAnswer, AuditEntry, AuditEvent

ACT = AuditedAct(
    about="rid_taken",
    reason="another request has this id",
    by="gateway",
    digest="00ff" * 16,
    epoch=7,
    count=3,
    rids=("Req_1-a", "r2"),
    policies={"1c6f8d759d41": '{"allow":["grounded_claims"]}'},
)
NOTE = "tidegate.audit/site1\n3\nAAAA\n\n\N{EM DASH} tidegate.audit/site1 AAAAAAAA\n"

AUDIT_SAMPLES: tuple[Message, ...] = (
    AuditEvent(kind="refused", act=ACT, tenant="kiosk", at_ms=1_700_000_000_000),
    AuditEntry(
        kind="answered",
        domain="site1",
        tenant="kiosk",
        counter=12,
        logged_at_ms=1_700_000_000_250,
        at_ms=1_700_000_000_125,
        source="ANSWERS:7",
        salt="0123456789abcdef" * 2,
        body=AuditedAnswer(
            rid="Req_1-a",
            outcome="answered",
            reason="smalltalk",
            text_digest="0a" * 32,
            receipt_digest="0b" * 32,
            receipt=RECEIPT,
        ),
    ),
    HeadSubmission(checkpoint=NOTE, old_size=2, proof=(b"\x01" * 32,), hub_size=5),
    HeadReply(
        fault="forked",
        reason="two heads of a log of 3 entries differ",
        size=3,
        cosigned=NOTE,
        heads=(NOTE,),
        hub_head=NOTE,
        hub_proof=(b"\x02" * 32,),
    ),
)
