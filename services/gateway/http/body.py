"""Reads the body of a request: JSON only, of which no more is ever held than is allowed; next: chat.py, sse.py."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request

from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.client_stream import HEARTBEAT_S
from tidegate.services.gateway.refusals import RequestRefusedError


class HttpTimes(msgspec.Struct, frozen=True):
    """How long a stream may be silent, and how long a body may take, in seconds."""

    heartbeat_s: float = HEARTBEAT_S
    body_timeout_s: float = 10.0


DEFAULT_TIMES = HttpTimes()


async def read_body(request: Request, limit: int, timeout_s: float) -> bytes:
    """The body of at most `limit` bytes. Raises `RequestRefusedError` as soon as it is known to be wrong.

    What is read is counted, whatever `Content-Length` says. A body that is not declared as JSON is turned away: a page
    of another origin can send those without a preflight. So is a compressed one: its size is not known beforehand.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestRefusedError(refusal("not_json"), "Content-Type")
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestRefusedError(refusal("body_encoded", encoding=encoding[:32]), "Content-Encoding")
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
