"""How a request that is not accepted leaves the gateway: one error to raise, one log line, no word of the request.

What a client reads is in schemas/refusals.py, for all transports the same."""

from __future__ import annotations

import re
import traceback
import uuid

import structlog

from tidegate.schemas import Refused, TidegateError
from tidegate.schemas.access import Caller
from tidegate.schemas.refusals import refusal
from tidegate.services.fleet.refusal_counts import COUNTS, RefusalKind

log = structlog.get_logger()

FAULT_CHARS = 200
"""How much of a fault is repeated: it may quote what the client sent."""


FIELD_AT_FAULT = {
    "unknown_tenant": "tenant",
    "empty_text": "text",
    "text_too_long": "text",
    "instructions_too_long": "instructions",
    "forged_token": "text",
    "bad_schema": "schema",
    "missing_schema": "schema",
    "deadline_past": "deadline_at_ms",
    "rid_taken": "rid",
}
"""The field of `Asked` that a refusal is about, where it is about one."""


class RequestRefusedError(TidegateError):
    """A request that is turned away; `param` names the field or header at fault, `tenant` whose request it was, where
    the site serves that tenant."""

    hint = "the refusal says what to change"

    def __init__(self, refused: Refused, param: str | None = None, tenant: str = "") -> None:
        super().__init__(refused.reason, refused.hint)
        self.refused = refused
        self.tenant = tenant
        self.param = param or FIELD_AT_FAULT.get(refused.code)


NAME_HINTS = {
    "rid": "a request id has 1 to 64 letters, digits, `-` or `_`",
    "tenant": "a tenant has 1 to 32 lower-case letters, digits, `-` or `_`",
}


def unreadable(fault: str, hint: str) -> RequestRefusedError:
    """The error to raise for bytes that are not a request; a decoder's `fault` names the path of the field, if any."""
    refused = refusal("unreadable", fault=fault[:FAULT_CHARS], hint=hint)
    return RequestRefusedError(refused, _find_field(fault))


def unreadable_name(error: Exception) -> RequestRefusedError:
    """The error to raise for a path or query with a request id, tenant or other name that is none."""
    fault = str(error)
    return unreadable(fault, NAME_HINTS.get(_find_field(fault) or "", "see the parameters in GET /openapi.json"))


def _find_field(fault: str) -> str | None:
    path = re.search(r"`\$\.([^`]*)`", fault)
    return path[1] if path else None


def log_refusal(refused: Refused, transport: str, tenant: str = "", caller: Caller | None = None) -> Refused:
    """Write the one log line of a refused request, which holds no word of it, count it, and hand the refusal on."""
    log.info("ask_refused", transport=transport, code=refused.code, rid=refused.rid)
    count_refusal(refused.code, transport, tenant, caller, refused.rid)
    return refused


def count_refusal(code: str, transport: str, tenant: str = "", caller: Caller | None = None, rid: str = "") -> None:
    """Have a refusal be in the audit log: by the tenant that is served, else the caller's, and by the caller's
    credential, as far as they are known."""
    by = f"{transport} {caller.credential}" if caller is not None else transport
    COUNTS.add(RefusalKind(tenant or (caller.tenant if caller is not None else ""), code, by), rid)


def refusal_from_exception(error: Exception, transport: str, rid: str = "", caller: Caller | None = None) -> Refused:
    """Why a request fails, in one log line and in words for the client.

    An error that nobody foresaw has an id that both share. The log has its type and where it was raised, not its
    message: that may quote the request.
    """
    if isinstance(error, RequestRefusedError):
        return log_refusal(error.refused, transport, error.tenant, caller)
    error_id = uuid.uuid4().hex[:12]
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames[-4:]]
    facts = {"error_id": error_id, "error": type(error).__name__, "where": where, "rid": rid}
    log.error("ask_failed", action="ask_failed", transport=transport, **facts)
    count_refusal("internal", transport, caller=caller)
    return refusal("internal", rid, error_id=error_id)
