"""The requests that the ladder makes of an OpenAI-compatible server, and what may come back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, TypeVar

import httpx
import msgspec

from tidegate.schemas import RetryLaterError
from tidegate.services.llm.targets.openai_compatible.circuit_breaker import Breaker

TRY_AGAIN_S = 2.0
_BUSY = frozenset((408, 425, 429, 502, 503, 504))
T = TypeVar("T")


class Unavailable(ConnectionError):
    """The server did not answer, or said that it cannot now."""


class Unable(ConnectionError):
    """The server does not do this: it refuses the request, or what it answers is not what such a request asks for."""


class Scored(msgspec.Struct, frozen=True):
    logprob: float


class Choice(msgspec.Struct, frozen=True):
    """One completion, or the newest piece of one. `prompt_logprobs` has an entry per token of the prompt."""

    index: int = 0
    text: str = ""
    token_ids: list[int] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    prompt_logprobs: list[dict[int, Scored] | None] | None = None
    delta: dict[str, Any] = {}


class Completion(msgspec.Struct, frozen=True):
    choices: list[Choice]
    model: str = ""


class Tokens(msgspec.Struct, frozen=True):
    tokens: list[int]


class Prompt(msgspec.Struct, frozen=True):
    prompt: str


class Wire:
    """One client and one breaker for all requests. Raises `RetryLaterError` while the breaker is open or the server is
    away.
    """

    def __init__(self, base_url: str, model: str, key: str, timeout_s: float, breaker: Breaker | None = None) -> None:
        self.model = model
        self._breaker = breaker or Breaker()
        self._client = httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=timeout_s,
        )

    async def complete(self, prompts: Sequence[Sequence[int]], **options: object) -> list[Choice]:
        """One token for each of the prompts, in their order, with ids. Raises `Unable`, `RetryLaterError`."""
        body = {"prompt": prompts, "max_tokens": 1, "return_token_ids": True, **options}
        completion = await self.post("completions", Completion, **body)
        choices = sorted(completion.choices, key=lambda choice: choice.index)
        if len(choices) != len(prompts) or any(not choice.token_ids for choice in choices):
            raise Unable(f"{len(prompts)} prompts were answered by {len(choices)} choices, some without ids")
        return choices

    async def post(self, path: str, kind: type[T], **body: object) -> T:
        """The answer to one request. Raises `Unable`, `RetryLaterError`."""
        with self._guarded():
            try:
                response = await self._client.post(path, content=self._body(body), headers=_JSON)
            except httpx.TransportError as error:
                raise Unavailable(f"{type(error).__name__}: {error}") from error
            _accept(response.status_code, response.text)
        try:
            return msgspec.json.decode(response.content, type=kind, strict=False)
        except msgspec.DecodeError as error:
            raise Unable(f"{path} is not answered as it should be ({error})") from error

    async def stream(self, path: str, **body: object) -> AsyncGenerator[Choice, None]:
        """The pieces of one completion as they come; the last one says why it ended. Raises `Unable`,
        `RetryLaterError`.
        """
        with self._guarded():
            try:
                request = self._client.stream("POST", path, content=self._body({**body, "stream": True}), headers=_JSON)
                async with request as response:
                    if response.status_code != 200:
                        _accept(response.status_code, (await response.aread()).decode("utf-8", "replace"))
                    async for line in response.aiter_lines():
                        for choice in _choices(line):
                            yield choice
            except httpx.TransportError as error:
                raise Unavailable(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _body(self, body: dict[str, object]) -> bytes:
        return msgspec.json.encode({"model": self.model, "temperature": 0, **body})

    def _guarded(self) -> _Guarded:
        return _Guarded(self._breaker)


_JSON = {"Content-Type": "application/json"}


class _Guarded:
    """The breaker, with what it counts told as `RetryLaterError`."""

    def __init__(self, breaker: Breaker) -> None:
        self._call = breaker.call(Unavailable)

    def __enter__(self) -> None:
        self._call.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        self._call.__exit__(kind, error, trace)
        if isinstance(error, Unavailable):
            raise RetryLaterError(f"the model server cannot be reached: {error}", TRY_AGAIN_S) from error


def _accept(status: int, text: str) -> None:
    if status in _BUSY:
        raise Unavailable(f"it answered {status}")
    if status != 200:
        raise Unable(f"it answered {status}: {text[:200]}")


def _choices(line: str) -> Sequence[Choice]:
    if not line.startswith("data:") or line[5:].strip() == "[DONE]":
        return ()
    try:
        return msgspec.json.decode(line[5:], type=Completion, strict=False).choices
    except msgspec.DecodeError as error:
        raise Unable(f"an event of the stream is no completion ({error})") from error
