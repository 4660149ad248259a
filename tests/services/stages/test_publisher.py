"""The publisher: one visible answer with the receipt that says why, whatever way it came."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from tests.support.message_parts import REPLICATED
from tests.support.paths import KIOSK
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Check,
    Citation,
    Committed,
    Decision,
    Evidence,
    ForecastBasis,
    ForecastOutcome,
    Outcome,
    Plan,
    Published,
    Question,
    Receipt,
    Replied,
    Speculation,
    StageTiming,
    Withheld,
    decode,
    encode,
)
from tidegate.schemas.refusal_texts import LANGUAGES, REFUSAL_TEXTS, refusal_text
from tidegate.services.settings import Settings
from tidegate.services.stages.publisher import forecast_outcome
from tidegate.services.stages.publisher import open as open_publisher
from tidegate.services.stages.publisher.handler import PublisherPorts, publish, reconcile
from tidegate.services.stages.publisher.metrics import FreshnessMetrics

pytestmark = pytest.mark.anyio

PLAN = Plan(
    where="edge", may_escalate=True, k=8, model="reader", shares_ms={"drafter": 5.0}, config_version="t", reason="why"
)
CITATION = Citation(document_id="d", document_version="v", start=3, end=8, quote="quote")
DECISIONS = (Decision("safe/grounded_claims", "allow", "cited"),)
CHECKS = (Check("grounding", True, 1.0),)
MODEL = Artefact("model", "minilm", "53aa")
VERSIONS = (Artefact("software", "tidegate", "1"), Artefact("pack", "kiosk", "abc"))
REASONS = get_args(get_type_hints(Withheld)["reason"])

APPROVED = Approved(
    rid="r1",
    tenant="kiosk",
    site="site1",
    asked_at_ms=1,
    deadline_at_ms=2,
    timings=(StageTiming("drafter", 1.0, 2.0),),
    lineage=(MODEL,),
    question=Question(text="?", language="de", intent="cards", intent_confidence=1.0),
    plan=PLAN,
    route="cloud",
    answer=Answer(text='{"a": 1}', format="json", citations=(CITATION,), confidence=0.75, checks=CHECKS),
    decisions=DECISIONS,
)


def withheld(reason: str, text: str = "", language: str = "en", plan: Plan | None = None) -> Withheld:
    return Withheld(
        rid="r1",
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        lineage=(MODEL,),
        reason=reason,  # type: ignore[arg-type]
        stage="policy",
        language=language,
        text=text,
        plan=plan,
        route="cloud",
        decisions=DECISIONS,
    )


async def unasked(_: Published) -> Any:
    raise AssertionError("nothing of this answer can have been shown")


async def published(fact: Approved | Withheld | Replied) -> Published:
    [answer] = await publish(fact, PublisherPorts(unasked, unasked, forecast_outcome), VERSIONS)
    assert isinstance(answer, Published)
    assert decode(encode(answer), Published) == answer
    return answer


async def test_a_reply_is_published_as_an_answer_that_cites_nothing_and_says_why() -> None:
    replied = Replied(
        rid="r1",
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        lineage=(MODEL,),
        reason="distress",
        stage="prefilter",
        text="Call 112 now.",
        language="en",
        confidence=0.75,
        decisions=DECISIONS,
    )
    answer = await published(replied)
    assert (answer.outcome, answer.reason, answer.text, answer.citations) == ("answered", "distress", replied.text, ())
    assert (answer.receipt.plan, answer.receipt.route, answer.receipt.decisions) == (None, "edge", DECISIONS)
    assert answer.receipt.lineage == (MODEL, *VERSIONS)


async def test_an_approved_answer_is_published_as_it_stands_with_its_whole_receipt() -> None:
    assert await published(APPROVED) == Published(
        rid="r1",
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        timings=(StageTiming("drafter", 1.0, 2.0),),
        lineage=(MODEL,),
        outcome="answered",
        text='{"a": 1}',
        format="json",
        language="de",
        citations=(CITATION,),
        confidence=0.75,
        receipt=Receipt(
            site="site1",
            route="cloud",
            plan=PLAN,
            lineage=(MODEL, *VERSIONS),
            citations=(CITATION,),
            decisions=DECISIONS,
            checks=CHECKS,
        ),
    )


OUTCOMES: dict[str, Outcome] = {
    "unsupported_language": "withheld",
    "evidence_only": "withheld",
    "unsafe": "withheld",
    "unscreenable": "withheld",
    "forged_token": "withheld",
    "policy_block": "withheld",
    "closed": "withheld",
    "abstained": "abstained",
    "cloud_unreachable": "abstained",
    "hub_refused": "abstained",
    "unclear": "abstained",
    "deadline": "abstained",
}


@pytest.mark.parametrize("reason", REASONS)
async def test_every_reason_has_an_outcome_and_a_receipt_even_without_a_plan(reason: str) -> None:
    answer = await published(withheld(reason))
    assert (answer.outcome, answer.reason) == (OUTCOMES[reason], reason)
    assert (answer.citations, answer.confidence, answer.format) == ((), 0.0, "text")
    receipt = answer.receipt
    assert (receipt.plan, receipt.route, receipt.decisions) == (None, "cloud", DECISIONS)
    assert receipt.lineage == (MODEL, *VERSIONS)


async def test_a_plan_that_was_made_is_in_the_receipt_of_what_was_withheld() -> None:
    assert (await published(withheld("abstained", plan=PLAN))).receipt.plan == PLAN


async def test_the_stage_s_own_sentence_is_published_and_else_the_common_one() -> None:
    assert (await published(withheld("abstained", "Nothing found."))).text == "Nothing found."
    assert (await published(withheld("deadline", language="es"))).text == refusal_text("deadline", "es")


async def test_what_had_a_part_twice_is_named_once() -> None:
    [answer] = await publish(APPROVED, PublisherPorts(unasked, unasked, forecast_outcome), (*VERSIONS, MODEL))
    assert isinstance(answer, Published)
    assert answer.receipt.lineage == (MODEL, *VERSIONS)


def test_there_is_a_sentence_of_its_own_for_every_reason_and_language() -> None:
    assert set(REFUSAL_TEXTS) == set(REASONS) == set(OUTCOMES)
    texts = [refusal_text(reason, language) for reason in REASONS for language in LANGUAGES]
    assert len(set(texts)) == len(REASONS) * len(LANGUAGES)
    assert refusal_text("unsafe", "") == refusal_text("unsafe", "it") == refusal_text("unsafe", "en")


async def test_the_opened_publisher_names_its_software_and_its_pack() -> None:
    pack = KIOSK
    async with open_publisher(Settings(pack_dir=str(pack)), MemoryBus("site1")) as handler:
        [answer] = await handler(APPROVED)
    assert isinstance(answer, Published)
    software, kiosk = answer.receipt.lineage[-2:]
    assert (software.kind, software.id) == ("software", "tidegate")
    assert kiosk.kind == "pack"
    assert software.version
    assert len(kiosk.version) >= 12


SPENT = Speculation(steps=9, tokens=30, draft_bytes=300, model="target@1")


@pytest.mark.parametrize("is_approved", [True, False])
async def test_the_receipt_says_when_the_answer_was_expected_and_when_it_was_judged(is_approved: bool) -> None:
    basis = ForecastBasis(class_name="cards", spent_ms=25.0)
    plan = msgspec.structs.replace(PLAN, forecast_ms={"edge_only": 60.0}, basis=basis)
    timings = (StageTiming("prefilter", 1.0, 20.0), StageTiming("drafter", 2.0, 48.0), StageTiming("policy", 1.0, 4.0))
    settled = APPROVED if is_approved else msgspec.structs.replace(withheld("abstained"), speculation=SPENT)
    fact = msgspec.structs.replace(settled, plan=plan, timings=timings, route="edge")
    async with open_publisher(Settings(pack_dir=str(KIOSK)), MemoryBus("site1")) as handler:
        [answer] = await handler(fact)
    assert isinstance(answer, Published)
    assert answer.receipt.forecast == ForecastOutcome("edge_only", 85.0, 80.0)
    assert answer.receipt.speculation == (APPROVED.answer.speculation if is_approved else SPENT)


STALE = msgspec.structs.replace(CITATION, **REPLICATED)


async def test_what_is_stale_is_counted_in_the_receipt_and_in_the_metrics() -> None:
    fresh = msgspec.structs.replace(STALE, is_fresh=True)
    other = msgspec.structs.replace(STALE, collection="notices")
    answer = msgspec.structs.replace(APPROVED.answer, citations=(CITATION, fresh, STALE, other, STALE))
    registry = CollectorRegistry()
    metrics = FreshnessMetrics(registry)
    for given, stale in ((answer, 3), (APPROVED.answer, 0)):
        answered = await published(msgspec.structs.replace(APPROVED, answer=given))
        assert answered.receipt.stale_citations == stale
        assert answered.citations == given.citations
        metrics.count(answered)
    count = registry.get_sample_value
    assert count("tidegate_answers_stale_total", {"tenant": "kiosk"}) == 1
    for collection, cited in (("documents", 2), ("notices", 1)):
        labels = {"tenant": "kiosk", "collection": collection}
        assert count("tidegate_citations_stale_total", labels) == cited


async def test_the_opened_publisher_counts_what_it_serves_stale() -> None:
    def served() -> float:
        return REGISTRY.get_sample_value("tidegate_answers_stale_total", {"tenant": "kiosk"}) or 0.0

    before = served()
    answer = msgspec.structs.replace(APPROVED.answer, citations=(STALE,))
    async with open_publisher(Settings(pack_dir=str(KIOSK)), MemoryBus("site1")) as handler:
        await handler(msgspec.structs.replace(APPROVED, answer=answer))
        await handler(APPROVED)
    assert served() == before + 1


def test_what_was_committed_is_counted_and_not_what_came_too_late() -> None:
    late = Published(
        rid="r1", tenant="kiosk", site="site1", asked_at_ms=1, deadline_at_ms=2, outcome="answered", text="late",
        receipt=Receipt(
            site="site1", route="cloud", plan=PLAN, lineage=(), citations=(), decisions=(), stale_citations=0
        ),
    )  # fmt: skip
    committed = Committed(text="soon", evidence=Evidence(citations=(STALE,)))
    assert reconcile(late, committed).receipt.stale_citations == 1
