"""The drafter: vouch, or ask the cloud."""

from __future__ import annotations

import json

import pytest

from brokers.memory import MemoryHouse
from schemas import Answer, Artefact, Citation, Drafted, Escalated, Question, Retrieved
from services import drafter, retriever
from services.drafter.handler import draft
from tests.services.desks import plan, prepared, retrieved, routed

pytestmark = pytest.mark.anyio

MODEL = Artefact("model", "m", "1")
DOCUMENT = Artefact("document", "fees", "v1")


async def decide(confidence: float, fact: Retrieved) -> object:
    async def read(_: Retrieved) -> tuple[Answer, tuple[Artefact, ...]]:
        cited = Citation(document_id="fees", document_version="v1", start=0, end=1, quote="x")
        return Answer(text="x", confidence=confidence, citations=(cited,)), (MODEL, DOCUMENT)

    async def extract(_: Question) -> Answer:
        return Answer(text="{}", format="json")

    (outcome,) = await draft(fact, read=read, extract=extract, escalate_below=0.6, beyond=frozenset({"weather"}))
    return outcome


WEATHER = {"intent": "weather", "intent_confidence": 0.9}


@pytest.mark.parametrize(
    ("confidence", "fact", "kind", "reason"),
    [
        (0.6, retrieved("q"), Drafted, ""),
        (0.59, retrieved("q"), Escalated, "low_confidence"),
        (0.59, retrieved("q", plan_=plan(may_escalate=False)), Drafted, ""),
        (0.99, retrieved("q", plan_=plan(where="cloud")), Escalated, "planned"),
        (0.99, retrieved("q", plan_=plan(where="cloud", may_escalate=False)), Drafted, ""),
        (0.1, retrieved("q", **WEATHER), Drafted, ""),
        (0.1, retrieved("q", intent="weather", intent_confidence=0.7), Escalated, "low_confidence"),
        (0.99, retrieved("q", **WEATHER), Drafted, ""),
        (0.0, retrieved("q", workload="extract", schema="{}"), Drafted, ""),
        (0.0, retrieved("q", workload="classify"), Drafted, ""),
    ],
)
async def test_the_edge_escalates_only_what_it_is_unsure_of_and_may(
    confidence: float, fact: Retrieved, kind: type, reason: str
) -> None:
    outcome = await decide(confidence, fact)
    assert type(outcome) is kind
    assert getattr(outcome, "reason", "") == reason


async def test_what_goes_up_names_the_model_and_no_document_or_passage_of_the_site() -> None:
    outcome = await decide(0.3, retrieved("q"))
    assert isinstance(outcome, Escalated)
    assert outcome.lineage == (MODEL,)
    assert outcome.edge_confidence == 0.3


async def test_a_draft_has_the_model_and_the_cited_documents_in_its_lineage() -> None:
    outcome = await decide(0.9, retrieved("q"))
    assert isinstance(outcome, Drafted)
    assert outcome.lineage == (MODEL, DOCUMENT)


async def test_a_classification_is_the_prefilters_with_its_own_confidence() -> None:
    outcome = await decide(0.0, retrieved("q", workload="classify", intent="hours", intent_confidence=0.75))
    assert isinstance(outcome, Drafted)
    assert json.loads(outcome.answer.text) == {"intent": "hours", "confidence": 0.75}
    assert (outcome.answer.format, outcome.answer.confidence) == ("json", 0.75)
    assert [(check.name, check.passed) for check in outcome.answer.checks] == [("schema", True)]


async def test_a_site_answers_what_its_documents_say_and_asks_the_hub_what_only_the_hub_knows() -> None:
    house = MemoryHouse("site1")
    async with retriever.open(prepared(), house) as retrieve, drafter.open(prepared(), house) as answer:
        for text, kind in (
            ("What does a banker's draft cost?", Drafted),
            ("Who is the chief executive of the bank?", Escalated),
        ):
            (found,) = await retrieve(routed(text))
            (outcome,) = await answer(found)
            assert type(outcome) is kind, text
        (found,) = await retrieve(routed("What does a banker's draft cost?"))
        (drafted,) = await answer(found)
        assert "£12" in drafted.answer.text
        assert [part.kind for part in drafted.lineage] == ["index", "model", "document"]


async def test_a_site_fills_a_schema_without_any_passage() -> None:
    schema = json.dumps({"properties": {"reference": {"type": "string"}}, "required": ["reference"]})
    async with drafter.open(prepared(), MemoryHouse("site1")) as answer:
        (drafted,) = await answer(retrieved("Reference: QX-1", workload="extract", schema=schema))
        assert json.loads(drafted.answer.text) == {"reference": "QX-1"}
