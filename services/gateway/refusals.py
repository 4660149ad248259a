"""Every way in which the doors say no, in the words that the client reads, and the one log line for each."""

from __future__ import annotations

import traceback
import uuid

import structlog

from tidegate.schemas import Refused, UnreadableError

log = structlog.get_logger()

REFUSALS: dict[str, tuple[str, str]] = {
    "unreadable": ("the request could not be read: {fault}", "{hint}"),
    "unknown_tenant": ("this site does not serve the tenant {tenant}", "check the tenant, or ask another site"),
    "empty_text": ("the question is empty", "send a question"),
    "text_too_long": (
        "the question has {chars} characters; at most {limit} are accepted",
        "shorten it, or split it into several requests",
    ),
    "forged_token": (
        "the question holds something that looks like a vault token",
        "write the value itself; tokens are made by the site only",
    ),
    "bad_schema": ("`schema` is not a JSON schema: {fault}", "send a JSON object, as text"),
    "missing_schema": ("an extract needs a `schema`", "send the JSON schema to fill, or another workload"),
    "deadline_past": ("the deadline has passed already", "send a `deadline_at_ms` in the future, or `budget_ms` alone"),
    "rid_taken": ("the request id is taken by another request", "choose another request id, or leave it out"),
    "unknown_request": (
        "no request with this id was accepted from this asker",
        "check the tenant, the request id and the asker; or ask",
    ),
    "bad_cursor": (
        "the cursor is not one of this stream: {fault}",
        "send the `id` of the last event that you have, or leave it out",
    ),
    "busy": ("too many requests are waiting for an answer", "ask again in a second"),
    "late": (
        "no answer came before the deadline; the request is kept and still worked on",
        "ask again with the same request id to get the answer",
    ),
    "dead": ("the request could not be processed; it is kept as a dead letter", "tell the operator the request id"),
    "unavailable": (
        "the site could not store the request",
        "ask again with the same request id, so that it is answered once",
    ),
    "closing": ("the site is being stopped; a request that was accepted is kept", "ask again with the same request id"),
    "unknown_model": ("this site has no model {model}", "ask for `tidegate`; GET /v1/models lists what there is"),
    "unsupported": ("{what} is not supported", "{hint}"),
    "not_json": ("the body is not declared as JSON", "send the header `Content-Type: application/json`"),
    "body_too_large": ("the body is larger than {limit} bytes", "send a shorter request"),
    "body_too_slow": ("the body did not arrive within {limit_s} seconds", "send it at once"),
    "bad_header": ("the header {header} is not valid: {fault}", "correct it, or leave it out"),
    "no_such_path": ("there is nothing at this path, or not for this method", "POST /v1/chat/completions asks"),
    "internal": ("the site failed to serve the request; error {error_id}", "tell the operator the error's id"),
}


FAULT_CHARS = 200
"""How much of a fault is repeated: it may quote what the client sent."""


def refusal(code: str, rid: str = "", **facts: object) -> Refused:
    """A refusal in its words; `facts` fill the gaps in them."""
    reason, hint = REFUSALS[code]
    return Refused(code=code, reason=reason.format(**facts), hint=hint.format(**facts), rid=rid)


def unreadable(error: UnreadableError) -> Refused:
    """The bytes are not a request; the reason names the path of the first fault."""
    return refusal("unreadable", fault=error.reason[:FAULT_CHARS], hint=error.hint or "see the schema of Asked")


def log_refusal(refused: Refused, transport: str) -> Refused:
    """Write the one log line of a refused request, which holds no word of it, and hand the refusal on."""
    log.info("ask_refused", transport=transport, code=refused.code, rid=refused.rid)
    return refused


def refusal_from_exception(error: Exception, transport: str, rid: str = "") -> Refused:
    """Turn an error nobody foresaw into a refusal, under an id that the client and the log share.

    The log has the error's type and where it was raised, not its message: that may quote the request.
    """
    error_id = uuid.uuid4().hex[:12]
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames[-4:]]
    log.error(
        "ask_failed",
        action="ask_failed",
        transport=transport,
        error_id=error_id,
        error=type(error).__name__,
        where=where,
        rid=rid,
    )
    return refusal("internal", rid, error_id=error_id)
