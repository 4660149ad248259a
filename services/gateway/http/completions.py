"""What a client of OpenAI's API gets back: the models, and for a chat one body, or the chunks of a stream.

Both of these say the same text, finish reason and usage of the same answer; next: chat.py, which sends them."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from tidegate.schemas import Published
from tidegate.services.gateway.http.event_format import format_event
from tidegate.services.gateway.http.openai import ChatRequest
from tidegate.services.gateway.http.truncation import Truncation
from tidegate.services.llm.text.token_counter import TokenCounter

FinishReason = Literal["stop", "length", "content_filter"]
END = format_event(b"[DONE]")


class ModelInfo(msgspec.Struct):
    """A name under which the site answers, and since when, in Unix seconds."""

    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "tidegate"


class ModelList(msgspec.Struct):
    """All names."""

    data: list[ModelInfo]
    object: Literal["list"] = "list"


class CompletionUsage(msgspec.Struct):
    """Tokens of the question and of the text that is sent. `tokenizer`: the digest of what counted, or `words`."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    tokenizer: str


class AssistantMessage(msgspec.Struct):
    """`refusal` in place of `content`: JSON was asked for, and the site says in words why there is none."""

    content: str | None
    refusal: str | None = None
    role: Literal["assistant"] = "assistant"


class CompletionChoice(msgspec.Struct):
    """The only choice."""

    message: AssistantMessage
    finish_reason: FinishReason
    index: int = 0
    logprobs: None = None


class ChatCompletion(msgspec.Struct):
    """The reply in one piece. `tidegate` is the whole published answer: outcome, citations, timings, receipt."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage
    tidegate: Published
    object: Literal["chat.completion"] = "chat.completion"


class ChunkDelta(msgspec.Struct, omit_defaults=True):
    """What a chunk adds to the message."""

    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET
    refusal: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    """The only choice of a chunk."""

    delta: ChunkDelta
    finish_reason: FinishReason | None = None
    index: int = 0
    logprobs: None = None


class ChatCompletionChunk(msgspec.Struct):
    """One event of the streamed reply. `tidegate` is on the chunk that has the finish reason."""

    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | UnsetType | None = UNSET
    tidegate: Published | UnsetType = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class ChatReply:
    """Builds the reply to one chat request, within its limits."""

    def __init__(self, chat: ChatRequest, question: str, rid: str, created: int, counter: TokenCounter) -> None:
        self._chat = chat
        self._question = question
        self._id = f"chatcmpl-{rid}"
        self._created = created
        self._counter = counter
        self._truncation = Truncation(chat.limits, counter)

    def whole(self, published: Published) -> ChatCompletion:
        """The reply in one piece. Notices follow the text, whatever its limits are, and are no tokens of it."""
        self._truncation.feed(published.text)
        self._truncation.finish()
        text = self._truncation.text + published.closing
        is_refusal = self._chat.wants_json and published.format != "json"
        message = AssistantMessage(None, text) if is_refusal else AssistantMessage(text)
        choice = CompletionChoice(message, self._finish_reason(published))
        usage = self._usage(published)
        return ChatCompletion(self._id, self._created, self._chat.model, [choice], usage, published)

    def opening(self) -> bytes:
        """The first event: the role."""
        return self._chunk(ChunkChoice(ChunkDelta(role="assistant", content=UNSET if self._chat.wants_json else "")))

    def piece(self, text: str, *, is_json: bool, id: str = "") -> bytes:
        """The event with as much of `text` as may be sent now, if any; `id` says from where to resume."""
        return self._text_chunk(self._truncation.feed(text), is_json=is_json, id="" if self._chat.limits else id)

    def ending(self, published: Published, id: str) -> bytes:
        """Every event after the text: the finish with the answer, the usage if it was asked for, the end. Where what
        was sent was withdrawn, nothing is sent in its stead: the finish reason says that it may not stand."""
        rest = self._text_chunk(self._truncation.finish(), is_json=published.format == "json")
        delta = ChunkDelta(
            content=published.closing or UNSET
        )  # in the last event, so that a resumed stream has it once
        reason = "content_filter" if published.receipt.withdrawn_chars else self._finish_reason(published)
        finish = self._chunk(ChunkChoice(delta, reason), published, id)
        usage = b""
        if self._chat.wants_usage:
            last = ChatCompletionChunk(self._id, self._created, self._chat.model, [], self._usage(published))
            usage = format_event(msgspec.json.encode(last))
        return rest + finish + usage + END

    def _text_chunk(self, text: str, *, is_json: bool, id: str = "") -> bytes:
        if not text:
            return b""
        is_refusal = self._chat.wants_json and not is_json
        delta = ChunkDelta(refusal=text) if is_refusal else ChunkDelta(content=text)
        return self._chunk(ChunkChoice(delta), id=id)

    def _chunk(self, choice: ChunkChoice, published: Published | UnsetType = UNSET, id: str = "") -> bytes:
        usage = None if self._chat.wants_usage else UNSET
        chunk = ChatCompletionChunk(self._id, self._created, self._chat.model, [choice], usage, published)
        return format_event(msgspec.json.encode(chunk), id=id)

    def _finish_reason(self, published: Published) -> FinishReason:
        return "content_filter" if published.outcome == "withheld" else self._truncation.reason or "stop"

    def _usage(self, published: Published) -> CompletionUsage:
        text = self._truncation.text if self._chat.limits else published.text  # a resumed stream has but a part of it
        prompt, completion = self._counter.count(self._question), self._counter.count(text)
        return CompletionUsage(prompt, completion, prompt + completion, self._counter.name)
