"""The hub sends the nearest passages along where its answer is less sure than the question needs."""

from __future__ import annotations

import pytest

from tests.services.stages.test_hub_extraction import ASKED
from tidegate.schemas import Answer, Artefact, Escalated, Suggestion, Verified, replace
from tidegate.services.stages.cloud_verifier.handler import verify
from tidegate.services.stages.settings import DrafterSettings

pytestmark = pytest.mark.anyio
ASKS = DrafterSettings(escalate_below=0.6, escalate_below_for={"fees": 0.8})
QUOTE = "A draft costs £12.50."
NEAREST = (
    Suggestion(document_id="fees", document_version="1", title="Fees", start=0, end=len(QUOTE), quote=QUOTE, score=0.6),
)


@pytest.mark.parametrize(
    ("intent", "confidence", "offers"),
    [("", 0.6, False), ("", 0.59, True), ("fees", 0.79, True), ("fees", 0.8, False)],
)
async def test_what_is_not_sure_enough_for_its_intent_comes_with_the_nearest_passages(
    intent: str, confidence: float, offers: bool
) -> None:
    async def answer(_: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        return Answer(text="£12.50", confidence=confidence), ()

    async def suggest(_: Escalated) -> tuple[Suggestion, ...]:
        return NEAREST

    asked = replace(ASKED, question=replace(ASKED.question, intent=intent, workload="qa", schema=""))
    (verdict,) = await verify(asked, answer=answer, suggest=suggest, sure_from=ASKS.least_confidence)
    assert isinstance(verdict, Verified)
    assert verdict.suggestions == (NEAREST if offers else ())
