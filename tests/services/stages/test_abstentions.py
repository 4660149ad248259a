"""Whether an edge was right not to answer, by what the hub says then."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from tests.support.escalation_site import retrieved
from tidegate.schemas import Answer, Draft, Escalated, Speculation, Verified
from tidegate.services.stages.cloud_verifier.abstentions import AbstentionMetrics, judge_abstention

SAID = "The office opens at nine."


def escalated(reason: str, text: str | None, ids: tuple[int, ...] = ()) -> Escalated:
    asked = retrieved("q")
    draft = None if text is None else Draft(ids=ids, tokenizer="t", text=text)
    return asked.followed_by(Escalated, question=asked.question, plan=asked.plan, reason=reason, draft=draft)


def verified(of: Escalated, text: str = SAID, spent: Speculation | None = None) -> Verified:
    answer = Answer(text=text, confidence=0.9, speculation=spent)
    return of.followed_by(Verified, question=of.question, plan=of.plan, answer=answer)


@pytest.mark.parametrize(
    ("asked", "spent", "is_sure", "verdict"),
    [
        (escalated("no_answer", None), None, True, "right"),
        (escalated("low_confidence", SAID), None, False, "right"),
        (escalated("low_confidence", "The office  opens at nine."), None, True, "needless"),
        (escalated("entailment", "The office opens at ten."), None, True, "right"),
        (escalated("low_confidence", None), None, True, "unknown"),
        (escalated("low_confidence", "", (1, 2)), None, True, "unknown"),
        (
            escalated("low_confidence", "", (1, 2)),
            Speculation(steps=1, tokens=2, drafted=2, accepted=2),
            True,
            "needless",
        ),
        (escalated("low_confidence", "", (1, 2)), Speculation(steps=1, tokens=2, drafted=2, accepted=1), True, "right"),
    ],
)
def test_an_abstention_is_judged_by_the_hubs_answer(
    asked: Escalated, spent: Speculation | None, is_sure: bool, verdict: str
) -> None:
    assert judge_abstention(asked, verified(asked, spent=spent), is_sure=is_sure) == verdict


def test_what_was_planned_for_the_hub_is_no_abstention() -> None:
    registry = CollectorRegistry()
    metrics = AbstentionMetrics(registry)
    for reason in ("planned", "low_confidence"):
        asked = escalated(reason, SAID)
        metrics.count(asked, verified(asked), is_sure=True)
    counted = {reason: registry.get_sample_value(
        "tidegate_edge_abstentions_total", {"reason": reason, "verdict": "needless"}
    ) for reason in ("planned", "low_confidence")}  # fmt: skip
    assert counted == {"planned": None, "low_confidence": 1.0}
