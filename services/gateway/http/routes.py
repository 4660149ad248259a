"""The ASGI application: every operation of the table at its path, errors as OpenAI's error object, CORS by setting.

Next: operations.py, the table."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from tidegate.services.answering.instructions import TOKENIZER
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.gateway.http.access import AccessGate
from tidegate.services.gateway.http.body import DEFAULT_TIMES, HttpTimes
from tidegate.services.gateway.http.chat import ChatEndpoint
from tidegate.services.gateway.http.cors import CorsMiddleware, CorsPolicy
from tidegate.services.gateway.http.endpoints import SiteEndpoints, page_file
from tidegate.services.gateway.http.errors import Endpoint, handle_errors, method_not_allowed, no_such_path
from tidegate.services.gateway.http.openai import MODEL
from tidegate.services.gateway.http.operations import FILES, OPERATIONS, Operation
from tidegate.services.gateway.http.sse import EventStreamEndpoint
from tidegate.services.gateway.http.websocket import WebSocketEndpoint, no_such_socket
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.llm.text.token_counter import load_token_counter


def application(
    ingress: Ingress, gate: AccessGate, metrics: Callable[[], bytes], times: HttpTimes = DEFAULT_TIMES
) -> Starlette:
    """The application of one site; its `state.progress` is to be closed before its server."""
    settings = ingress.settings
    cors = CorsPolicy(settings.gateway.cors_origins)
    models = (MODEL, *sorted(settings.gateway.model_aliases))
    site = SiteEndpoints(ingress, models, metrics, times.heartbeat_s)
    streams = EventStreamEndpoint(ingress, times)
    sockets = WebSocketEndpoint(ingress, gate, cors, times)
    chat = ChatEndpoint(ingress, load_token_counter(StatePaths(settings).models / TOKENIZER), models, times)
    endpoints: dict[str, Endpoint] = {
        "/v1/chat/completions": chat.complete,
        "/v1/models": site.list_models,
        "/v1/models/{model:path}": site.get_model,
        "/v1/streams": streams.ask,
        "/v1/streams/{rid}": streams.resume,
        "/v1/requests/{rid}/events": site.watch,
        "/healthz": site.healthz,
        "/readyz": site.readyz,
        "/metrics": site.metrics,
        "/openapi.json": site.openapi,
        "/v1/site": site.site,
        "/v1/site/link": site.link,
        "/v1/site/replicas": site.replicas,
        "/v1/site/questions": site.questions,
        **{path: page_file(name, kind) for path, (name, kind) in FILES.items()},
    }
    routes = [_route(each, sockets, endpoints.get(each.path), gate) for each in OPERATIONS]
    app = Starlette(
        routes=routes,
        exception_handlers={404: no_such_path, 405: method_not_allowed},
        middleware=[Middleware(CorsMiddleware, policy=cors, routes=routes)],
    )
    app.router.redirect_slashes = False  # behind a proxy it would send a client, and its key, on to http://
    app.router.default = partial(refuse_unknown, app.router.default)
    app.state.progress = site.progress
    return app


def _route(each: Operation, sockets: WebSocketEndpoint, endpoint: Endpoint | None, gate: AccessGate) -> BaseRoute:
    if endpoint is None:
        return WebSocketRoute(each.path, sockets.serve)
    return Route(each.path, handle_errors(gate.guard(endpoint, each.roles)), methods=[each.method])


async def refuse_unknown(not_found: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a path that is none; a handshake there is no request, and has its own way to be refused."""
    await (no_such_socket if scope["type"] == "websocket" else not_found)(scope, receive, send)
