"""One value of every type on the wire, with something in every field; the golden files say the same in bytes.

A golden file is written once and never again: `python tests/support/message_samples.py` writes those that are missing.
"""

from __future__ import annotations

from typing import Any

import msgspec

from tests.support.paths import ROOT
from tidegate.schemas import (
    Accepted,
    Answer,
    Approved,
    Artefact,
    Asked,
    Begin,
    Check,
    Citation,
    CloudState,
    Decision,
    Degradation,
    Delta,
    Draft,
    Drafted,
    Escalated,
    Evidence,
    ExtractedField,
    ForecastBasis,
    ForecastOutcome,
    InstructionsReport,
    Message,
    Partial,
    Passage,
    Plan,
    Propose,
    Published,
    Question,
    Receipt,
    Refused,
    Replied,
    Resume,
    Retrieved,
    Rewriting,
    Routed,
    Screened,
    Speculation,
    StageTiming,
    Suggestion,
    Turn,
    Verified,
    Withheld,
    WritingReport,
    encode,
    encode_json,
)
from tidegate.schemas.subjects import token_of

GOLDEN = ROOT / "tests" / "schemas" / "golden"

SPENT = (StageTiming("prefilter", 1.5, 4.25), StageTiming("router", 0.5, 0.125))
LINEAGE = (
    Artefact("model", "minilm", "53aa51172d14"),
    Artefact("policy", "safe-answers-v3", "1c6f8d759d41"),
    Artefact("document", "cards", "0a1b2c3d4e5f"),
    Artefact("index", "kiosk", "g12"),
    Artefact("config", "router", "fedcba987654"),
    Artefact("pack", "kiosk", "abcdef012345"),
    Artefact("detector", "dlp", "1"),
    Artefact("software", "tidegate", "0.1.0"),
)
QUESTION = Question(
    text="Was kostet eine Überweisung von <IBAN_0123456789ab>?",
    language="de",
    intent="payments",
    intent_confidence=0.875,
    workload="extract",
    schema='{"type": "object"}',
    vault_tokens=("<IBAN_0123456789ab>",),
)
PLAN = Plan(
    where="cloud",
    may_escalate=True,
    k=8,
    model="reader",
    shares_ms={"drafter": 1000.0, "policy": 3000.0},
    config_version="fedcba987654",
    reason="a queue of 300",
)
RACE = msgspec.structs.replace(
    PLAN,
    mode="race",
    drafters=("grammar", "lookup", "lm"),
    draft_length=8,
    show_from=0.35,
    break_even_rtt_ms=40.0,
    forecast_ms={"race": 654.0, "cloud_stream": 2632.0},
)
BASIS = ForecastBasis(
    class_name="payments",
    model="target@0a1b2c3d4e5f",
    spent_ms=31.5,
    rtt_ms=50.25,
    edge_factor=0.5,
    edge_seen=7,
    cloud_factors=(0.25, 2.0),
    cloud_seen=3,
    evidence=1,
)
PASSAGE = Passage(
    document_id="payments",
    document_version="0a1b2c3d4e5f",
    title="Überweisungen",
    text="Eine Überweisung ist kostenlos.",
    language="de",
    start=10,
    end=41,
    score=0.03125,
    bm25=7.5,
    similarity=0.75,
    heading="Preise",
)
FOLLOW_UP = msgspec.structs.replace(QUESTION, rewritten_by="rules")
INSTRUCTED = msgspec.structs.replace(QUESTION, instructions="Rede <PERSON_0123456789ab> mit dem Namen an.")
REPORT = WritingReport(
    mode="grounded", sentences=2, retried=1, faults=("it cites nothing",), instructions="0a1b2c3d4e5f"
)
FIELD = ExtractedField(path="total", value=12.5, evidence="12,50", start=7, end=12, confidence=0.97)
MISSING_FIELD = ExtractedField(path="payer.iban", confidence=0.8, problem="missing")
SUGGESTION = Suggestion(
    document_id="payments",
    document_version="0a1b2c3d4e5f",
    title="Überweisungen",
    heading="Preise",
    start=10,
    end=41,
    quote="Eine Überweisung ist kostenlos.",
    score=0.75,
)
CITATION = Citation(
    document_id="payments", document_version="0a1b2c3d4e5f", start=10, end=41, quote="Eine Überweisung ist kostenlos."
)
CHECKS = (Check("grounding", True, 1.0), Check("entailment", False, 0.5))
ANSWER = Answer(text='{"fee": 0}', format="json", citations=(CITATION,), confidence=0.625, checks=CHECKS)
DECISIONS = (
    Decision("safe/grounded_claims", "allow", "cited"),
    Decision("safe/redact_pii", "transform", "1 personal value(s) struck out"),
    Decision("safe/speculative_financial_promises", "block", "it promises"),
    Decision("safe/entailment", "abstain", "0.500 is below 0.85"),
)
RECEIPT = Receipt(
    site="site1",
    route="cloud",
    plan=PLAN,
    lineage=LINEAGE,
    citations=(CITATION,),
    decisions=DECISIONS,
    checks=CHECKS,
)
WHOSE: dict[str, Any] = {
    "rid": "Req_1-a",
    "tenant": "kiosk",
    "site": "site1",
    "asked_at_ms": 1_700_000_000_000,
    "deadline_at_ms": 1_700_000_004_000,
    "timings": SPENT,
    "lineage": LINEAGE,
}

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
