"""Fills a site's answer cache from the site's own answers as they are published.

No answer with personal data or a vault token in it is kept. Next: answer_cache.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tidegate.brokers.base import CoreClient
from tidegate.schemas import Answer, Draft, Published, Retrieved, decode
from tidegate.schemas.subjects import PIPE, fact_subject
from tidegate.schemas.vault_token import tokens_in
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.stages.drafter.answer_cache import AnswerCache, CachedAnswer


class AnswerCacheWriter:
    """Every drafter of the site receives every answer. What one tenant was answered is cached for that tenant alone."""

    def __init__(
        self,
        client: CoreClient,
        cache: AnswerCache,
        detector_of: Callable[[str], Detector],
        draft_from_text: Callable[[str], Draft],
    ) -> None:
        """`detector_of` gives a tenant's; `draft_from_text` the tokens in which the cloud may be expected to give a
        text again."""
        self._client = client
        self._cache = cache
        self._detector_of = detector_of
        self._draft_from_text = draft_from_text

    async def receive(self, _: str, data: bytes) -> None:
        """Take in one published answer. Raises `UnreadableError` and `UnreachableError` to the bus, which reports them.

        The cloud's answer is cached; where the cloud now has no answer, or none that may be kept, its previous one is
        removed.
        """
        published = decode(data, Published)
        self._cache.observe_versions(published.tenant, published.receipt.lineage)
        if not is_from_cloud(published) or not self._cache.has_tenant(published.tenant):
            return
        stored = await self._client.last(PIPE, fact_subject(Retrieved, published.tenant, published.rid))
        if stored is None:
            return
        question = decode(stored, Retrieved).question
        if not await asyncio.to_thread(self._may_be_kept, published):
            self._cache.remove(published.tenant, question)
            return
        cached = CachedAnswer(answer_of(published), self._draft_from_text(published.text))
        self._cache.put(published.tenant, question, cached, published.receipt.lineage)

    def _may_be_kept(self, published: Published) -> bool:
        if published.outcome != "answered" or published.format != "text":
            return False
        texts = (published.text, *(citation.quote for citation in published.citations))
        detector = self._detector_of(published.tenant)
        return not any(tokens_in(text) or detector.find(text) for text in texts)


def is_from_cloud(published: Published) -> bool:
    """Whether the cloud settled it, be it that there is no answer."""
    return published.receipt.route == "cloud" and published.receipt.finished_by is None


def answer_of(published: Published) -> Answer:
    """The answer as the policy let it pass."""
    return Answer(
        text=published.text,
        format=published.format,
        citations=published.citations,
        confidence=published.confidence,
        checks=published.receipt.checks,
    )
