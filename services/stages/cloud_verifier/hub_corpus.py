"""The hub's own corpus, as the backends of the cloud verifier see it."""

from __future__ import annotations

import asyncio

from tidegate.schemas import Answer, Artefact, Escalated, Passage
from tidegate.services.answering.answerer import NONE_BELOW
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.tenant_indexes import Shelf
from tidegate.services.knowledge.reader.read import survey_by
from tidegate.services.knowledge.reader.reader import Reader, Survey

K = 8


class HubCorpus:
    """The hub's own corpus, as the backends see it."""

    def __init__(self, shelf: Shelf, embedder: Embedder) -> None:
        self._shelf = shelf
        self._embedder = embedder

    async def find(self, escalated: Escalated, k: int = K) -> tuple[tuple[Passage, ...], tuple[Artefact, ...]]:
        """The k best passages for the question, and the index that they come from; none for an unknown tenant."""
        return await asyncio.to_thread(self._find, escalated, k)

    async def survey(self, reader: Reader, escalated: Escalated) -> tuple[Survey | None, tuple[Artefact, ...]]:
        """What the reader makes of the best passages, and what had a part in it."""
        return await asyncio.to_thread(self._survey, reader, escalated)

    async def read(self, reader: Reader, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The reader's own answer; an empty one where it has none."""
        survey, parts = await self.survey(reader, escalated)
        if survey is None or survey.answer.confidence < NONE_BELOW:
            return Answer(text=""), tuple(part for part in parts if part.kind != "document")
        return survey.answer, parts

    def _find(self, escalated: Escalated, k: int) -> tuple[tuple[Passage, ...], tuple[Artefact, ...]]:
        index = self._shelf.index(escalated.tenant)
        if index is None:
            return (), ()
        question = escalated.question
        focus = index.focus(question.text, question.language)
        passages = index.search(focus, self._embedder.embed(focus), k, question.language)
        return tuple(passages), (Artefact("index", f"hub/{escalated.tenant}", index.version),)

    def _survey(self, reader: Reader, escalated: Escalated) -> tuple[Survey | None, tuple[Artefact, ...]]:
        passages, parts = self._find(escalated, K)
        survey, used = survey_by(reader, self._shelf, escalated.tenant, escalated.question, passages)
        return survey, (*parts, *used)
