"""One value of every type on the wire, with something in every field; the golden files say the same in bytes.

A golden file is written once and never again: `python tests/support/message_samples.py` writes those that are missing.
"""

from __future__ import annotations

import msgspec

from tests.support.message_parts import (
    ANSWER,
    BASIS,
    CHECKS,
    CITATION,
    DECISIONS,
    FIELD,
    FOLLOW_UP,
    INSTRUCTED,
    LINEAGE,
    MISSING_FIELD,
    PASSAGE,
    PLAN,
    QUESTION,
    RACE,
    RECEIPT,
    REPORT,
    SPENT,
    SUGGESTION,
    WHOSE,
)
from tests.support.paths import ROOT
from tidegate.schemas import (
    Accepted,
    Approved,
    Asked,
    Begin,
    CloudState,
    Decision,
    Degradation,
    Delta,
    Draft,
    Drafted,
    Escalated,
    Evidence,
    ForecastOutcome,
    InstructionsReport,
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
    Rewriting,
    Routed,
    Screened,
    Speculation,
    StreamCheck,
    StreamReport,
    Turn,
    Verified,
    Withheld,
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
)

MORE_SAMPLES: tuple[Message, ...] = (
    msgspec.structs.replace(SAMPLES[0], can_retract=True),
    msgspec.structs.replace(SAMPLES[0], history=(Turn("user", "Was kostet das?"), Turn("assistant", "Nichts."))),
    *(
        msgspec.structs.replace(sample, suggestions=(SUGGESTION,))
        for sample in SAMPLES
        if isinstance(sample, Withheld | Verified | Published)
    ),
    *(
        msgspec.structs.replace(sample, fields=(FIELD, MISSING_FIELD))
        for sample in SAMPLES
        if isinstance(sample, Withheld | Published)
    ),
    Retrieved(
        **WHOSE,
        question=QUESTION,
        plan=PLAN,
        passages=(msgspec.structs.replace(PASSAGE, page=3, page_breaks=(20, 30), recognised=((10, 20), (30, 41))),),
    ),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        citations=(msgspec.structs.replace(CITATION, page=3, is_recognised=True),),
        suggestions=(msgspec.structs.replace(SUGGESTION, page=4, is_recognised=True),),
        receipt=RECEIPT,
    ),
    Withheld(**WHOSE, reason="unclear", stage="prefilter", question=FOLLOW_UP),
    msgspec.structs.replace(SAMPLES[0], instructions="Antworte kurz."),
    *(
        msgspec.structs.replace(sample, instructions="0a1b2c3d4e5f")
        for sample in SAMPLES
        if isinstance(sample, Replied)
    ),
    Escalated(**WHOSE, question=INSTRUCTED, plan=RACE, reason="planned"),
    Verified(**WHOSE, question=INSTRUCTED, plan=RACE, answer=msgspec.structs.replace(ANSWER, writing=REPORT)),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        receipt=msgspec.structs.replace(
            RECEIPT, writing=REPORT, instructions=InstructionsReport(digest="0a1b2c3d4e5f", is_used=True)
        ),
    ),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        receipt=msgspec.structs.replace(RECEIPT, rewriting=Rewriting("rules", FOLLOW_UP.text)),
    ),
    Escalated(
        **WHOSE,
        degradations=(Degradation("router", "no_race", 300.0, 450.0),),
        can_retract=True,
        question=QUESTION,
        plan=RACE,
        reason="low_confidence",
        edge_confidence=0.25,
        draft=Draft(ids=(10, 512, 77), tokenizer="0a1b2c3d4e5f", drafter="lookup"),
    ),
    Delta(
        rid="Req_1-a",
        tenant="kiosk",
        state="committed",
        text='{"fee": 0}',
        format="json",
        evidence=Evidence(citations=(CITATION,), checks=CHECKS, confidence=0.625, lineage=LINEAGE, writing=REPORT),
        is_whole=True,
    ),
    Published(
        **WHOSE,
        outcome="answered",
        text="Eine Überweisung ist kostenlos.",
        reason="cloud_unreachable",
        receipt=msgspec.structs.replace(RECEIPT, finished_by="edge", is_cut=True, committed_chars=31, retractions=1),
    ),
    CloudState(step_ms=21.5, queue=3, verifies_drafts=True, keeps_sessions=True),
    StreamCheck(),
    StreamReport(),
    CloudState(verifies_drafts=True, model="target@0a1b2c3d4e5f", writes=("grounded", "free")),
    CloudState(verifies_drafts=True, writes=()),
    Published(
        **WHOSE,
        outcome="abstained",
        text="",
        receipt=msgspec.structs.replace(
            RECEIPT,
            plan=msgspec.structs.replace(RACE, basis=BASIS),
            speculation=Speculation(steps=9, tokens=30, forced=4, draft_bytes=300, model="target@0a1b2c3d4e5f"),
            forecast=ForecastOutcome("race", 654.0, 702.5),
        ),
    ),
    Withheld(**WHOSE, reason="abstained", stage="policy", speculation=Speculation(steps=0, tokens=0, draft_bytes=40)),
    CloudState(step_ms=21.5, queue=3, verifies_drafts=True, keeps_sessions=True, writes=("quote", "grounded")),
    Escalated(
        **WHOSE,
        degradations=(Degradation("drafter", "no_remote_speculation", 300.0, 450.0, "the cloud cannot be reached"),),
        question=QUESTION,
        plan=msgspec.structs.replace(PLAN, mode="remote_speculation"),
        reason="low_confidence",
    ),
    *(
        msgspec.structs.replace(sample, guess="cached_answer")
        for sample in SAMPLES
        if isinstance(sample, Partial | Delta)
    ),
    *(
        msgspec.structs.replace(sample, receipt=msgspec.structs.replace(RECEIPT, guess="draft"))
        for sample in SAMPLES
        if isinstance(sample, Published)
    ),
)
"""Fields and values that the golden files do not have."""


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
