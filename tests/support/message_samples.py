"""One value of every type on the wire, with something in every field; the golden files say the same in bytes.

A golden file is written once and never again: `python tests/support/message_samples.py` writes those that are missing.
"""

from __future__ import annotations

import msgspec

from tests.support.audit_samples import AUDIT_SAMPLES
from tests.support.message_parts import (
    ANSWER,
    CITATION,
    DECISIONS,
    PASSAGE,
    PLAN,
    QUESTION,
    RACE,
    RECEIPT,
    SPENT,
    WHOSE,
)
from tests.support.paths import ROOT
from tests.support.replica_samples import REPLICA_SAMPLES
from tests.support.sync_samples import SYNC_SAMPLES
from tidegate.schemas import (
    Accepted,
    Approved,
    Asked,
    Begin,
    CloudState,
    Decision,
    Degradation,
    Delta,
    Drafted,
    Escalated,
    LostEscalation,
    LostVerdict,
    Message,
    Partial,
    Propose,
    Published,
    Refused,
    Replied,
    Resume,
    Retrieved,
    Routed,
    Screened,
    Speculation,
    StreamCheck,
    StreamReport,
    Verified,
    Withheld,
    WorkClaim,
    encode,
    encode_json,
)
from tidegate.schemas.subjects import token_of

GOLDEN = ROOT / "tests" / "schemas" / "golden"

SAMPLES: tuple[Message, ...] = (
    Asked(
        tenant="kiosk",
        text="Was kostet eine Überweisung?",
        rid="Req_1-a",
        asker="a3f5",
        workload="extract",
        language="de",
        schema='{"type": "object"}',
        budget_ms=2500,
        site="site1",
        asked_at_ms=1_700_000_000_000,
        deadline_at_ms=1_700_000_002_500,
        sealed=b"\x00\x01\xfe\xff",
        timings=SPENT,
    ),
    Screened(**WHOSE, question=QUESTION),
    Withheld(
        **WHOSE,
        reason="policy_block",
        stage="policy",
        language="de",
        text="Darauf darf ich leider keine Antwort geben.",
        plan=PLAN,
        route="cloud",
        decisions=DECISIONS,
    ),
    Replied(
        **WHOSE,
        reason="distress",
        stage="prefilter",
        text="Bitte rufen Sie jetzt 112 an.",
        language="de",
        confidence=0.875,
        decisions=(Decision("intent/self_harm", "allow", "its probability is 0.88"),),
    ),
    Routed(**WHOSE, question=QUESTION, plan=PLAN),
    Retrieved(**WHOSE, question=QUESTION, plan=PLAN, passages=(PASSAGE,)),
    Drafted(**WHOSE, question=QUESTION, plan=PLAN, answer=ANSWER),
    Escalated(**WHOSE, question=QUESTION, plan=PLAN, reason="low_confidence", edge_confidence=0.25),
    Verified(**WHOSE, question=QUESTION, plan=PLAN, answer=ANSWER),
    Approved(**WHOSE, question=QUESTION, plan=PLAN, route="cloud", answer=ANSWER, decisions=DECISIONS),
    Published(
        **WHOSE,
        outcome="withheld",
        text='{"fee": 0}',
        reason="policy_block",
        format="json",
        language="de",
        citations=(CITATION,),
        confidence=0.625,
        receipt=RECEIPT,
    ),
    Refused(code="too_long", reason="the text has 9000 characters", hint="at most 8000 are read", rid="Req_1-a"),
    Partial(
        **WHOSE,
        degradations=(Degradation("retriever", "fewer_passages", 120.5, 400.25, "short of time"),),
        can_retract=True,
        source="cloud",
        question=QUESTION,
        plan=RACE,
        answer=msgspec.structs.replace(ANSWER, speculation=Speculation(steps=5, tokens=64, drafted=80, accepted=59)),
        ids=(10, 512, 77),
        is_whole=True,
    ),
    Delta(
        rid="Req_1-a",
        tenant="kiosk",
        state="committed",
        epoch=1,
        position=12,
        ids=(10, 512, 77),
        offset=40,
        text=" Eine Überweisung ist kostenlos.",
        is_last=True,
    ),
    Resume(rid="Req_1-a", tenant="kiosk", asker="ada", cursor="1.40.12", can_retract=False),
    CloudState(step_ms=21.5, queue=3, verifies_drafts=True),
    Begin(
        escalated=Escalated(**WHOSE, question=QUESTION, plan=PLAN, reason="low_confidence", edge_confidence=0.25),
        tokenizer="0a1b2c3d4e5f",
        prefix=(10, 512),
        ids=(77, 2),
    ),
    Propose(session="00ff00ff", position=3, ids=(10, 512, 77)),
    Accepted(
        worker="0a1b2c3d",
        session="00ff00ff",
        accepted=2,
        ids=(78, 512),
        speculation=Speculation(steps=2, tokens=7, drafted=5, accepted=4, draft_bytes=40),
        prompt=(1, 3, 300, 5),
        quotes=True,
    ),
    StreamCheck(escalations=("kiosk.Req_1-a", "bank.r2"), verdicts_after=1234),
    StreamReport(missing=("bank.r2",), verdicts=("kiosk.r3",), verdicts_to=1300),
    LostEscalation(
        escalated=Escalated(**WHOSE, question=QUESTION, plan=PLAN, reason="low_confidence", edge_confidence=0.25),
        id="Req_1-a.prefilter.0.drafter.0",
        cause="PIPE:7",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    LostVerdict(key="kiosk.r3"),
    WorkClaim(
        site="site1",
        tenant="kiosk",
        rid="Req_1-a",
        question="0af7651916cd43dd8448eb211c80319c",
        holder="b7ad6b716920",
        verdict=Verified(**WHOSE, question=QUESTION, plan=PLAN, answer=ANSWER),
    ),
    *SYNC_SAMPLES,
    *REPLICA_SAMPLES,
    *AUDIT_SAMPLES,
)


def main() -> None:
    """Write the golden files that are missing."""
    GOLDEN.mkdir(exist_ok=True)
    for sample in SAMPLES:
        for suffix, data in (("msgpack", encode(sample)), ("json", encode_json(sample))):
            path = GOLDEN / f"{token_of(type(sample))}.{suffix}"
            if not path.exists():
                path.write_bytes(data)


if __name__ == "__main__":
    main()
