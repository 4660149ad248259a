"""The backend `openai`: any server that speaks the OpenAI chat API, kept to the hub's own passages.

Promises that sentences are shown while the server streams, each once its passages bear it out; next: `citations`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from tidegate.schemas import Answer, Artefact, Escalated, Passage, Question
from tidegate.services.answering.citations import chat_messages, check_citations, confirmed_text, extraction_messages
from tidegate.services.answering.sentence_stream import PublishPartial, SentenceStream
from tidegate.services.llm.targets.openai_compatible.client import CompletionsClient
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.stages.cloud_verifier.extraction import extract_at_hub

FindPassages = Callable[[Escalated], Awaitable[tuple[tuple[Passage, ...], tuple[Artefact, ...]]]]
"""From a question to the hub's passages and the index that they come from."""

MAX_TOKENS = 400
MAX_JSON_TOKENS = 1000
PATH = "chat/completions"


class ChatBackend:
    """Answers from passages by a chat completion, at temperature 0 where the server takes one.

    One client, one breaker for all requests.
    """

    def __init__(self, settings: OpenAICompatibleSettings, find: FindPassages, publish: PublishPartial) -> None:
        """Raises `ModelServerUnnamedError` without a base URL or a model."""
        self._find = find
        self._publish = publish
        key = os.environ.get(settings.api_key_env, "")
        self._client = CompletionsClient(settings, key, is_only_way=True)

    async def answer(self, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The model's answer, as far as the hub's passages bear it out.

        Raises `RetryLaterError` while the server cannot be reached, `CapabilityError` when it refuses the request.
        """
        passages, parts = await self._find(escalated)
        if not passages:
            return Answer(text=""), parts
        text, version, reason = await self._generate(escalated, passages, parts)
        if not text and reason == "length" and self._client.lift_limit(PATH):  # it has thought until nothing was left
            text, version, _ = await self._generate(escalated, passages, parts)
        answer = check_citations(text, passages, escalated.question.text)
        return answer, (*parts, *self._parts(answer, version))

    async def extract(self, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The schema filled by the reader, the model's filling a second reading. Raises `RetryLaterError`."""
        return await extract_at_hub(escalated, self._client.model, self._write_json)

    async def _write_json(self, question: Question) -> tuple[str, str]:
        """What the model fills the schema with. Raises `RetryLaterError`, `CapabilityError` for what it cannot do."""
        schema = {"name": "fields", "schema": json.loads(question.schema)}
        body: dict[str, object] = {
            "temperature": 0,
            "max_tokens": MAX_JSON_TOKENS,
            "messages": extraction_messages(question.text, question.schema, question.language),
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        text = version = ""
        async with aclosing(self._client.stream(PATH, **body)) as pieces:
            async for piece in pieces:
                version = piece.model or version
                text += "".join(choice.content for choice in piece.choices[:1])
        return text, version

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _generate(
        self, escalated: Escalated, passages: tuple[Passage, ...], parts: tuple[Artefact, ...]
    ) -> tuple[str, str, str]:
        """What the server answers, the model that it names, and why it stopped; sentences are shown on the way."""
        question = escalated.question
        body: dict[str, object] = {
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "messages": chat_messages(question.text, question.language, passages),
        }
        sentences = SentenceStream(escalated, self._publish)
        text = version = reason = ""
        async with aclosing(self._client.stream(PATH, **body)) as pieces:
            async for piece in pieces:
                version = piece.model or version
                for choice in piece.choices[:1]:
                    text += choice.content
                    reason = choice.finish_reason or reason
                confirmed = confirmed_text(text, passages, question.text)
                if confirmed is not None:
                    sentences.show(confirmed, (*parts, *self._parts(confirmed, version)))
        await sentences.drain()
        return text, version, reason

    def _parts(self, answer: Answer, version: str) -> tuple[Artefact, ...]:
        """What had a part in the answer beside the index."""
        model = Artefact("model", self._client.model, version or self._client.model)
        documents = {Artefact("document", c.document_id, c.document_version): None for c in answer.citations}
        return model, *documents
