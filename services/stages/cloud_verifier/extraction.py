"""An extraction that a site could not vouch for: read again at the hub, beside what the hub's model reads, where one is
asked in chat. Promises that a model's word counts only where the text says the same.

Next: services/knowledge/extraction/agreement.py."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tidegate.schemas import Answer, Artefact, Escalated, Question
from tidegate.services.knowledge.extraction.agreement import read_again
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.llm.targets.openai_compatible.client import CapabilityError

WriteJson = Callable[[Question], Awaitable[tuple[str, str]]]
"""From a text with its schema to the JSON that a model fills it with, and the model's version."""


async def extract_at_hub(
    escalated: Escalated, model: str = "", write: WriteJson | None = None, reader: FieldReader | None = None
) -> tuple[Answer, tuple[Artefact, ...]]:
    """The answer to an extraction, and the model that had a part in it; a server that cannot write JSON has none.

    `reader` reads the fields, as at the site.

    Raises `RetryLaterError` while the model's server cannot be reached.
    """
    question = escalated.question
    written, parts = "", tuple[Artefact, ...]()
    if write is not None:
        try:
            written, version = await write(question)
            parts = (Artefact("model", model, version or model),)
        except CapabilityError:
            written = ""
    answer = await asyncio.to_thread(read_again, question.text, question.schema, written, question.language, reader)
    return answer, parts
