"""Which path leads where, and the one place in which an HTTP request that failed becomes OpenAI's error object."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute

from tidegate.schemas import Asked
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.schemas.subjects import ANSWERS
from tidegate.services.gateway.client_stream import HEARTBEAT_S
from tidegate.services.gateway.http import openai as openai_api
from tidegate.services.gateway.http.chat import BODY_TIMEOUT_S, Chat
from tidegate.services.gateway.http.progress import RequestProgress
from tidegate.services.gateway.http.site_info import SiteInfoEndpoints
from tidegate.services.gateway.http.sse import EventStreams
from tidegate.services.gateway.http.websocket import WebSocketStreams
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError, log_refusal, refusal_from_exception

Endpoint = Callable[[Request], Awaitable[Response]]

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{path.name}": (path.name, "text/javascript") for path in sorted(PAGE.glob("*.js"))},
}
PAGE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
READY_WITHIN_S = 1.0


def application(
    ingress: Ingress,
    metrics: Callable[[], bytes],
    *,
    heartbeat_s: float = HEARTBEAT_S,
    body_timeout_s: float = BODY_TIMEOUT_S,
) -> Starlette:
    """The ASGI application of the HTTP door; its `state.progress` is to be closed before its server."""
    site = Site(ingress, metrics, heartbeat_s)
    site_info = SiteInfoEndpoints(ingress.bus, ingress.settings)
    chat = Chat(ingress, heartbeat_s, body_timeout_s)
    streams = EventStreams(ingress, heartbeat_s, body_timeout_s)
    sockets = WebSocketStreams(ingress, heartbeat_s, body_timeout_s)
    routes = [
        Route("/v1/streams", handle_errors(streams.ask), methods=["POST"]),
        Route("/v1/streams/{rid}", handle_errors(streams.resume)),
        WebSocketRoute("/v1/streams/ws", sockets.ask),
        WebSocketRoute("/v1/streams/{rid}/ws", sockets.resume),
        Route("/v1/chat/completions", handle_errors(chat), methods=["POST"]),
        Route("/v1/models", handle_errors(site.models)),
        Route("/v1/models/{model}", handle_errors(site.model)),
        Route("/v1/requests/{rid}/events", handle_errors(site.events)),
        Route("/healthz", handle_errors(site.health)),
        Route("/readyz", handle_errors(site.ready)),
        Route("/metrics", handle_errors(site.metrics)),
        *(Route(path, handle_errors(endpoint)) for path, endpoint in site_info.by_path.items()),
        *(Route(path, page_file(name, kind)) for path, (name, kind) in FILES.items()),
    ]

    async def lost(_: Request, __: Exception) -> Response:
        return error_response(RequestRefusedError(refusal("no_such_path")))

    app = Starlette(routes=routes, exception_handlers={404: lost, 405: lost})
    app.state.progress = site.progress
    return app


def handle_errors(endpoint: Endpoint) -> Endpoint:
    """The endpoint, which answers with an error object where it would raise."""

    async def settle(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RequestRefusedError as error:
            log_refusal(error.refused, "http")
            return error_response(error)
        except ClientDisconnect:
            return Response(status_code=408)  # nobody is left to read it
        except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
            return error_response(RequestRefusedError(refusal_from_exception(error, "http")))

    return settle


def error_response(error: RequestRefusedError) -> Response:
    """OpenAI's error object under its status. `x-should-retry` is about a client's blind retry, which has a new id."""
    refused = error.refused
    terms = REFUSALS[refused.code]
    headers = {"x-should-retry": "true" if terms.retry == "any_id" else "false"}
    if terms.retry_after_s:
        headers["retry-after"] = str(terms.retry_after_s)
    if refused.rid:
        headers["x-request-id"] = refused.rid
    body = openai_api.error_body(refused, error.param)
    return Response(body, terms.status, headers, media_type="application/json")


def page_file(name: str, kind: str) -> Endpoint:
    content = (PAGE / name).read_bytes()

    async def page(_: Request) -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8", headers=PAGE_HEADERS)

    return page


class Site:
    """The endpoints beside the chat."""

    def __init__(self, ingress: Ingress, metrics: Callable[[], bytes], heartbeat_s: float) -> None:
        self._ingress = ingress
        self._metrics = metrics
        self._heartbeat_s = heartbeat_s
        self.progress = RequestProgress(ingress.bus, ingress.settings.site)
        self._since = int(time.time())

    async def models(self, _: Request) -> Response:
        return Response(openai_api.models(self._since), media_type="application/json")

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name != openai_api.MODEL:
            raise RequestRefusedError(refusal("unknown_model", model=name[:64]), "model")
        return Response(msgspec.json.encode(openai_api.model(self._since)), media_type="application/json")

    async def events(self, request: Request) -> Response:
        """The stages of one request of `?tenant=`; whoever knows a request's id may know how far it is."""
        tenant = request.query_params.get("tenant", self._ingress.settings.gateway.default_tenant)
        try:
            asked = msgspec.convert({"tenant": tenant, "rid": request.path_params["rid"]}, Asked)
        except msgspec.ValidationError as error:
            hint = "a request id has 1 to 64 letters, digits, `-` or `_`"
            raise RequestRefusedError(refusal("unreadable", fault=error, hint=hint), "rid") from error
        if self.progress.is_full:
            raise RequestRefusedError(refusal("busy", asked.rid))
        events = self.progress.events(asked.tenant, asked.rid, self._heartbeat_s)
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})

    async def health(self, _: Request) -> Response:
        return Response(b'{"alive":true}', media_type="application/json")

    async def ready(self, _: Request) -> Response:
        """Whether the site's store can be read now."""
        is_ready = not self._ingress.is_closing
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                await self._ingress.bus.last(ANSWERS, "answers.ready.ready")
        except OSError:
            is_ready = False
        content = b'{"ready":true}' if is_ready else b'{"ready":false}'
        return Response(content, 200 if is_ready else 503, media_type="application/json")

    async def metrics(self, _: Request) -> Response:
        return Response(await asyncio.to_thread(self._metrics), media_type="text/plain; version=0.0.4; charset=utf-8")
