"""Extraction with the backend `openai`: what any server that speaks the OpenAI chat API fills a schema with.

Promises that it is a second reading and no more. Next: `extraction`.
"""

from __future__ import annotations

import json
from contextlib import aclosing

from tidegate.schemas import Answer, Artefact, Escalated, Question
from tidegate.services.answering.model_writers import PATH
from tidegate.services.answering.writing_prompts import extraction_messages
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.llm.constraints.json_prefix import JsonPrefix
from tidegate.services.llm.targets.openai_compatible.client import CompletionsClient
from tidegate.services.stages.cloud_verifier.extraction import extract_at_hub

MAX_JSON_TOKENS = 1000


class ChatExtraction:
    """Fills schemas by a chat completion, at temperature 0 where the server takes one."""

    def __init__(self, client: CompletionsClient, reader: FieldReader | None = None) -> None:
        self._client = client
        self._reader = reader

    async def extract(self, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The schema filled by the reader, the model's filling a second reading. Raises `RetryLaterError`."""
        return await extract_at_hub(escalated, self._client.model, self._write_json, self._reader)

    async def _write_json(self, question: Question) -> tuple[str, str]:
        """What the model fills the schema with; nothing once what it writes can be no object. Raises `RetryLaterError`,
        `CapabilityError` for what it cannot do."""
        schema = {"name": "fields", "schema": json.loads(question.schema)}
        body: dict[str, object] = {
            "temperature": 0,
            "max_tokens": MAX_JSON_TOKENS,
            "messages": extraction_messages(question.text, question.schema, question.language),
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        text = version = ""
        prefix = JsonPrefix()
        async with aclosing(self._client.stream(PATH, **body)) as pieces:
            async for piece in pieces:
                version = piece.model or version
                more = "".join(choice.content for choice in piece.choices[:1])
                if not prefix.feed(more):  # leaving the stream has the server stop
                    return "", version
                text += more
        return text, version
