"""Reads for a stage: finds the tenant's index, and says what had a part in the answer."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas import Answer, Artefact, Passage, Question
from tidegate.services.knowledge.index.tenant_indexes import Shelf
from tidegate.services.knowledge.reader.reader import Reader, Survey

MODEL = "extractive-reader"


def read_by(
    reader: Reader, shelf: Shelf, tenant: str, question: Question, passages: Sequence[Passage]
) -> tuple[Answer, tuple[Artefact, ...]]:
    """The reader's answer, with the model and the cited documents by version. Empty for an unknown tenant."""
    survey, parts = survey_by(reader, shelf, tenant, question, passages)
    return (survey.answer if survey else Answer(text="")), parts


def survey_by(
    reader: Reader, shelf: Shelf, tenant: str, question: Question, passages: Sequence[Passage]
) -> tuple[Survey | None, tuple[Artefact, ...]]:
    """As `read_by`, with all that the reader weighed. None for an unknown tenant."""
    model = Artefact("model", MODEL, reader.version)
    index = shelf.index(tenant)
    if index is None:
        return None, (model,)
    survey = reader.survey(question.text, question.language, passages, index)
    documents = {Artefact("document", c.document_id, c.document_version): None for c in survey.answer.citations}
    return survey, (model, *documents)
