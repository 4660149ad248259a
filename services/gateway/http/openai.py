"""OpenAI's chat completions, as far as a site speaks it: what is read, what is said, and how it maps to the pipeline.

Source: https://platform.openai.com/docs/api-reference/chat. The last user message is the question. Earlier turns and
system messages are accepted and ignored in this release; so are sampling parameters and tools.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import UNSET, UnsetType

from tidegate.schemas import Outcome, Published, Refused, Workload
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.services.gateway.refusals import FAULT_CHARS, RequestRefusedError

MODEL = "tidegate"
Finish = Literal["stop", "content_filter"]


class Part(msgspec.Struct):
    """A piece of a message's content; only those of type `text` can be read."""

    type: str
    text: str = ""


class ChatMessage(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Union[str, list[Part], None] = None  # noqa: UP007 msgspec reads it at run time


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class JsonSchema(msgspec.Struct):
    schema: dict[str, Any]


class ResponseFormat(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(msgspec.Struct):
    """The body of POST /v1/chat/completions; fields that it does not name are ignored."""

    model: str
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    response_format: ResponseFormat | None = None
    n: int | None = None


class Usage(msgspec.Struct):
    """Counts of white-space separated words: the site answers with passages, no tokenizer counts what it says."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Said(msgspec.Struct):
    content: str
    role: str = "assistant"
    refusal: None = None


class Choice(msgspec.Struct):
    message: Said
    finish_reason: Finish
    index: int = 0
    logprobs: None = None


class Completion(msgspec.Struct):
    """The reply in one piece. `tidegate` is the whole published answer: outcome, citations, ledger, receipt."""

    id: str
    created: int
    choices: list[Choice]
    usage: Usage
    tidegate: Published
    model: str = MODEL
    object: str = "chat.completion"


class Delta(msgspec.Struct, omit_defaults=True):
    role: str | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    delta: Delta
    finish_reason: Finish | None = None
    index: int = 0
    logprobs: None = None


class Chunk(msgspec.Struct):
    """One event of the streamed reply. `tidegate` is on the chunk that has the finish reason."""

    id: str
    created: int
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    tidegate: Published | UnsetType = UNSET
    model: str = MODEL
    object: str = "chat.completion.chunk"


_reader = msgspec.json.Decoder(ChatRequest)
_encode = msgspec.json.Encoder().encode


def read_chat(body: bytes) -> ChatRequest:
    """The chat request in `body`; raises `RequestRefusedError` with the path of the first fault."""
    try:
        chat = _reader.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        path = re.search(r"`\$\.?([^`]*)`", str(error))
        hint = "send a chat completion request as JSON in UTF-8"
        raise RequestRefusedError(
            refusal("unreadable", fault=str(error)[:FAULT_CHARS], hint=hint), (path and path[1]) or None
        ) from error
    if chat.model != MODEL:
        raise RequestRefusedError(refusal("unknown_model", model=chat.model[:64]), "model")
    if chat.n is not None and chat.n != 1:
        raise RequestRefusedError(refusal("unsupported", what="more than one choice", hint="leave `n` out"), "n")
    return chat


def question_in(chat: ChatRequest) -> str:
    """The text of the last user message; raises `RequestRefusedError` when there is none, or it is not text."""
    turns = [message for message in chat.messages if message.role == "user"]
    content = turns[-1].content if turns else None
    if content is None:
        raise RequestRefusedError(refusal("empty_text"), "messages")
    if isinstance(content, str):
        return content
    for part in content:
        if part.type != "text":
            what = f"content of type {part.type[:32]}"
            raise RequestRefusedError(refusal("unsupported", what=what, hint="send parts of type `text`"), "messages")
    return "\n".join(part.text for part in content)


def task_in(chat: ChatRequest) -> tuple[Workload | Literal[""], str]:
    """The workload and the JSON schema that `response_format` asks for; raises `RequestRefusedError`."""
    wanted = chat.response_format
    if wanted is None or wanted.type == "text":
        return "", ""
    if wanted.type == "json_object" or wanted.json_schema is None:
        hint = "send `json_schema` with the schema to fill"
        raise RequestRefusedError(refusal("unsupported", what="JSON without a schema", hint=hint), "response_format")
    return "extract", _encode(wanted.json_schema.schema).decode()


def finish_of(outcome: Outcome) -> Finish:
    return "content_filter" if outcome == "withheld" else "stop"


def usage_of(question: str, published: Published) -> Usage:
    asked, said = len(question.split()), len(published.text.split())
    return Usage(asked, said, asked + said)


def completion(published: Published, question: str, created: int) -> bytes:
    """The body of the reply in one piece."""
    choice = Choice(Said(published.text), finish_of(published.outcome))
    usage = usage_of(question, published)
    return _encode(Completion(f"chatcmpl-{published.rid}", created, [choice], usage, published))


def error_body(refused: Refused, param: str | None = None) -> bytes:
    """OpenAI's error object, with the hint at the end of its message and beside it."""
    status = REFUSALS[refused.code].status
    kind = "server_error" if status >= 500 else "rate_limit_error" if status == 429 else "invalid_request_error"
    message = f"{refused.reason} ({refused.hint})" if refused.hint else refused.reason
    error = {"message": message, "type": kind, "param": param, "code": refused.code, "hint": refused.hint}
    return _encode({"error": {**error, "rid": refused.rid} if refused.rid else error})


def opening(rid: str, created: int, usage: bool) -> bytes:
    """The first event: who speaks."""
    return _event(rid, created, usage, ChunkChoice(Delta(role="assistant", content="")))


def piece(rid: str, created: int, usage: bool, content: str, id: str) -> bytes:
    """One event with a part of the text; `id` says from where to go on."""
    return _event(rid, created, usage, ChunkChoice(Delta(content=content)), id=id)


def ending(published: Published, question: str, created: int, usage: bool, id: str) -> bytes:
    """Every event after the text: the finish with the answer, the usage if it was asked for, the end."""
    rid = published.rid
    events = [_event(rid, created, usage, ChunkChoice(Delta(), finish_of(published.outcome)), published, id)]
    if usage:
        counted = Chunk(f"chatcmpl-{rid}", created, [], usage_of(question, published))
        events.append(sse(_encode(counted)))
    return b"".join([*events, sse(b"[DONE]")])


def _event(
    rid: str, created: int, usage: bool, choice: ChunkChoice, published: Published | None = None, id: str = ""
) -> bytes:
    chunk = Chunk(f"chatcmpl-{rid}", created, [choice], None if usage else UNSET, published or UNSET)
    return sse(_encode(chunk), id=id)


def sse(data: bytes, event: str = "", id: str = "") -> bytes:
    """One server-sent event (WHATWG HTML, 9.2); `data` is a single line."""
    fields = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    return fields.encode() + b"data: " + data + b"\n\n"


def models(created: int) -> bytes:
    """The body of GET /v1/models."""
    return _encode({"object": "list", "data": [model(created)]})


def model(created: int) -> dict[str, object]:
    return {"id": MODEL, "object": "model", "created": created, "owned_by": "tidegate"}
