"""Publisher: the one visible answer to a request, and the receipt that says why it is so."""

from __future__ import annotations

from collections.abc import Sequence

from schemas import Approved, Artefact, Message, Outcome, Published, Receipt, Withheld
from schemas.sentences import sentence

ABSTENTIONS = frozenset({"abstained", "cloud_unreachable", "deadline"})
"""Reasons that say that there is no answer, not that there must be none."""


async def publish(settled: Approved | Withheld, *, versions: Sequence[Artefact]) -> list[Message]:
    """One `Published`. That there is never a second one is the stream's work; that it is the same each time is ours.

    `versions` are the software and the pack that had a part in every answer.
    """
    lineage = tuple(dict.fromkeys((*settled.lineage, *versions)))
    return [approved(settled, lineage) if isinstance(settled, Approved) else withheld(settled, lineage)]


def approved(settled: Approved, lineage: tuple[Artefact, ...]) -> Published:
    """The answer as the policy let it pass."""
    answer = settled.answer
    return settled.followed_by(
        Published,
        outcome="answered",
        text=answer.text,
        format=answer.format,
        language=settled.question.language,
        citations=answer.citations,
        confidence=answer.confidence,
        receipt=Receipt(
            site=settled.site,
            route=settled.route,
            plan=settled.plan,
            lineage=lineage,
            citations=answer.citations,
            decisions=settled.decisions,
            checks=answer.checks,
        ),
    )


def withheld(settled: Withheld, lineage: tuple[Artefact, ...]) -> Published:
    """No answer, with the sentence that says so and the decisions that led there."""
    outcome: Outcome = "abstained" if settled.reason in ABSTENTIONS else "withheld"
    return settled.followed_by(
        Published,
        outcome=outcome,
        reason=settled.reason,
        text=settled.text or sentence(settled.reason, settled.language),
        language=settled.language,
        receipt=Receipt(
            site=settled.site,
            route=settled.route,
            plan=settled.plan,
            lineage=lineage,
            citations=(),
            decisions=settled.decisions,
        ),
    )
