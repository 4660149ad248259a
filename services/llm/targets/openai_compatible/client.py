"""The requests that are made of an OpenAI-compatible server, and what may come back.

Promises that a parameter which the server refuses is left out from then on; next: `parameters`, `capabilities`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NoReturn, TypeVar

import httpx
import msgspec

from tidegate.brokers.egress import NOTHING_LEAVES, DataClass, EgressGate, EgressPurpose
from tidegate.schemas import Artefact, RetryLaterError, TidegateError
from tidegate.services.llm.targets.openai_compatible.circuit_breaker import CircuitBreaker
from tidegate.services.llm.targets.openai_compatible.parameters import accepted_parameters
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings

RETRY_AFTER_S = 2.0
PURPOSE: EgressPurpose = "inference"
DATA: DataClass = "documents"
"""A prompt holds passages of documents."""
_BUSY = frozenset((408, 425, 429, 502, 503, 504))
_REFUSED = frozenset((400, 422))
T = TypeVar("T")


class ModelServerUnavailableError(TidegateError, ConnectionError):
    """The server did not answer, or answered that it cannot now."""

    hint = "check that the server at cloud_verifier.base_url is up; the request is tried again by itself"


class CapabilityError(TidegateError, ConnectionError):
    """The server refuses the request, or what it answers is not what such a request asks for."""

    hint = "check cloud_verifier.base_url, .model and the API key; a server must speak the OpenAI API"


class ModelServerUnnamedError(TidegateError, ValueError):
    """The settings name no model server, or no model of it."""

    hint = "set cloud_verifier.base_url, as in https://llm.example/v1, and cloud_verifier.model"


class ScoredToken(msgspec.Struct, frozen=True):
    """How likely the server holds a token of the prompt."""

    logprob: float


class ServedChoice(msgspec.Struct, frozen=True):
    """One completion, or the newest piece of one. `prompt_logprobs` has an entry per token of the prompt."""

    index: int = 0
    text: str = ""
    token_ids: list[int] | None = None
    finish_reason: str | None = None
    prompt_logprobs: list[dict[int, ScoredToken] | None] | None = None
    delta: dict[str, Any] = {}
    message: dict[str, Any] = {}

    @property
    def first_id(self) -> int:
        """The first token. Raises `CapabilityError` where it came without ids."""
        if not self.token_ids:
            raise CapabilityError("a choice has no token ids")
        return self.token_ids[0]

    @property
    def content(self) -> str:
        """The text of a completion, of a chat's message, or of a piece of one."""
        content = self.text or self.delta.get("content") or self.message.get("content") or ""
        if isinstance(content, str):
            return content
        return "".join(part.get("text") or "" for part in content if part.get("type") == "text")  # not what it thought


class CompletionResponse(msgspec.Struct, frozen=True):
    """What the server answers, or one event of its stream."""

    choices: list[ServedChoice]
    model: str = ""


class TokenizeResponse(msgspec.Struct, frozen=True):
    """A text as the server's tokens."""

    tokens: list[int]


class DetokenizeResponse(msgspec.Struct, frozen=True):
    """The server's tokens as a text."""

    prompt: str


