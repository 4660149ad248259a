"""POST /v1/chat/completions: from bytes to an accepted request, from that to a body or a stream of events.

What is read is in openai.py, what is replied in completions.py."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from tidegate.schemas import Asked, Cursor, Refused, replace
from tidegate.schemas.access import Caller
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.access import claim
from tidegate.services.gateway.client_stream import AdmittedClient
from tidegate.services.gateway.http.access import caller_of
from tidegate.services.gateway.http.body import HttpTimes, json_response, read_body, while_connected
from tidegate.services.gateway.http.completions import ChatReply
from tidegate.services.gateway.http.conversation import read_history, read_instructions
from tidegate.services.gateway.http.errors import error_body
from tidegate.services.gateway.http.event_format import KEEP_ALIVE, format_event, stream_response
from tidegate.services.gateway.http.openai import ChatRequest, read_chat, read_question, read_task
from tidegate.services.gateway.http.operations import ASKED_HEADERS
from tidegate.services.gateway.http.parameters import unsupported
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import FAULT_CHARS, RequestRefusedError
from tidegate.services.gateway.resume import read_cursor
from tidegate.services.llm.text.token_counter import TokenCounter
from tidegate.services.streaming.events import DeltaEvent, EndEvent, ErrorEvent, HeartbeatEvent

PARAMETERS = {
    **{field: header.name.lower() for field, header in ASKED_HEADERS.items()},
    "text": "messages",
    "schema": "response_format",
    "history": "messages",
    "asker": "user",
}
"""Field by field of `Asked`, where a client of OpenAI's API says it."""


class ChatEndpoint:
    """The endpoint. A request that is refused at once has its HTTP status, even when it asked for a stream."""

    def __init__(self, ingress: Ingress, counter: TokenCounter, models: Collection[str], times: HttpTimes) -> None:
        self._ingress = ingress
        self._counter = counter
        self._models = models
        self._times = times

    async def complete(self, request: Request) -> Response:
        """Answer one chat request."""
        settings = self._ingress.settings.gateway
        chat = read_chat(await read_body(request, settings.max_body_bytes, self._times.body_timeout_s), self._models)
        history = read_history(chat, self._counter, settings.history_tokens)
        instructions, at_fault = ("", None) if settings.ignore_system_prompts else read_instructions(chat)
        asked = claim_chat(read_asked(chat, request.headers), caller_of(request))
        asked = replace(asked, history=history, instructions=instructions)
        at = read_cursor(request.headers.get("last-event-id", ""), asked.rid)
        if at != Cursor() and chat.limits:
            raise unsupported(
                "resuming a stream with limits", "leave `Last-Event-ID` or the limits out", "Last-Event-ID"
            )
        if chat.stream:
            self._ingress.streams.check_room(asked.rid)
        try:
            pending = await self._ingress.accept(asked, request.headers.get("traceparent", ""))
        except RequestRefusedError as error:
            param = at_fault if error.param == "instructions" else PARAMETERS.get(error.param or "")
            raise RequestRefusedError(error.refused, param, error.tenant) from error
        reply = ChatReply(chat, asked.text, pending.rid, int(time.time()), self._counter)
        if chat.stream:
            client = AdmittedClient(pending, at, can_retract=False)  # these clients cannot take anything back
            return stream_response(self._events(client, reply), pending.rid)
        answer = await while_connected(pending.answer(), request.receive)
        if isinstance(answer, Refused):
            raise RequestRefusedError(answer, tenant=asked.tenant)
        return json_response(reply.whole(answer), headers={"x-request-id": pending.rid})

    async def _events(self, client: AdmittedClient, reply: ChatReply) -> AsyncIterator[bytes]:
        yield reply.opening()
        async with aclosing(self._ingress.streams.follow(client, "http", self._times.heartbeat_s)) as events:
            async for event in events:
                match event:
                    case DeltaEvent():
                        yield reply.piece(event.text, is_json=event.format == "json", id=event.id)
                    case EndEvent():
                        yield reply.ending(event.published, event.id)
                    case ErrorEvent():
                        refused = Refused(code=event.code, reason=event.reason, hint=event.hint, rid=client.pending.rid)
                        yield format_event(error_body(refused))
                    case HeartbeatEvent():
                        yield KEEP_ALIVE


def claim_chat(asked: Asked, caller: Caller) -> Asked:
    """The request as the caller's. Raises `RequestRefusedError` naming the field or header at fault."""
    try:
        return claim(asked, caller)
    except RequestRefusedError as error:
        raise RequestRefusedError(error.refused, PARAMETERS.get(error.param or "")) from error


def read_asked(chat: ChatRequest, headers: Mapping[str, str]) -> Asked:
    """The request as the pipeline knows it. Raises `RequestRefusedError` naming the field or header at fault."""
    fields: dict[str, Any] = {}
    for field, parameter in ASKED_HEADERS.items():
        header = parameter.name.lower()
        if header not in headers:
            continue
        try:
            read = msgspec.convert({field: headers[header]}, Asked, strict=False)
            fields[field] = getattr(read, field)
        except msgspec.ValidationError as error:
            fault = str(error).partition(" - at ")[0][:FAULT_CHARS]
            raise RequestRefusedError(refusal("bad_header", header=header, fault=fault), header) from error
    workload, schema = read_task(chat)
    if workload:
        fields["workload"] = workload
    return Asked(**fields, text=read_question(chat), asker=chat.user or "", schema=schema)
