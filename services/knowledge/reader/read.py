"""Reads for a stage: finds the tenant's index, and lists the model and the documents of the answer. Next: reader.py."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas import Answer, Artefact, Passage, Question
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.reader import RankedSpans, Reader

MODEL = "extractive-reader"


def answer_for_tenant(
    reader: Reader, indexes: TenantIndexes, tenant: str, question: Question, passages: Sequence[Passage]
) -> tuple[Answer, tuple[Artefact, ...]]:
    """The reader's answer, with the model and the cited documents by version. Empty for an unknown tenant."""
    reading, parts = rank_for_tenant(reader, indexes, tenant, question, passages)
    return (reading.answer if reading else Answer(text="")), parts


def rank_for_tenant(
    reader: Reader, indexes: TenantIndexes, tenant: str, question: Question, passages: Sequence[Passage]
) -> tuple[RankedSpans | None, tuple[Artefact, ...]]:
    """As `answer_for_tenant`, with all the units that were scored. None for an unknown tenant."""
    model = Artefact("model", MODEL, reader.version)
    index = indexes.index(tenant)
    if index is None:
        return None, (model,)
    reading = reader.rank_spans(question.text, question.language, passages, index)
    documents = {Artefact("document", c.document_id, c.document_version): None for c in reading.answer.citations}
    return reading, (model, *documents)
