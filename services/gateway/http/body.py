"""Bodies: what is read of a request, JSON only and no more than is allowed, and what is replied in JSON.

Next: chat.py, sse.py."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive

from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.client_stream import HEARTBEAT_S
from tidegate.services.gateway.refusals import RequestRefusedError

T = TypeVar("T")


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


async def while_connected(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """The result of `work`. Cancels it and raises `ClientDisconnect` when the client leaves before it is done.

    Whatever else the client sends meanwhile is of no interest.
    """

    async def wait_for_disconnect() -> None:
        while not (await receive())["type"].endswith(".disconnect"):
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(wait_for_disconnect())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A body in JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")
