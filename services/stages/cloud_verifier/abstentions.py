"""Abstention correctness as the hub sees it: whether an edge that would not answer was right not to.

Next: cloud_verifier/__init__.py, which counts; services/evaluation/report.py, where the truth is known."""

from __future__ import annotations

from typing import Literal

from prometheus_client import REGISTRY, CollectorRegistry, Counter

from tidegate.schemas import Escalated, Verified

AbstentionVerdict = Literal["right", "needless", "unknown"]
PLANNED = "planned"
"""The reason of an escalation by which the edge did not abstain: the question was for the hub."""


class AbstentionMetrics:
    """By the reason for which the edge did not answer."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        counted = "Answers that an edge kept back, by whether the hub's answer shows that to be right or needless."
        self._counted = Counter("tidegate_edge_abstentions", counted, ["reason", "verdict"], registry=registry)

    def count(self, escalated: Escalated, verified: Verified, *, is_sure: bool) -> None:
        """Count what the hub made of one escalation; none that was planned."""
        if escalated.reason != PLANNED:
            self._counted.labels(escalated.reason, judge_abstention(escalated, verified, is_sure=is_sure)).inc()


def judge_abstention(escalated: Escalated, verified: Verified, *, is_sure: bool) -> AbstentionVerdict:
    """Right: the edge had nothing, the hub is not sure either, or it says something else than the edge's draft.
    Needless: it says what the draft says. Unknown: the draft did not come up, or was made of other tokens."""
    draft, spent = escalated.draft, verified.answer.speculation
    if not is_sure or escalated.reason == "no_answer":
        return "right"
    if draft is None:
        return "unknown"
    if draft.text:
        return "needless" if _plain(draft.text) == _plain(verified.answer.text) else "right"
    if spent is None or not spent.drafted:
        return "unknown"
    return "needless" if spent.accepted == spent.drafted else "right"


def _plain(text: str) -> str:
    return " ".join(text.split())
