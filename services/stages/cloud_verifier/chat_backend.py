"""The backend `openai`: any server that speaks the OpenAI chat API, kept to the hub's own passages."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Annotated

import httpx
import msgspec

from tidegate.schemas import Answer, Artefact, Escalated, Passage, RetryLaterError
from tidegate.services.answering.citations import answered, prompt
from tidegate.services.llm.targets.openai_compatible.circuit_breaker import Breaker
from tidegate.services.stages.settings import CloudVerifierSettings

Find = Callable[[Escalated, int], Awaitable[tuple[tuple[Passage, ...], tuple[Artefact, ...]]]]
"""From a question and k to the hub's passages and the index that they come from."""

K = 8
MAX_TOKENS = 400
TRY_AGAIN_S = 2.0


class BadBackend(ConnectionError):
    """The model server refuses what it is sent; the message says with which status and words."""


class _Said(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Said


class _Completion(msgspec.Struct):
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]
    model: str = ""


class _Unavailable(ConnectionError):
    """The server did not answer, or answered that it cannot now."""


class Chat:
    """Answers from passages by a chat completion at temperature 0. One client, one breaker for all requests."""

    def __init__(self, settings: CloudVerifierSettings, find: Find, breaker: Breaker | None = None) -> None:
        """Raises `ValueError` without a base URL or a model."""
        if not settings.base_url or not settings.model:
            raise ValueError("cloud_verifier.backend is openai: set cloud_verifier.base_url and cloud_verifier.model")
        key = os.environ.get(settings.api_key_env, "")
        self._model = settings.model
        self._find = find
        self._breaker = breaker or Breaker()
        self._client = httpx.AsyncClient(
            base_url=settings.base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=settings.timeout_s,
        )

    async def answer(self, escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        """The model's answer, as far as the hub's passages bear it out.

        Raises `RetryLaterError` while the server cannot be reached, `BadBackend` when it refuses the request.
        """
        passages, parts = await self._find(escalated, K)
        if not passages:
            return Answer(text=""), parts
        question = escalated.question
        body = {
            "model": self._model,
            "temperature": 0,
            "max_tokens": MAX_TOKENS,
            "messages": prompt(question.text, question.language, passages),
        }
        try:
            with self._breaker.call(_Unavailable):
                completion = await self._complete(body)
        except _Unavailable as error:
            raise RetryLaterError(f"the model server cannot be reached: {error}", TRY_AGAIN_S) from error
        answer = answered(completion.choices[0].message.content or "", passages, question.text)
        model = Artefact("model", self._model, completion.model or self._model)
        documents = {Artefact("document", c.document_id, c.document_version): None for c in answer.citations}
        return answer, (*parts, model, *documents)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _complete(self, body: dict[str, object]) -> _Completion:
        try:
            response = await self._client.post("chat/completions", json=body)
        except httpx.TransportError as error:
            raise _Unavailable(f"{type(error).__name__}: {error}") from error
        if response.status_code == 429 or response.status_code >= 500:
            raise _Unavailable(f"it answered {response.status_code}")
        if response.status_code != 200:
            raise BadBackend(f"the model server answered {response.status_code}: {response.text[:200]}")
        try:
            return msgspec.json.decode(response.content, type=_Completion)
        except msgspec.DecodeError as error:
            raise _Unavailable(f"it answered what is no chat completion ({error})") from error
