"""The publisher: the one visible answer to a request, and the receipt that says why it is so.

Next: publisher/__init__.py and services/streaming/log_writer.py, the log of what was shown before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidegate.schemas import (
    Answer,
    Approved,
    Artefact,
    Citation,
    Committed,
    ForecastOutcome,
    Guess,
    InstructionsReport,
    Message,
    Published,
    Question,
    Receipt,
    Replied,
    Rewriting,
    Withheld,
    WritingReport,
    digest_of,
    replace,
)
from tidegate.schemas.refusal_texts import refusal_text

ABSTENTIONS = frozenset({"abstained", "cloud_unreachable", "deadline", "unclear", "hub_refused"})
"""Reasons for which there is no answer, as opposed to those for which there must be none."""


EVIDENCE_ONLY = "evidence_only"
FORBIDDEN = frozenset({"policy_block", "unsupported_language", EVIDENCE_ONLY})
"""Reasons for which what was shown of the answer may not stand either."""


class ClosedLog(Protocol):
    """What was shown before the log was closed: how often text was retracted, what was provisional first, and how many
    committed characters were withdrawn."""

    @property
    def retractions(self) -> int: ...
    @property
    def guess(self) -> Guess | None: ...
    @property
    def withdrawn(self) -> int: ...


@dataclass(frozen=True)
class PublisherPorts:
    """What the publisher may call."""

    committed_part: Callable[[Published], Awaitable[Committed]]
    """What is committed of the answer already."""
    close: Callable[[Published], Awaitable[ClosedLog | None]]
    """Closes the log of what was shown over the answer's text; None when more had been committed in between."""
    forecast_outcome: Callable[[Approved | Withheld], ForecastOutcome | None]
    """When the answer was expected and when it was judged; None where nothing was forecast."""
    enforce: Callable[[Approved], Approved | Withheld] = lambda approved: approved
    """The answer as it may be published under the switches that are on now; as it is where there can be none."""
    may_stand: Callable[[Approved | Withheld, Committed], bool] = lambda _settled, _committed: True
    """Whether what was committed may go on being shown under the switches that are on now."""
    withdraw: Callable[[Published, str], Awaitable[ClosedLog | None]] | None = None
    """Takes back all that was shown, for a reason, and closes the log over the answer's text; None when it was closed
    otherwise in between. Without it what was committed stands, whatever came."""


async def publish(
    settled: Approved | Withheld | Replied, ports: PublisherPorts, versions: Sequence[Artefact]
) -> list[Message]:
    """One `Published`. That there is never a second one is the stream's work; that it is the same each time is ours.

    `versions` are the software and the pack that had a part in every answer. Where the cloud was asked, parts of the
    answer may have been shown: what was committed stands, whatever was settled since.
    """
    if isinstance(settled, Replied):
        return [publish_reply(settled, versions)]
    if isinstance(settled, Approved):
        settled = ports.enforce(settled)
    answer = settled.answer if isinstance(settled, Approved) else Answer(text="")
    receipt = Receipt(
        site=settled.site,
        route=settled.route,
        plan=settled.plan,
        lineage=tuple(dict.fromkeys((*settled.lineage, *versions))),
        citations=answer.citations,
        decisions=settled.decisions,
        checks=answer.checks,
        checks_not_run=answer.not_run,
        degradations=settled.degradations,
        speculation=answer.speculation if isinstance(settled, Approved) else settled.speculation,
        writing=answer.writing,
        rewriting=rewriting_of(settled.question),
        forecast=ports.forecast_outcome(settled),
        instructions=instructions_of(settled, answer.writing),
        stale_citations=count_stale(answer.citations),
    )
    published = (
        publish_approved(settled, receipt) if isinstance(settled, Approved) else publish_refusal(settled, receipt)
    )
    return [await end_log(published, settled, ports) if was_shown(settled) else published]


async def end_log(published: Published, settled: Approved | Withheld, ports: PublisherPorts) -> Published:
    """The answer once the log of what was shown ends with it, and the receipt says what was taken back for it."""
    while True:
        committed = await ports.committed_part(published)
        reason = find_withdrawal(committed, settled, ports) if ports.withdraw is not None else ""
        if (
            reason and committed.is_closed and not committed.withdrawn
        ):  # its answer may be published; this one is not then
            return replace(published, receipt=replace(published.receipt, withdrawn_chars=len(committed.text)))
        if reason and ports.withdraw is not None:
            reconciled, closed = published, await ports.withdraw(published, reason)
        else:
            reconciled = reconcile(published, committed)
            closed = await ports.close(reconciled)
        if closed is not None:
            receipt = replace(
                reconciled.receipt,
                retractions=closed.retractions,
                guess=closed.guess,
                withdrawn_chars=closed.withdrawn,
            )
            return replace(reconciled, receipt=receipt)


def find_withdrawal(committed: Committed, settled: Approved | Withheld, ports: PublisherPorts) -> str:
    """Why what was committed has to be withdrawn: the whole of it was judged and may not be said, or a switch that came
    since lets only quotations stand; empty: it stands. A side that was lost forbids nothing: its sentences passed."""
    if not committed.text:
        return ""
    if isinstance(settled, Withheld) and settled.route == "cloud" and settled.reason in FORBIDDEN:
        return settled.reason
    return EVIDENCE_ONLY if committed.withdrawn or not ports.may_stand(settled, committed) else ""


