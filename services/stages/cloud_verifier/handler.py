"""What the cloud verifier decides: nothing but who is asked; the verdict is whatever its backend can prove."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tidegate.schemas import Answer, Artefact, Escalated, Message, Verified

Backend = Callable[[Escalated], Awaitable[tuple[Answer, tuple[Artefact, ...]]]]
"""From an escalated question to the cloud's answer and what made it; an empty text with confidence 0 means none.

Raises `RetryLaterError` when it cannot answer now.
"""


async def verify(escalated: Escalated, *, answer: Backend) -> list[Message]:
    """The cloud's verdict on one escalated question."""
    found, parts = await answer(escalated)
    return [
        escalated.followed_by(Verified, *parts, question=escalated.question, plan=escalated.plan, answer=found),
    ]
