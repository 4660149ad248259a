"""POST /v1/chat/completions: from bytes to an accepted request, from that to a body or a stream of events.

What is read is in openai.py, what is replied in completions.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tidegate.schemas import Asked, Cursor, Published, Refused
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.http.body import HttpTimes, read_body
from tidegate.services.gateway.http.completions import ChatReply
from tidegate.services.gateway.http.errors import error_body
from tidegate.services.gateway.http.event_format import KEEP_ALIVE, format_event, stream_response
from tidegate.services.gateway.http.openai import ChatRequest, read_chat, read_question, read_task
from tidegate.services.gateway.http.parameters import unsupported
from tidegate.services.gateway.http.token_counter import TokenCounter
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import FAULT_CHARS, FIELD_AT_FAULT, RequestRefusedError
from tidegate.services.gateway.resume import read_cursor
from tidegate.services.gateway.ticket import PendingRequest
from tidegate.services.streaming.events import DeltaEvent, EndEvent, ErrorEvent, HeartbeatEvent

ASKED_HEADERS = {
    "x-request-id": "rid",
    "x-tidegate-tenant": "tenant",
    "x-tidegate-budget-ms": "budget_ms",
    "x-tidegate-deadline-at-ms": "deadline_at_ms",
    "x-tidegate-workload": "workload",
    "x-tidegate-language": "language",
}
"""What a client may say beside the OpenAI fields: header by header, the field of `Asked` that it fills."""

PARAMETERS = {
    **{field: header for header, field in ASKED_HEADERS.items()},
    "text": "messages",
    "schema": "response_format",
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
        asked = read_asked(chat, request.headers, settings.default_tenant)
        at = read_cursor(request.headers.get("last-event-id", ""), asked.rid)
        if at != Cursor() and chat.limits:
            raise unsupported(
                "resuming a stream with limits", "leave `Last-Event-ID` or the limits out", "Last-Event-ID"
            )
        if chat.stream and self._ingress.streams.is_full:
            raise RequestRefusedError(refusal("busy", asked.rid))
        pending = await self._ingress.accept(asked, request.headers.get("traceparent", ""))
        if isinstance(pending, Refused):
            raise RequestRefusedError(pending, PARAMETERS.get(FIELD_AT_FAULT.get(pending.code, "")))
        reply = ChatReply(chat, asked.text, pending.rid, int(time.time()), self._counter)
        if chat.stream:
            return stream_response(self._events(pending, at, reply), pending.rid)
        answer = await wait_for_answer(request, pending)
        if isinstance(answer, Refused):
            raise RequestRefusedError(answer)
        headers = {"x-request-id": pending.rid}
        return Response(reply.whole(answer), media_type="application/json", headers=headers)

    async def _events(self, pending: PendingRequest, at: Cursor, reply: ChatReply) -> AsyncIterator[bytes]:
        """What is committed, as it is; nothing provisional, for these clients cannot take anything back."""
        yield reply.opening()
        following = self._ingress.streams.follow(
            pending, at, can_retract=False, transport="http", heartbeat_s=self._times.heartbeat_s
        )
        async with aclosing(following) as events:
            async for event in events:
                match event:
                    case DeltaEvent():
                        yield reply.piece(event.text, is_json=event.format == "json", id=event.id)
                    case EndEvent():
                        yield reply.ending(event.published, event.id)
                    case ErrorEvent():
                        refused = Refused(code=event.code, reason=event.reason, hint=event.hint, rid=pending.rid)
                        yield format_event(error_body(refused))
                    case HeartbeatEvent():
                        yield KEEP_ALIVE


def read_asked(chat: ChatRequest, headers: Mapping[str, str], default_tenant: str) -> Asked:
    """The request as the pipeline knows it. Raises `RequestRefusedError` naming the field or header at fault."""
    fields: dict[str, Any] = {"tenant": default_tenant}
    for header, field in ASKED_HEADERS.items():
        if header not in headers:
            continue
        value = headers[header]
        try:
            fields[field] = getattr(msgspec.convert({"tenant": "a", field: value}, Asked, strict=False), field)
        except msgspec.ValidationError as error:
            fault = str(error).partition(" - at ")[0][:FAULT_CHARS]
            raise RequestRefusedError(refusal("bad_header", header=header, fault=fault), header) from error
    workload, schema = read_task(chat)
    if workload:
        fields["workload"] = workload
    return Asked(**fields, text=read_question(chat), asker=chat.user or "", schema=schema)


async def wait_for_answer(request: Request, pending: PendingRequest) -> Published | Refused:
    """The answer. Gives up the wait and raises `ClientDisconnect` when the client goes away."""

    async def wait_for_disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer = asyncio.ensure_future(pending.answer())
    leaving = asyncio.ensure_future(wait_for_disconnect())
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        answer.cancel()
        leaving.cancel()
