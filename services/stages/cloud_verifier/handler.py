"""What the cloud verifier decides: nothing but who is asked; the verdict is whatever its backend can prove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidegate.schemas import Answer, Artefact, Escalated, Question, Suggestion, Verified
from tidegate.services.stages.cloud_verifier.extraction import extract_at_hub

Backend = Callable[[Escalated], Awaitable[tuple[Answer, tuple[Artefact, ...]]]]
"""From an escalated question to the cloud's answer and what made it; an empty text with confidence 0 means none.

Raises `RetryLaterError` when it cannot answer now.
"""
FindSuggestions = Callable[[Escalated], Awaitable[tuple[Suggestion, ...]]]
"""The passages of the hub's own documents that are nearest to a question."""


async def verify(
    escalated: Escalated,
    *,
    answer: Backend,
    suggest: FindSuggestions,
    sure_from: Callable[[Question], float],
    extract: Backend = extract_at_hub,
) -> list[Verified]:
    """The cloud's verdict on one escalated question, with the nearest passages where its confidence is less than the
    question needs, which `sure_from` says: the site may abstain then."""
    is_extraction = escalated.question.workload == "extract"
    found, parts = await (extract if is_extraction else answer)(escalated)
    fields = {"question": escalated.question, "plan": escalated.plan, "answer": found}
    is_sure = bool(found.text) and found.confidence >= sure_from(escalated.question)
    suggestions = () if is_sure or is_extraction else await suggest(escalated)
    return [escalated.followed_by(Verified, *parts, **fields, suggestions=suggestions)]
