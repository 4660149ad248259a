"""What messages of every type are made of in tests: a question, a plan, passages, an answer and its receipt."""

from __future__ import annotations

from typing import Any

import msgspec

from tidegate.schemas import (
    Answer,
    Artefact,
    Check,
    Citation,
    Decision,
    ExtractedField,
    ForecastBasis,
    Passage,
    Plan,
    Question,
    Receipt,
    StageTiming,
    Suggestion,
    WritingReport,
)

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
REPLICATED = {
    "collection": "documents",
    "signer": "hub/0123456789abcdef",
    "known_at_ms": 1_790_000_000_000,
    "is_fresh": False,
}
"""Where a passage or a citation comes from that a replica brought, and how current it is."""
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
