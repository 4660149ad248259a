"""Streams over HTTP as server-sent events: POST /v1/streams asks, GET /v1/streams/{rid} resumes.

The grammar of the events is in streaming/events.py; next: websocket.py, the same over a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from tidegate.schemas import Asked, Resume
from tidegate.schemas.access import Caller
from tidegate.services.gateway.access import claim
from tidegate.services.gateway.client_stream import AdmittedClient
from tidegate.services.gateway.http.access import caller_of
from tidegate.services.gateway.http.body import HttpTimes, read_body
from tidegate.services.gateway.http.event_format import KEEP_ALIVE, format_event, stream_response
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import unreadable_name
from tidegate.services.gateway.resume import admit_client, resume_stream
from tidegate.services.streaming.events import Event, HeartbeatEvent


class EventStreamEndpoint:
    """What is refused at once has its HTTP status; what fails later ends the stream as an event."""

    def __init__(self, ingress: Ingress, times: HttpTimes) -> None:
        self._ingress = ingress
        self._times = times

    async def ask(self, request: Request) -> Response:
        """The body is an `Asked`. The same again, with `Last-Event-ID`, resumes its stream."""
        body = await read_body(request, self._ingress.settings.gateway.max_body_bytes, self._times.body_timeout_s)
        cursor, traceparent = request.headers.get("last-event-id", ""), request.headers.get("traceparent", "")
        caller = caller_of(request)
        client = await admit_client(self._ingress, body, Asked, caller=caller, cursor=cursor, traceparent=traceparent)
        return self._stream(client)

    async def resume(self, request: Request) -> Response:
        """From `Last-Event-ID`, or `?cursor=`, or the start; `X-Tidegate-Asker` names an application's user."""
        return self._stream(await resume_stream(self._ingress, read_resume(request, caller_of(request))))

    def _stream(self, client: AdmittedClient) -> Response:
        return stream_response(self._events(client), client.pending.rid)

    async def _events(self, client: AdmittedClient) -> AsyncIterator[bytes]:
        yield b"retry: 1000\n\n"
        async with aclosing(self._ingress.streams.follow(client, "http", self._times.heartbeat_s)) as events:
            async for event in events:
                yield encode_event(event)


def encode_event(event: Event) -> bytes:
    """The event as it is sent; the one that only says that the stream is alive is a comment."""
    if isinstance(event, HeartbeatEvent):
        return KEEP_ALIVE
    return format_event(msgspec.json.encode(event), event.__struct_config__.tag, event.id)  # type: ignore[arg-type]


def read_resume(connection: HTTPConnection, caller: Caller) -> Resume:
    """What the path, the query and the headers of a caller's request ask to resume. Raises `RequestRefusedError`."""
    headers, query = connection.headers, connection.query_params
    tenant = headers.get("x-tidegate-tenant") or query.get("tenant")
    fields = {
        **({"tenant": tenant} if tenant else {}),
        "rid": connection.path_params["rid"],
        "asker": headers.get("x-tidegate-asker", ""),
        "cursor": headers.get("last-event-id") or query.get("cursor", ""),
        "can_retract": query.get("can_retract", "true") != "false",
    }
    try:
        resume = msgspec.convert({"type": "resume", **fields}, Resume)
    except msgspec.ValidationError as error:
        raise unreadable_name(error) from error
    return claim(resume, caller)
