"""OpenAI's error object: the body of every refusal over HTTP, whatever was wrong, and the one place that makes it.

The codes and their HTTP statuses are in schemas/refusals.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tidegate.schemas import Refused
from tidegate.schemas.access import Caller
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.services.gateway.refusals import (
    RequestRefusedError,
    count_refusal,
    log_refusal,
    refusal_from_exception,
)

Endpoint = Callable[[Request], Awaitable[Response]]
KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
"""What OpenAI calls a refusal with this status, where it is not `invalid_request_error`."""


class ErrorObject(msgspec.Struct):
    """`message` ends with the hint. `param`: the field or header at fault. `rid`: the request that it is about."""

    message: str
    type: str
    param: str | None
    code: str
    hint: str
    rid: str | UnsetType = UNSET


class ErrorReply(msgspec.Struct):
    """The body of a refusal."""

    error: ErrorObject


def error_body(refused: Refused, param: str | None = None) -> bytes:
    """The error object as JSON."""
    status = REFUSALS[refused.code].status
    kind = KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    message = f"{refused.reason} ({refused.hint})" if refused.hint else refused.reason
    return msgspec.json.encode(
        ErrorReply(ErrorObject(message, kind, param, refused.code, refused.hint, refused.rid or UNSET))
    )


def error_response(refused: Refused, param: str | None = None) -> Response:
    """The error object under its status. `x-should-retry` is about a client's blind retry, which has a new id."""
    terms = REFUSALS[refused.code]
    headers = {"x-should-retry": "true" if terms.retry == "any_id" else "false"}
    if terms.retry_after_s:
        headers["retry-after"] = str(terms.retry_after_s)
    if terms.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"  # RFC 9110, 11.6.1
    if refused.rid:
        headers["x-request-id"] = refused.rid
    return Response(error_body(refused, param), terms.status, headers, media_type="application/json")


def handle_errors(endpoint: Endpoint) -> Endpoint:
    """The endpoint, which replies with an error object where it would raise."""

    async def handle(request: Request) -> Response:
        try:
            return await endpoint(request)
        except RequestRefusedError as error:
            refused = log_refusal(error.refused, "http", error.tenant, _known_caller(request))
            return error_response(refused, error.param)
        except ClientDisconnect:
            return Response(status_code=408)  # nobody is left to read it
        except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
            return error_response(refusal_from_exception(error, "http", caller=_known_caller(request)))

    return handle


def _known_caller(request: Request) -> Caller | None:
    """Whom the gate has let in, if it has."""
    return getattr(request.state, "caller", None)


async def no_such_path(_: Request, __: Exception) -> Response:
    """404, as an error object."""
    count_refusal("no_such_path", "http")
    return error_response(refusal("no_such_path"))


async def method_not_allowed(request: Request, error: Exception) -> Response:
    """405, as an error object, with the methods that are allowed in `Allow`."""
    count_refusal("method_not_allowed", "http")
    allowed = ", ".join(sorted(getattr(error, "headers", {}).get("Allow", "").split(", ")))
    response = error_response(refusal("method_not_allowed", method=request.method[:16], allowed=allowed))
    response.headers["allow"] = allowed
    return response
