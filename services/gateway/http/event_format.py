"""Server-sent events (WHATWG HTML, 9.2) as every stream over HTTP sends them; next: sse.py, chat.py, progress.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": waiting\n\n"
"""A comment: it shows that the stream is alive, and no client takes it for an event."""
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}
"""Neither a cache nor a proxy such as nginx may keep an event back."""


def format_event(data: bytes, event: str = "", id: str = "") -> bytes:
    """One event; `data` is a single line."""
    fields = (f"id: {id}\n" if id else "") + (f"event: {event}\n" if event else "")
    return fields.encode() + b"data: " + data + b"\n\n"


def stream_response(events: AsyncIterator[bytes], rid: str = "") -> StreamingResponse:
    """The events as they come, under the request id `rid`."""
    headers = {**HEADERS, **({"x-request-id": rid} if rid else {})}
    return StreamingResponse(events, media_type=MEDIA_TYPE, headers=headers)
