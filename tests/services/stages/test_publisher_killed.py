"""A publisher is killed between the end of the log of what was shown and the answer: what the next one makes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.paths import KIOSK
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Answer, Approved, Check, Citation, Plan, Published, Question, Withheld
from tidegate.services.settings import Settings
from tidegate.services.stages.publisher import open as open_publisher

pytestmark = pytest.mark.anyio

PLAN = Plan(
    where="edge", may_escalate=True, k=8, model="m", shares_ms={}, config_version="t", reason="r", mode="cloud_stream"
)
WHOSE: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 1, "deadline_at_ms": 2}
QUESTION = Question(text="?", language="en", intent="cards", intent_confidence=1.0)
CITED = Citation(document_id="hours", document_version="v", start=0, end=9, quote="At eight.")
ANSWER = Answer(text="At eight.", citations=(CITED,), confidence=0.9, checks=(Check("grounding", True, 1.0),))
APPROVED = Approved(**WHOSE, question=QUESTION, plan=PLAN, route="cloud", answer=ANSWER, decisions=())


def withheld(reason: str, text: str) -> Withheld:
    fields: dict[str, Any] = {
        "reason": reason,
        "stage": "policy",
        "language": "en",
        "text": text,
        "plan": PLAN,
        "route": "cloud",
    }
    return Withheld(**WHOSE, **fields)


async def published_after(first: Approved | Withheld, second: Approved | Withheld) -> Published:
    """What a publisher makes of the second one, where another was killed before it had stored what it made of the
    first."""
    bus, settings = MemoryBus("site1"), Settings(pack_dir=str(KIOSK))
    async with open_publisher(settings, bus) as handler:
        await handler(first)
    async with open_publisher(settings, bus) as handler:
        [found] = await handler(second)
    assert isinstance(found, Published)
    return found


@pytest.mark.parametrize(
    "second", [withheld("deadline", "There was no time."), APPROVED], ids=["another refusal", "an answer"]
)
async def test_a_refusal_that_was_shown_stays_a_refusal_whatever_comes_next(second: Approved | Withheld) -> None:
    found = await published_after(withheld("cloud_unreachable", "It cannot be reached."), second)
    assert (found.outcome, found.text, found.citations) == ("abstained", "It cannot be reached.", ())
    assert found.reason == ("deadline" if second is not APPROVED else "abstained")
    assert not found.receipt.citations


async def test_an_answer_that_was_shown_stays_the_answer_whatever_comes_next() -> None:
    found = await published_after(APPROVED, withheld("deadline", "There was no time."))
    assert (found.outcome, found.text, found.citations) == ("answered", "At eight.", (CITED,))