def count_stale(citations: Sequence[Citation]) -> int:
    """How many of these are of a collection that was not known to be current."""
    return sum(not each.is_fresh for each in citations)


def rewriting_of(question: Question | None) -> Rewriting | None:
    """As what a follow-up was understood; None for a question that was taken as it was asked."""
    if question is None or not question.rewritten_by:
        return None
    return Rewriting(question.rewritten_by, question.text)


def instructions_of(settled: Approved | Withheld, writing: WritingReport | None) -> InstructionsReport | None:
    """What became of the asker's instructions; None where there were none, or the question was never screened."""
    question, plan = settled.question, settled.plan
    if question is None or not question.instructions:
        return None
    digest = digest_of(question.instructions)
    if writing is not None and writing.instructions:
        return InstructionsReport(digest=digest, is_used=True)
    if plan is None or plan.writing == "quote":
        return InstructionsReport(digest=digest, reason="policy")
    if isinstance(settled, Withheld):
        return InstructionsReport(digest=digest, reason="no_answer")
    if settled.route == "edge":
        return InstructionsReport(digest=digest, reason="site")
    return InstructionsReport(digest=digest, reason="hub" if writing is None else "no_room")


def was_shown(settled: Approved | Withheld) -> bool:
    """Whether anything of the answer can have been shown before it was settled: only where the cloud was asked.

    A drafter that was degraded may have asked before: in a session or a race that ended with it, at its first try.
    """
    lost = any(degradation.stage in {"fast-lane", "drafter"} for degradation in settled.degradations)
    return settled.plan is not None and settled.plan.mode != "edge_only" and (settled.route == "cloud" or lost)


def reconcile(published: Published, committed: Committed) -> Published:
    """The answer as it can be published where `committed` is shown for good.

    An answer that continues what is committed is published as it is. Anything else, a late verdict or word that there
    is none, comes too late: the sentences that were committed are the answer, with what they rest on, and the edge
    has finished it. The receipt records where that cuts an answer of which more was to come.
    """
    text, evidence = published.text, committed.evidence
    lineage = tuple(dict.fromkeys((*published.receipt.lineage, *evidence.lineage)))
    receipt = replace(published.receipt, lineage=lineage, committed_chars=len(committed.text))
    if text == committed.text or (text.startswith(committed.text) and not committed.is_over):
        took_over = receipt.route == "edge" and committed.text and not committed.is_closed
        return replace(published, receipt=replace(receipt, finished_by="edge") if took_over else receipt)
    if is_refusal(committed):
        return refuse_as_shown(published, committed, receipt)
    instructions = receipt.instructions
    if instructions is not None and evidence.writing is not None and evidence.writing.instructions:
        instructions = InstructionsReport(digest=instructions.digest, is_used=True)
    receipt = replace(
        receipt,
        citations=evidence.citations,
        stale_citations=count_stale(evidence.citations),
        checks=evidence.checks,
        writing=evidence.writing,
        instructions=instructions,
        finished_by="edge",
        is_cut=not committed.is_whole,
    )
    return replace(
        published,
        outcome="answered",
        text=committed.text,
        citations=evidence.citations,
        confidence=evidence.confidence,
        suggestions=(),
        notices=evidence.notices,
        receipt=receipt,
    )


def is_refusal(committed: Committed) -> bool:
    """Whether the log was closed over a sentence that says that there is no answer: it rests on nothing."""
    return committed.is_closed and not committed.evidence.citations and not committed.evidence.confidence


def refuse_as_shown(published: Published, committed: Committed, receipt: Receipt) -> Published:
    """No answer, in the words that the asker was shown. Its publisher was lost between closing the log and storing the
    answer, and another outcome came meanwhile: it must neither be shown nor lend a refusal the name of an answer."""
    if published.outcome != "answered":
        return replace(published, text=committed.text, receipt=receipt)
    return replace(
        published,
        outcome="abstained",
        reason="abstained",
        text=committed.text,
        format="text",
        citations=(),
        confidence=0.0,
        fields=(),
        notices=(),
        receipt=replace(receipt, citations=(), stale_citations=0, checks=(), writing=None),
    )


def publish_approved(settled: Approved, receipt: Receipt) -> Published:
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
        fields=answer.fields,
        notices=settled.notices,
        receipt=receipt,
    )


def publish_reply(settled: Replied, versions: Sequence[Artefact]) -> Published:
    """The site's own words, for which no document speaks; the reason says why there are such."""
    receipt = Receipt(
        site=settled.site,
        route="edge",
        plan=None,
        lineage=tuple(dict.fromkeys((*settled.lineage, *versions))),
        citations=(),
        decisions=settled.decisions,
        instructions=InstructionsReport(digest=settled.instructions, reason="reply") if settled.instructions else None,
    )
    return settled.followed_by(
        Published,
        outcome="answered",
        reason=settled.reason,
        text=settled.text,
        language=settled.language,
        confidence=settled.confidence,
        receipt=receipt,
    )


def publish_refusal(settled: Withheld, receipt: Receipt) -> Published:
    """No answer, with a sentence for the asker and the decisions that led there."""
    return settled.followed_by(
        Published,
        outcome="abstained" if settled.reason in ABSTENTIONS else "withheld",
        reason=settled.reason,
        text=settled.text or refusal_text(settled.reason, settled.language),
        language=settled.language,
        suggestions=settled.suggestions,
        fields=settled.fields,
        receipt=receipt,
    )
