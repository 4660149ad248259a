"""POST /v1/chat/completions: from bytes to a ticket, from a ticket to a body or a stream of events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from tidegate.schemas import Asked, Cursor, Published, Refused
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.client_stream import HEARTBEAT_S
from tidegate.services.gateway.http import openai as openai_api
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import FAULT_CHARS, RequestRefusedError
from tidegate.services.gateway.resume import read_cursor
from tidegate.services.gateway.ticket import PendingRequest
from tidegate.services.streaming.events import DeltaEvent, EndEvent, ErrorEvent, HeartbeatEvent

BODY_TIMEOUT_S = 10.0
HEADERS = {
    "x-request-id": "rid",
    "x-tidegate-tenant": "tenant",
    "x-tidegate-budget-ms": "budget_ms",
    "x-tidegate-deadline-at-ms": "deadline_at_ms",
    "x-tidegate-workload": "workload",
    "x-tidegate-language": "language",
}
"""What a client may say beside the OpenAI fields: header by header, the field of `Asked` that it fills."""


class Chat:
    """The endpoint. A request that is refused at once has its HTTP status, even when it asked for a stream."""

    def __init__(
        self, ingress: Ingress, heartbeat_s: float = HEARTBEAT_S, body_timeout_s: float = BODY_TIMEOUT_S
    ) -> None:
        self._ingress = ingress
        self._heartbeat_s = heartbeat_s
        self._body_timeout_s = body_timeout_s

    async def __call__(self, request: Request) -> Response:
        limit = self._ingress.settings.gateway.max_body_bytes
        body = await read_body(request, limit, self._body_timeout_s)
        chat = openai_api.read_chat(body)
        asked = read_asked(chat, request.headers, self._ingress.settings.gateway.default_tenant)
        at = read_cursor(request.headers.get("last-event-id", ""), asked.rid)
        if chat.stream and self._ingress.streams.is_full:
            raise RequestRefusedError(refusal("busy", asked.rid))
        pending = await self._ingress.accept(asked, request.headers.get("traceparent", ""))
        if isinstance(pending, Refused):
            raise RequestRefusedError(pending)
        named = {"x-request-id": pending.rid}
        if chat.stream:
            events = self._events(pending, at, chat, asked.text)
            named["cache-control"] = "no-cache"
            return StreamingResponse(events, media_type="text/event-stream", headers=named)
        reply = await answered(request, pending)
        if isinstance(reply, Refused):
            raise RequestRefusedError(reply)
        content = openai_api.completion(reply, asked.text, int(time.time()))
        return Response(content, media_type="application/json", headers=named)

    async def _events(
        self, pending: PendingRequest, at: Cursor, chat: openai_api.ChatRequest, question: str
    ) -> AsyncIterator[bytes]:
        """What is committed, as it is; nothing provisional, for these clients cannot take anything back."""
        rid, created = pending.rid, int(time.time())
        usage = chat.stream_options is not None and chat.stream_options.include_usage
        yield openai_api.opening(rid, created, usage)
        following = self._ingress.streams.follow(
            pending, at, can_retract=False, transport="http", heartbeat_s=self._heartbeat_s
        )
        async with aclosing(following) as events:
            async for event in events:
                match event:
                    case DeltaEvent():
                        yield openai_api.piece(rid, created, usage, event.text, event.id)
                    case EndEvent():
                        yield openai_api.ending(event.published, question, created, usage, event.id)
                    case ErrorEvent():
                        refused = Refused(code=event.code, reason=event.reason, hint=event.hint, rid=rid)
                        yield openai_api.sse(openai_api.error_body(refused))
                    case HeartbeatEvent():
                        yield b": waiting\n\n"


async def read_body(request: Request, limit: int, timeout_s: float) -> bytes:
    """The body, of which at most `limit` bytes are ever held. Raises `RequestRefusedError` as soon as it is known why.

    A body that is not declared as JSON is turned away: a page of another origin can send those without asking.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestRefusedError(refusal("not_json"), "Content-Type")
    too_large = RequestRefusedError(refusal("body_too_large", limit=limit))
    if int(request.headers.get("content-length", 0)) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError as error:
        raise RequestRefusedError(refusal("body_too_slow", limit_s=timeout_s)) from error
    return bytes(body)


def read_asked(chat: openai_api.ChatRequest, headers: Mapping[str, str], default_tenant: str) -> Asked:
    """The request as the pipeline knows it; raises `RequestRefusedError` naming the field or header at fault."""
    fields: dict[str, Any] = {"tenant": default_tenant}
    for header, field in HEADERS.items():
        if header not in headers:
            continue
        value = headers[header]
        try:
            fields[field] = getattr(msgspec.convert({"tenant": "a", field: value}, Asked, strict=False), field)
        except msgspec.ValidationError as error:
            fault = str(error).partition(" - at ")[0][:FAULT_CHARS]
            raise RequestRefusedError(refusal("bad_header", header=header, fault=fault), header) from error
    workload, schema = openai_api.task_in(chat)
    if workload:
        fields["workload"] = workload
    asked = Asked(**fields, text=openai_api.question_in(chat), asker=chat.user or "")
    return msgspec.structs.replace(asked, schema=within(schema))


def within(schema: str, limit: int = 16384) -> str:
    """`schema` when it is not longer than what `Asked` may carry; raises `RequestRefusedError`."""
    if len(schema) > limit:
        fault = f"it has {len(schema)} characters; at most {limit} are accepted"
        raise RequestRefusedError(refusal("bad_schema", fault=fault), "response_format")
    return schema


async def answered(request: Request, pending: PendingRequest) -> Published | Refused:
    """The ticket's answer. Gives up the wait and raises `ClientDisconnect` when the client goes away."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    answer = asyncio.ensure_future(pending.answer())
    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait({answer, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientDisconnect
        return answer.result()
    finally:
        answer.cancel()
        leaving.cancel()
