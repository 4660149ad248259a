"""Streams over HTTP as server-sent events (WHATWG HTML, 9.2): POST /v1/streams asks, GET /v1/streams/{rid} goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse

from tidegate.schemas import Asked, Resume, UnreadableError, decode
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.http.chat import read_body
from tidegate.services.gateway.http.openai import sse
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError, unreadable
from tidegate.services.gateway.resume import AdmittedClient, begin_stream, resume_stream
from tidegate.services.streaming.events import Event, HeartbeatEvent

HINT = "a request id has 1 to 64 letters, digits, `-` or `_`"


class EventStreams:
    """The two endpoints. What is refused at once has its HTTP status; what fails later ends the stream as an event."""

    def __init__(self, ingress: Ingress, heartbeat_s: float, body_timeout_s: float) -> None:
        self._ingress = ingress
        self._heartbeat_s = heartbeat_s
        self._body_timeout_s = body_timeout_s

    async def ask(self, request: Request) -> Response:
        """The body is an `Asked`. The same again, with `Last-Event-ID`, goes on with its stream."""
        body = await read_body(request, self._ingress.settings.gateway.max_body_bytes, self._body_timeout_s)
        try:
            asked = decode(body, Asked)
        except UnreadableError as error:
            raise RequestRefusedError(unreadable(error)) from error
        last, trace = request.headers.get("last-event-id", ""), request.headers.get("traceparent", "")
        return self._stream(await begin_stream(self._ingress, asked, last, trace))

    async def resume(self, request: Request) -> Response:
        """From `Last-Event-ID`, or `?cursor=`, or the start; the asker is in the header `X-Tidegate-Asker`."""
        return self._stream(await resume_stream(self._ingress, read_resume(request, self._ingress)))

    def _stream(self, admitted: AdmittedClient) -> Response:
        headers = {"x-request-id": admitted.pending.rid, "cache-control": "no-cache", "x-accel-buffering": "no"}
        return StreamingResponse(self._events(admitted), media_type="text/event-stream", headers=headers)

    async def _events(self, admitted: AdmittedClient) -> AsyncIterator[bytes]:
        follow = self._ingress.streams.follow(
            admitted.pending,
            admitted.at,
            can_retract=admitted.can_retract,
            transport="http",
            heartbeat_s=self._heartbeat_s,
        )
        yield b"retry: 1000\n\n"
        async with aclosing(follow) as events:
            async for event in events:
                yield written(event)


def written(event: Event) -> bytes:
    """The event as it is sent; the one that only says that the stream lives is a comment."""
    if isinstance(event, HeartbeatEvent):
        return b": waiting\n\n"
    return sse(msgspec.json.encode(event), event.__struct_config__.tag, event.id)  # type: ignore[arg-type]


def read_resume(connection: HTTPConnection, ingress: Ingress) -> Resume:
    """What the path, the query and the headers of a request ask to go on with. Raises `RequestRefusedError`."""
    headers, query = connection.headers, connection.query_params
    tenant = headers.get("x-tidegate-tenant") or query.get("tenant") or ingress.settings.gateway.default_tenant
    fields = {
        "rid": connection.path_params["rid"],
        "tenant": tenant,
        "asker": headers.get("x-tidegate-asker", ""),
        "cursor": headers.get("last-event-id") or query.get("cursor", ""),
        "can_retract": query.get("can_retract", "true") != "false",
    }
    try:
        return msgspec.convert({"type": "resume", **fields}, Resume)
    except msgspec.ValidationError as error:
        raise RequestRefusedError(refusal("unreadable", fault=error, hint=HINT), "rid") from error
