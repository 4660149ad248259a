"""What is read of OpenAI's chat completions, and how it maps to a request of the pipeline.

The last user message is the question; conversation.py reads what was said before it. What each parameter becomes is in
parameters.py; what is replied in completions.py."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal, Union

import msgspec

from tidegate.schemas import Workload
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.http.parameters import check_parameters, unsupported
from tidegate.services.gateway.http.truncation import TextLimits
from tidegate.services.gateway.refusals import RequestRefusedError, unreadable

MODEL = "tidegate"
MAX_SCHEMA_CHARS = 16_384
"""What the `schema` of an `Asked` may have."""

StopSequence = Annotated[str, msgspec.Meta(min_length=1)]
TokenLimit = Annotated[int, msgspec.Meta(ge=1)]


class ContentPart(msgspec.Struct):
    """A piece of a message's content; only those of type `text` (and `refusal`, of an assistant) can be read."""

    type: str
    text: str = ""


class ChatMessage(msgspec.Struct):
    """One turn of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Union[str, list[ContentPart], None] = None  # noqa: UP007 msgspec reads it at run time


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """`include_usage`: one more chunk, with the usage of the whole request, before the end."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchemaFormat(msgspec.Struct):
    """The schema to fill. It is always kept to, whatever `strict` says."""

    schema: dict[str, Any]
    name: str = ""
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """`json_schema` asks for an extraction; `text` for what comes without it."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None


class ToolDefinition(msgspec.Struct):
    """A tool that the client could run. None is ever called."""

    type: str


class ChatRequest(msgspec.Struct, kw_only=True):
    """The body of POST /v1/chat/completions, without the parameters that are refused."""

    model: str
    messages: Annotated[list[ChatMessage], msgspec.Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    stop: Union[StopSequence, Annotated[list[StopSequence], msgspec.Meta(max_length=4)], None] = None  # noqa: UP007
    max_tokens: TokenLimit | None = None
    max_completion_tokens: TokenLimit | None = None
    tools: Annotated[list[ToolDefinition], msgspec.Meta(max_length=128)] | None = None
    tool_choice: Union[str, dict[str, Any], None] = None  # noqa: UP007
    """With `auto` or `none` a model may answer in text: the site always does."""
    user: Annotated[str, msgspec.Meta(max_length=128)] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    seed: int | None = None
    metadata: Annotated[dict[str, str], msgspec.Meta(max_length=16)] | None = None
    parallel_tool_calls: bool | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    safety_identifier: str | None = None

    @property
    def limits(self) -> TextLimits:
        """Where the answer must end; of two token limits the smaller counts."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        given = [limit for limit in (self.max_tokens, self.max_completion_tokens) if limit is not None]
        return TextLimits(stop, min(given, default=0))

    @property
    def wants_json(self) -> bool:
        """Whether the content may be nothing but JSON."""
        return self.response_format is not None and self.response_format.type == "json_schema"

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def read_chat(body: bytes, models: Collection[str] = (MODEL,)) -> ChatRequest:
    """The chat request in `body`. Raises `RequestRefusedError` with the path of the first fault."""
    try:
        fields = msgspec.json.decode(body)
        if isinstance(fields, dict):
            check_parameters(fields, ChatRequest.__struct_fields__)
        chat = msgspec.convert(fields, ChatRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise unreadable(str(error), "send a chat completion request as JSON in UTF-8") from error
    if chat.model not in models:
        raise RequestRefusedError(refusal("unknown_model", model=chat.model[:64]), "model")
    _check_stream_options(chat)
    _check_tool_choice(chat)
    return chat


def read_question(chat: ChatRequest) -> str:
    """The text of the last user message. Raises `RequestRefusedError` when there is none, or not all is text."""
    for n, message in enumerate(chat.messages):
        if message.role in ("tool", "function"):
            raise unsupported("the result of a tool", "put what it says into a user message", f"messages[{n}].role")
        for m, part in enumerate(message.content if isinstance(message.content, list) else ()):
            if part.type != "text" and not (part.type == "refusal" and message.role == "assistant"):
                what, param = f"content of type {part.type[:32]}", f"messages[{n}].content[{m}].type"
                raise unsupported(what, "send parts of type `text`", param)
    turns = [message for message in chat.messages if message.role == "user"]
    content = turns[-1].content if turns else None
    if content is None:
        raise RequestRefusedError(refusal("empty_text"), "messages")
    return content if isinstance(content, str) else "\n".join(part.text for part in content)


def read_task(chat: ChatRequest) -> tuple[Workload | Literal[""], str]:
    """The workload and the JSON schema that `response_format` asks for. Raises `RequestRefusedError`."""
    wanted = chat.response_format
    if wanted is None or wanted.type == "text":
        return "", ""
    if wanted.type == "json_object" or wanted.json_schema is None:
        raise unsupported("JSON without a schema", "send `json_schema` with the schema to fill", "response_format")
    schema = msgspec.json.encode(wanted.json_schema.schema).decode()
    if len(schema) > MAX_SCHEMA_CHARS:
        fault = f"it has {len(schema)} characters; at most {MAX_SCHEMA_CHARS} are accepted"
        raise RequestRefusedError(refusal("bad_schema", fault=fault), "response_format")
    return "extract", schema


def _check_stream_options(chat: ChatRequest) -> None:
    if chat.stream_options is None:
        return
    if not chat.stream:
        raise unsupported("`stream_options` without a stream", "send `stream: true`, or leave it out", "stream_options")
    if chat.stream_options.include_obfuscation:
        param = "stream_options.include_obfuscation"
        raise unsupported("padding of chunks", "leave `include_obfuscation` out", param)


def _check_tool_choice(chat: ChatRequest) -> None:
    choice = chat.tool_choice
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools", choice)
        choice = allowed.get("mode", "") if isinstance(allowed, dict) else ""
    if choice not in (None, "none", "auto"):
        raise unsupported("calling a tool", "send `tool_choice` as `auto` or `none`, or leave it out", "tool_choice")
