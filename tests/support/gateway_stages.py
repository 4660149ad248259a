"""Stand-in stages between the prefilter and the policy of gateway_site.py: the intent says what they do."""

from __future__ import annotations

from typing import Any

from tests.support.message_parts import REPLICATED
from tests.support.table_passages import TABLE_HEADER, TABLE_ROWS, TABLE_TEXT
from tidegate.schemas import (
    Answer,
    Citation,
    Degradation,
    Drafted,
    Escalated,
    Message,
    Plan,
    Retrieved,
    Routed,
    Screened,
    Verified,
)

PLAN = Plan(where="edge", may_escalate=True, k=8, model="multilingual", shares_ms={}, config_version="t1", reason="faq")


async def route(fact: Screened) -> list[Message]:
    return [fact.followed_by(Routed, question=fact.question, plan=PLAN)]


async def retrieve(fact: Routed) -> list[Message]:
    return [fact.followed_by(Retrieved, question=fact.question, plan=PLAN)]


async def draft(fact: Retrieved) -> list[Message]:
    """The stand-in drafter, which cites a table, a page that was scanned, or what a replica brought, where the question
    is about one, and escalates where it says so."""
    text, behaviour = fact.question.text, fact.question.intent
    if behaviour == "escalate":
        return [fact.followed_by(Escalated, question=fact.question, plan=PLAN, reason="low_confidence")]
    quotes = [text if behaviour in ("personal", "markup") else "The branch opens at nine."]
    if behaviour == "table":
        text, quotes = TABLE_TEXT, [TABLE_HEADER, *TABLE_ROWS]
    about: dict[str, Any] = {"page": 2, "is_recognised": True} if behaviour == "scan" else {}
    if behaviour == "stale":
        about = REPLICATED
    citations = tuple(
        Citation(
            document_id="hours", document_version="abc", start=100 * n, end=100 * n + len(quote), quote=quote, **about
        )
        for n, quote in enumerate(quotes)
    )
    form: Any = "json" if behaviour == "json" else "text"
    answer = Answer(text=text, format=form, citations=citations, confidence=0.87)
    degradations = (Degradation("drafter", "fewer_passages", 10.0, 20.0, "deadline"),) if behaviour == "table" else ()
    return [fact.followed_by(Drafted, question=fact.question, plan=PLAN, answer=answer, degradations=degradations)]


async def answer_from_cloud(fact: Escalated) -> list[Message]:
    """The stand-in fast lane, with a hub that has an answer at once."""
    answer = Answer(text=fact.question.text, confidence=0.9)
    return [fact.followed_by(Verified, question=fact.question, plan=PLAN, answer=answer)]
