"""Publishes the beginning of one answer, sentence by sentence, while the rest of it is still being made.

Promises that partials go out in order, each longer than the last; next: `answerer`, `stages/cloud_verifier`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from tidegate.schemas import Answer, Artefact, Escalated, Partial

PublishPartial = Callable[[Partial], Awaitable[None]]


class SentenceStream:
    """One answer's partials. What was published is never published again."""

    def __init__(self, escalated: Escalated, publish: PublishPartial) -> None:
        self._escalated = escalated
        self._publish = publish
        self._length = 0
        self._last: asyncio.Task[None] | None = None

    def show(
        self, answer: Answer, parts: Sequence[Artefact], *, ids: Sequence[int] = (), is_whole: bool = False
    ) -> None:
        """Publish the answer so far, if that is more than before; `parts` are what has had a part in it."""
        if len(answer.text) <= self._length:
            return
        self._length = len(answer.text)
        partial = self._escalated.followed_by(
            Partial,
            *parts,
            source="cloud",
            question=self._escalated.question,
            plan=self._escalated.plan,
            answer=answer,
            ids=tuple(ids),
            is_whole=is_whole,
        )
        self._last = asyncio.create_task(self._publish_after(self._last, partial))

    async def drain(self) -> None:
        """Return when all is published; raises what publishing raised."""
        if self._last is not None:
            await self._last

    async def _publish_after(self, before: asyncio.Task[None] | None, partial: Partial) -> None:
        if before is not None:
            await before
        await self._publish(partial)
