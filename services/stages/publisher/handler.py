"""Publisher: the one visible answer to a request, and the receipt that says why it is so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from tidegate.schemas import (
    Approved,
    Artefact,
    Committed,
    Message,
    Outcome,
    Published,
    Receipt,
    Withheld,
    changed,
)
from tidegate.schemas.refusal_texts import sentence
from tidegate.services.streaming.log import LogClosure

ABSTENTIONS = frozenset({"abstained", "cloud_unreachable", "deadline"})
"""Reasons that say that there is no answer, not that there must be none."""


Standing = Callable[[Published], Awaitable[Committed]]
"""What is committed of the answer already."""


Close = Callable[[Published], Awaitable[LogClosure | None]]
"""Closes the log of what was shown over the answer's text; None when more had been committed in between."""


async def publish(
    settled: Approved | Withheld, *, versions: Sequence[Artefact], standing: Standing, close: Close
) -> list[Message]:
    """One `Published`. That there is never a second one is the stream's work; that it is the same each time is ours.

    `versions` are the software and the pack that had a part in every answer. Where the cloud was asked, parts of the
    answer may have been shown: what was committed stands, whatever was settled since.
    """
    lineage = tuple(dict.fromkeys((*settled.lineage, *versions)))
    published = approved(settled, lineage) if isinstance(settled, Approved) else withheld(settled, lineage)
    if not was_shown(settled):
        return [published]
    while True:
        reconciled = reconcile(published, await standing(published))
        closed = await close(reconciled)
        if closed is not None:
            receipt = changed(reconciled.receipt, retractions=closed.retractions, guess=closed.guess)
            return [changed(reconciled, receipt=receipt)]


def was_shown(settled: Approved | Withheld) -> bool:
    """Whether anything of the answer can have been shown before it was settled: only where the cloud was asked.

    A drafter that stepped down may have asked before: in a loop or a race that died with it, at its first try.
    """
    lost = any(degradation.stage in {"fast-lane", "drafter"} for degradation in settled.concessions)
    return settled.plan is not None and settled.plan.mode != "edge_only" and (settled.route == "cloud" or lost)


def reconcile(published: Published, stands: Committed) -> Published:
    """The answer as it can be published where `stands` is shown for ever.

    An answer that goes on from what stands is published as it is. Anything else, a late verdict or word that there is
    none, comes too late: the sentences that were committed are the answer, with what they rest on, and the edge has
    said the last word. The receipt says so where that cuts an answer of which more was to come.
    """
    text, evidence = published.text, stands.evidence
    lineage = tuple(dict.fromkeys((*published.receipt.lineage, *evidence.lineage)))
    receipt = changed(published.receipt, lineage=lineage, committed_chars=len(stands.text))
    if text == stands.text or (text.startswith(stands.text) and not stands.is_over):
        took_over = receipt.route == "edge" and stands.text and not stands.is_closed
        return changed(published, receipt=changed(receipt, finished_by="edge") if took_over else receipt)
    receipt = changed(
        receipt,
        citations=evidence.citations,
        checks=evidence.checks,
        finished_by="edge",
        is_cut=not stands.is_whole,
    )
    return changed(
        published,
        outcome="answered",
        text=stands.text,
        citations=evidence.citations,
        confidence=evidence.confidence,
        receipt=receipt,
    )


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
            concessions=settled.concessions,
            speculation=answer.speculation,
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
            concessions=settled.concessions,
        ),
    )
