"""The drafter: vouch, or ask the cloud."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import msgspec
import pytest

from brokers.memory import MemoryHouse
from schemas import (
    Answer,
    Artefact,
    Citation,
    Concession,
    Draft,
    Drafted,
    Escalated,
    Mode,
    Partial,
    Passage,
    Plan,
    Question,
    Retrieved,
    decode,
    encode,
)
from services import drafter, retriever
from services.drafter.handler import ShortOf, draft, rungs_of
from services.generation import TokenText
from tests.services.desks import plan, prepared, retrieved, routed

pytestmark = pytest.mark.anyio

MODEL = Artefact("model", "m", "1")
DOCUMENT = Artefact("document", "fees", "v1")


GUESS = Draft(ids=(10, 77, 2), tokenizer="0a1b2c3d4e5f", drafter="lookup")


async def decide(
    confidence: float,
    fact: Retrieved,
    *,
    told: list[Partial] | None = None,
    guess: Draft | None = GUESS,
    short_of: ShortOf = lambda *_: None,
    found: list[Retrieved] | None = None,
) -> Drafted | Escalated:
    async def read(given: Retrieved) -> tuple[Answer, tuple[Artefact, ...], Draft | None]:
        cited = Citation(document_id="fees", document_version="v1", start=0, end=1, quote="x")
        (found if found is not None else []).append(given)
        return Answer(text="x", confidence=confidence, citations=(cited,)), (MODEL, DOCUMENT), guess

    async def tell(partial: Partial) -> None:
        (told if told is not None else []).append(partial)

    async def extract(_: Question) -> Answer:
        return Answer(text="{}", format="json")

    (outcome,) = await draft(
        fact,
        read=read,
        extract=extract,
        tell=tell,
        escalate_below=0.6,
        short_of=short_of,
        beyond=frozenset({"weather"}),
    )
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


@pytest.mark.parametrize(
    ("mode", "shipped"),
    [
        ("edge_only", None),
        ("cloud_stream", None),
        ("cloud_with_shipped_draft", GUESS),
        ("race", GUESS),
        ("economy_loop", None),
    ],
)
async def test_the_draft_goes_along_where_the_plan_ships_it(mode: Mode, shipped: Draft | None) -> None:
    outcome = await decide(0.3, retrieved("q", plan_=msgspec.structs.replace(plan(), mode=mode)))
    assert isinstance(outcome, Escalated)
    assert outcome.draft == shipped


async def test_a_draft_that_may_not_leave_the_site_stays() -> None:
    outcome = await decide(0.3, retrieved("q", plan_=RACE), guess=None)
    assert isinstance(outcome, Escalated)
    assert outcome.draft is None


RACE = msgspec.structs.replace(plan(), mode="race", show_from=0.3)


@pytest.mark.parametrize(
    ("confidence", "can_retract", "plan_", "texts"),
    [
        (0.3, True, RACE, ["x"]),
        (0.29, True, RACE, []),
        (0.3, False, RACE, []),
        (0.3, True, msgspec.structs.replace(RACE, mode="cloud_with_shipped_draft"), []),
        (0.6, True, RACE, []),
    ],
)
async def test_a_race_shows_the_edges_answer_to_who_can_take_it_back(
    confidence: float, can_retract: bool, plan_: Plan, texts: list[str]
) -> None:
    told: list[Partial] = []
    await decide(confidence, retrieved("q", plan_=plan_, can_retract=can_retract), told=told)
    assert [partial.answer.text for partial in told] == texts
    assert all((partial.source, partial.is_whole, partial.rid) == ("edge", True, "r1") for partial in told)


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


async def test_a_site_ships_what_the_hubs_model_may_be_expected_to_say_and_tells_it_in_a_race() -> None:
    house = MemoryHouse("site1")
    heard: asyncio.Queue[Partial] = asyncio.Queue()

    async def hear(_: str, data: bytes) -> None:
        heard.put_nowait(decode(data, Partial))

    await house.listen("partial.drafted.>", hear)
    plan_ = msgspec.structs.replace(RACE, where="cloud", show_from=0.0)
    async with retriever.open(prepared(), house) as retrieve, drafter.open(prepared(), house) as answer:
        (found,) = await retrieve(routed("What does a banker's draft cost?", plan_=plan_, can_retract=True))
        (outcome,) = await answer(found)
        told = await heard.get()
    assert isinstance(outcome, Escalated)
    tokens = TokenText.load(Path(".models/lm/draft/tokenizer.json"))
    assert outcome.draft is not None
    assert (outcome.draft.drafter, outcome.draft.tokenizer) == ("lookup", tokens.digest)
    assert "£12" in tokens.decode(outcome.draft.ids)
    assert "£12" in told.answer.text


@pytest.mark.parametrize(("fee", "leaves"), [("£12", True), ("£12; call 020 7946 0958", False)])
async def test_a_draft_that_would_carry_personal_data_stays_at_the_site(fee: str, leaves: bool) -> None:
    text = f"A banker's draft costs {fee}."
    passage = Passage(
        document_id="new",
        document_version="v",
        title="Fees",
        text=text,
        language="en",
        start=0,
        end=len(text),
        score=1.0,
    )
    plan_ = msgspec.structs.replace(RACE, where="cloud")
    asked = retrieved("What does a banker's draft cost?", plan_=plan_, passages=(passage,))
    async with drafter.open(prepared(), MemoryHouse("site1")) as answer:
        (outcome,) = await answer(asked)
    assert isinstance(outcome, Escalated)
    assert (outcome.draft is not None) is leaves
    assert b"7946" not in encode(outcome)


HELD = msgspec.structs.replace(plan(), shares_ms={"drafter": 100.0, "cloud-verifier": 800.0, "publisher": 100.0})


@pytest.mark.parametrize("workload", ["assist", "extract"])
async def test_an_opened_drafter_neither_drafts_nor_asks_once_the_time_is_up_and_says_so(workload: str) -> None:
    late = retrieved("What does a banker's draft cost?", plan_=HELD, workload=workload, schema="{}")
    async with drafter.open(prepared(), MemoryHouse("site1")) as answer:
        (outcome,) = await answer(late)
    assert isinstance(outcome, Drafted)
    assert outcome.answer == Answer(text="")
    assert [(made.stage, made.rung) for made in outcome.concessions] == [("drafter", "abstain")]


def test_reading_and_extracting_are_learned_apart_and_from_done_work_only() -> None:
    now_ms = int(time.time() * 1000)
    asked = retrieved("q", plan_=HELD, asked_at_ms=now_ms, deadline_at_ms=now_ms + 60_000)
    filling = msgspec.structs.replace(
        asked, question=msgspec.structs.replace(asked.question, workload="extract", schema="{}")
    )
    paces = drafter.Paces()

    def conceded(fact: Retrieved) -> str:
        found = paces.short_of(fact, rungs_of(fact))
        return "" if found is None else found.rung

    def took(fact: Retrieved, worked_ms: float) -> None:
        paces.took(
            fact, fact.followed_by(Drafted, question=fact.question, plan=fact.plan, answer=Answer(text="x")), worked_ms
        )

    called_off = Concession("router", "abstain", 0.0, 1.0)
    took(msgspec.structs.replace(asked, concessions=(called_off,)), 1e6)
    assert (conceded(asked), conceded(filling)) == ("", "")
    took(asked, 1e6)
    assert (conceded(asked), conceded(filling)) == ("smaller_k", "")
    took(filling, 1e6)
    assert conceded(filling) == "abstain"
