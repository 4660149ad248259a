"""How a site comes to remember what the cloud has answered: it hears its own answers as they are published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.brokers.base import Wire
from tidegate.schemas import Answer, Draft, Published, Retrieved, decode
from tidegate.schemas.subjects import PIPE, hop
from tidegate.services.privacy.dlp import Detector
from tidegate.services.privacy.vault import tokens_in
from tidegate.services.stages.drafter.answer_cache import Memory, Past


class Learner:
    """Fills a memory from the answers of a site. Every drafter of the site hears every answer.

    What was said to one tenant is recalled for that tenant alone. An answer with personal data in it, or with a vault
    token, which is somebody's, is never remembered.
    """

    def __init__(self, house: Wire, memory: Memory, detector: Detector, draft: Callable[[str], Draft]) -> None:
        """`draft` gives the tokens in which a text may be expected to be said again."""
        self._house = house
        self._memory = memory
        self._detector = detector
        self._draft = draft

    async def hear(self, _: str, data: bytes) -> None:
        """Learn from one published answer. Raises `UnreadableError` and `Unreachable` to the house, which reports them.

        What the cloud answered is remembered; where it now has no answer, or none that may be kept, the one that it
        gave before is forgotten.
        """
        published = decode(data, Published)
        self._memory.notice(published.tenant, published.receipt.lineage)
        if not is_clouds_word(published) or not self._memory.serves(published.tenant):
            return
        stored = await self._house.last(PIPE, hop(Retrieved, published.tenant, published.rid))
        if stored is None:
            return
        question = decode(stored, Retrieved).question
        if not await asyncio.to_thread(self._may_be_kept, published):
            self._memory.forget(published.tenant, question)
            return
        past = Past(answer_in(published), self._draft(published.text))
        self._memory.remember(published.tenant, question, past, published.receipt.lineage)

    def recall(self, retrieved: Retrieved) -> tuple[Answer, Draft] | None:
        """What the cloud answered to the same question, over the index as it is now; see `Memory.recall`."""
        self._memory.notice(retrieved.tenant, retrieved.lineage)
        past = self._memory.recall(retrieved.tenant, retrieved.question)
        return None if past is None else (past.answer, past.draft)

    def _may_be_kept(self, published: Published) -> bool:
        if published.outcome != "answered" or published.format != "text":
            return False
        texts = (published.text, *(citation.quote for citation in published.citations))
        return not any(tokens_in(text) or self._detector.find(text) for text in texts)


def is_clouds_word(published: Published) -> bool:
    """Whether the cloud has said the last word, be it that there is no answer."""
    return published.receipt.route == "cloud" and published.receipt.finished_by is None


def answer_in(published: Published) -> Answer:
    """The answer as the policy let it pass."""
    return Answer(
        text=published.text,
        format=published.format,
        citations=published.citations,
        confidence=published.confidence,
        checks=published.receipt.checks,
    )
