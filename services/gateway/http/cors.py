"""Cross-origin requests (WHATWG Fetch, 3.2): off, but for the origins that the setting `gateway.cors_origins` names.

Every response to an allowed origin may be read by it, errors and streams too; no credentials are ever allowed."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PREFLIGHT_AGE_S = 600
EXPOSED = "x-request-id, retry-after, x-should-retry"


class CorsPolicy:
    """Which pages of other origins may read what this site replies."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._origins = frozenset(origins)

    def grant(self, origin: str) -> str:
        """The `Access-Control-Allow-Origin` for a page of `origin`: `*` for everybody; empty where it may not."""
        if origin and "*" in self._origins:
            return "*"
        return origin if origin in self._origins else ""

    def __bool__(self) -> bool:
        return bool(self._origins)


class CorsMiddleware:
    """Answers preflights for paths that exist, and adds the headers to every response."""

    def __init__(self, app: ASGIApp, policy: CorsPolicy, routes: Sequence[object]) -> None:
        self._app = app
        self._policy = policy
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._policy:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        granted = self._policy.grant(headers.get("origin", ""))

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                response = MutableHeaders(scope=message)
                response.add_vary_header("Origin")
                if granted:
                    response["access-control-allow-origin"] = granted
                    response["access-control-expose-headers"] = EXPOSED
            await send(message)

        methods = self._methods_at(scope)
        is_preflight = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if is_preflight and methods and granted:
            reply = _preflight(methods, headers.get("access-control-request-headers", ""))
            await reply(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _methods_at(self, scope: Scope) -> set[str]:
        found = (route.methods for route in self._routes if route.matches(scope)[0] is not Match.NONE)
        return set().union(*(methods or () for methods in found))


def _preflight(methods: set[str], headers: str) -> Response:
    allowed = {
        "access-control-allow-methods": ", ".join(sorted(methods)),
        "access-control-max-age": str(PREFLIGHT_AGE_S),
    }
    if headers:
        allowed["access-control-allow-headers"] = headers
    return Response(status_code=204, headers=allowed)
