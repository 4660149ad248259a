"""The hub's own corpus, as the backends of the cloud verifier see it."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas import Answer, Artefact, Escalated, Passage, Suggestion
from tidegate.services.answering.answerer import NONE_BELOW
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.index.thesaurus import Thesaurus
from tidegate.services.knowledge.reader.reader import RankedSpans, Reader, rank_for_tenant
from tidegate.services.knowledge.replica.freshness import FreshnessJudge
from tidegate.services.policies.suggestions import MOST_SUGGESTIONS, suggest

K = 8
ReaderOf = Callable[[str], Reader]
"""From a tenant to its reader."""
WordsOf = Callable[[str], Thesaurus | None]


class HubCorpus:
    """The `K` best passages of the tenant's index for a question, and what the reader makes of them."""

    def __init__(self, indexes: TenantIndexes, freshness: FreshnessJudge, words_of: WordsOf = lambda _: None) -> None:
        """`words_of` gives the words into which a tenant's questions are put; None: those of its index."""
        self._indexes = indexes
        self._freshness = freshness
        self._words_of = words_of

    def find(self, escalated: Escalated) -> tuple[tuple[Passage, ...], tuple[Artefact, ...]]:
        """The passages, and the index that they come from; none for an unknown tenant."""
        index = self._indexes_for(escalated.tenant).index(escalated.tenant)
        if index is None:
            return (), ()
        question = escalated.question
        passages = self._freshness.judge(escalated.tenant, index.find(question.text, K, question.language))
        return passages, (Artefact("index", f"hub/{escalated.tenant}", index.version),)

    def suggest(self, escalated: Escalated) -> tuple[Suggestion, ...]:
        """The passages that are nearest, for the site to judge."""
        return suggest(self.find(escalated)[0][:MOST_SUGGESTIONS])

    def rank_spans(self, reader_of: ReaderOf, escalated: Escalated) -> tuple[RankedSpans | None, tuple[Artefact, ...]]:
        """What the reader makes of the passages, and what had a part in it."""
        passages, parts = self.find(escalated)
        tenant = escalated.tenant
        reading, used = rank_for_tenant(
            reader_of(tenant), self._indexes_for(tenant), tenant, escalated.question, passages
        )
        return reading, (*parts, *used)

    def _indexes_for(self, tenant: str) -> TenantIndexes:
        return self._indexes.rewritten_by(self._words_of(tenant))

    def read(self, reader_of: ReaderOf, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The reader's own answer; an empty one where it has none."""
        reading, parts = self.rank_spans(reader_of, escalated)
        if reading is None or reading.answer.confidence < NONE_BELOW:
            return Answer(text=""), tuple(part for part in parts if part.kind != "document")
        return reading.answer, parts