class CompletionsClient:
    """One client and one breaker for all requests: `RetryLaterError` while it is open or the server is away.

    `is_only_way`: there is no other way to ask this server, so that its faults (5xx, an answer that is no completion)
    count as being away, and are not taken for something that it cannot do.
    """

    def __init__(
        self,
        settings: OpenAICompatibleSettings,
        key: str,
        breaker: CircuitBreaker | None = None,
        *,
        is_only_way: bool = False,
        gate: EgressGate = NOTHING_LEAVES,
    ) -> None:
        """Raises `ModelServerUnnamedError`; `EgressDeniedError` where no permit lets prompts go to that server."""
        if not settings.base_url or not settings.model:
            raise ModelServerUnnamedError("this backend needs cloud_verifier.base_url and cloud_verifier.model")
        self.model = settings.model
        self._url = settings.base_url.rstrip("/") + "/"
        self._gate = gate
        permit = gate.check(self._url, PURPOSE, DATA)
        self.permits: tuple[Artefact, ...] = (permit.artefact,) if permit else ()
        """What lets prompts go to the server, for the receipts of its answers; nothing for one of this machine."""
        self._breaker = breaker or CircuitBreaker()
        self._is_only_way = is_only_way
        self._client = httpx.AsyncClient(
            base_url=self._url,
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=settings.timeout_s,
            follow_redirects=False,  # the permit is for this host, not for whoever it names
        )

    async def complete(self, prompts: Sequence[Sequence[int]], **options: object) -> list[ServedChoice]:
        """One token for each of the prompts, in their order. Raises `CapabilityError`, `RetryLaterError`."""
        body = {"prompt": prompts, "max_tokens": 1, "return_token_ids": True, "temperature": 0, **options}
        completion = await self.post("completions", CompletionResponse, **body)
        choices = sorted(completion.choices, key=lambda choice: choice.index)
        if len(choices) != len(prompts):
            raise CapabilityError(f"{len(prompts)} prompts were answered by {len(choices)} choices")
        return choices

    async def post(self, path: str, kind: type[T], **body: object) -> T:
        """The answer to one request. Raises `CapabilityError`, `RetryLaterError`."""
        with self._guarded():
            async with self._response(path, body) as response:
                return self._decode(await response.aread(), kind)

    async def stream(self, path: str, **body: object) -> AsyncGenerator[CompletionResponse, None]:
        """The pieces of one completion, the last with a finish reason; one piece from a server that does not stream.

        Raises `CapabilityError`, `RetryLaterError`.
        """
        is_over = False
        with self._guarded():
            async with self._response(path, {**body, "stream": True}) as response:
                if "text/event-stream" not in response.headers.get("content-type", "text/event-stream"):
                    yield self._decode(await response.aread(), CompletionResponse)
                    return
                async for line in response.aiter_lines():
                    data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    if data and data != "[DONE]":
                        piece = self._decode(data.encode(), CompletionResponse)
                        is_over = is_over or any(choice.finish_reason for choice in piece.choices)
                        yield piece
                    is_over = is_over or data == "[DONE]"
            if not is_over:
                self._raise_unexpected("the stream broke off")

    def lift_limit(self, path: str) -> bool:
        """Send no limit of tokens from now on, to a model that spends it before it answers; whether one was sent."""
        return accepted_parameters(self._url, self.model, path).leave_out("max_tokens", "max_completion_tokens")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _response(self, path: str, body: dict[str, object]) -> AsyncIterator[httpx.Response]:
        try:
            response = await self._send(path, {"model": self.model, **body})
            try:
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise ModelServerUnavailableError(f"{type(error).__name__}: {error}") from error

    async def _send(self, path: str, body: dict[str, object]) -> httpx.Response:
        """The server's answer to the request, without the parameters that it refuses; its body is still to come."""
        accepted = accepted_parameters(self._url, self.model, path)
        while True:
            sent = accepted.adapt(body)
            request = self._client.build_request("POST", path, content=msgspec.json.encode(sent))
            self._gate.check(str(request.url), PURPOSE, DATA)  # at each try: another host than the first may be next
            response = await self._client.send(request, stream=True)
            if response.status_code == 200:
                return response
            text = (await response.aread()).decode("utf-8", "replace")
            if response.status_code in _REFUSED:
                accepted.learn(sent, text)
            if accepted.adapt(sent) == sent:
                self._raise_refused(response.status_code, text)

    def _raise_refused(self, status: int, text: str) -> NoReturn:
        if status in _BUSY or (self._is_only_way and status >= 500):
            raise ModelServerUnavailableError(f"it answered {status}")
        raise CapabilityError(f"it answered {status}: {text[:200]}")

    def _raise_unexpected(self, reason: str) -> NoReturn:
        raise (ModelServerUnavailableError if self._is_only_way else CapabilityError)(reason)

    def _decode(self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind, strict=False)
        except msgspec.DecodeError as error:
            self._raise_unexpected(f"it answered what is no {kind.__name__} ({error})")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """The breaker, with what it counts raised as `RetryLaterError`."""
        try:
            with self._breaker.call(ModelServerUnavailableError):
                yield
        except ModelServerUnavailableError as error:
            raise RetryLaterError(f"the model server cannot be reached: {error}", RETRY_AFTER_S) from error
