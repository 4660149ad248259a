"""The table of refusals: for each code the text, the hint, the HTTP status, and whether asking again may help.

Every transport, client and page derives from it; next: schemas/refusal_texts.py, the sentences of answers withheld."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.schemas.request import Refused


class RefusalTerms(msgspec.Struct, frozen=True):
    """What one code means. `reason` and `hint` have gaps for facts, written `{name}`.

    `retry`: `any_id`: nothing was stored, so a retry under any request id may help; `same_id`: a retry helps, and is
    answered once if it has the same request id; `never`. `retry_after_s`: when to come back, 0 where that says nothing.
    `is_resumable`: a stream that ends so may be resumed from its last event.
    """

    status: int
    reason: str
    hint: str
    retry: Literal["never", "same_id", "any_id"] = "never"
    retry_after_s: int = 0
    is_resumable: bool = False


REFUSALS: dict[str, RefusalTerms] = {
    "unreadable": RefusalTerms(400, "the request could not be read: {fault}", "{hint}"),
    "unknown_tenant": RefusalTerms(
        403, "this site does not serve the tenant {tenant}", "check the tenant, or ask another site"
    ),
    "unauthenticated": RefusalTerms(401, "{fault}", "{hint}"),
    "not_your_tenant": RefusalTerms(
        403, "the credential is not one of the tenant {tenant}", "leave the tenant out: it is the credential's"
    ),
    "not_your_asker": RefusalTerms(
        403, "the credential is one person's, who cannot ask as somebody else", "leave the user out, or use their key"
    ),
    "not_your_role": RefusalTerms(
        403, "a caller with the role {role} may not do this", "use a key with the role {roles}"
    ),
    "empty_text": RefusalTerms(400, "the question is empty", "send a question"),
    "text_too_long": RefusalTerms(
        400,
        "the question has {chars} characters; at most {limit} are accepted",
        "shorten it, or split it into several requests",
    ),
    "instructions_too_long": RefusalTerms(
        400,
        "the instructions have {tokens} tokens; at most {limit} are accepted",
        "shorten the system prompt; `gateway.instructions_tokens` is the limit",
    ),
    "forged_token": RefusalTerms(
        400,
        "the question holds something that looks like a vault token",
        "write the value itself; tokens are made by the site only",
    ),
    "bad_schema": RefusalTerms(400, "`schema` is not a JSON schema: {fault}", "send a JSON object, as text"),
    "missing_schema": RefusalTerms(
        400, "an extract needs a `schema`", "send the JSON schema to fill, or another workload"
    ),
    "deadline_past": RefusalTerms(
        400, "the deadline has passed already", "send a `deadline_at_ms` in the future, or `budget_ms` alone"
    ),
    "rid_taken": RefusalTerms(
        409, "the request id is taken by another request", "choose another request id, or leave it out"
    ),
    "unknown_request": RefusalTerms(
        404,
        "no request with this id was accepted from this asker",
        "check the tenant, the request id and the asker; or ask",
    ),
    "bad_cursor": RefusalTerms(
        400,
        "the cursor is not one of this stream: {fault}",
        "send the `id` of the last event that you have, or leave it out",
    ),
    "busy": RefusalTerms(
        429, "too many requests are waiting for an answer", "ask again in a second", "any_id", 1, is_resumable=True
    ),
    "late": RefusalTerms(
        504,
        "no answer came before the deadline; the request is kept and still worked on",
        "ask again with the same request id to get the answer",
        "same_id",
        is_resumable=True,
    ),
    "dead": RefusalTerms(
        500, "the request could not be processed; it is kept as a dead letter", "tell the operator the request id"
    ),
    "unavailable": RefusalTerms(
        503,
        "the site cannot take the request now: {why}",
        "ask again with the same request id, so that it is answered once",
        "same_id",
        1,
        is_resumable=True,
    ),
    "closing": RefusalTerms(
        503,
        "the site is being stopped; a request that was accepted is kept",
        "ask again with the same request id",
        "same_id",
        is_resumable=True,
    ),
    "unknown_model": RefusalTerms(
        404, "this site has no model {model}", "ask for `tidegate`; GET /v1/models lists what there is"
    ),
    "unsupported": RefusalTerms(400, "{what} is not supported", "{hint}"),
    "not_json": RefusalTerms(
        415, "the body is not declared as JSON", "send the header `Content-Type: application/json`"
    ),
    "body_encoded": RefusalTerms(415, "the body is encoded as {encoding}", "send it as plain JSON"),
    "body_too_large": RefusalTerms(413, "the body is larger than {limit} bytes", "send a shorter request"),
    "body_too_slow": RefusalTerms(408, "the body did not arrive within {limit_s} seconds", "send it at once"),
    "bad_header": RefusalTerms(400, "the header {header} is not valid: {fault}", "correct it, or leave it out"),
    "no_such_path": RefusalTerms(
        404, "there is nothing at this path", "POST /v1/chat/completions asks; GET /openapi.json lists all paths"
    ),
    "method_not_allowed": RefusalTerms(405, "the method {method} is not allowed at this path", "use {allowed}"),
    "origin_not_allowed": RefusalTerms(
        403, "a page of the origin {origin} may not open a socket here", "name the origin in `gateway.cors_origins`"
    ),
    "bad_handshake": RefusalTerms(
        400,
        "the WebSocket handshake is not one of RFC 6455",
        "send `Sec-WebSocket-Key` and `Sec-WebSocket-Version: 13`",
    ),
    "not_http": RefusalTerms(400, "what was sent is not an HTTP request", "send an HTTP/1.1 request"),
    "ambiguous_head": RefusalTerms(
        400,
        "the head of the request can be read in two ways",
        "send each header once, a `Host`, and no transfer coding but `chunked`",
    ),
    "headers_too_large": RefusalTerms(
        431, "the headers are larger than {limit} bytes", "send fewer or shorter headers"
    ),
    "too_many_headers": RefusalTerms(431, "the request has more than {limit} headers", "send fewer headers"),
    "head_too_slow": RefusalTerms(408, "the head did not arrive within {limit} seconds", "send it at once"),
    "too_much_sent": RefusalTerms(
        413, "far more was sent than a request may hold", "send one request of at most `gateway.max_body_bytes`"
    ),
    "too_many_connections": RefusalTerms(
        503, "too many connections are open", "ask again in a second, and share connections", "any_id", 1
    ),
    "too_many_watchers": RefusalTerms(
        429, "too many clients of this caller watch requests", "end one of them first", "any_id", 1
    ),
    "unknown_session": RefusalTerms(
        404, "the hub has no verification session {session}, or not any more", "begin anew with the accepted prefix"
    ),
    "out_of_step": RefusalTerms(
        409, "{known} tokens are accepted, not {position}", "begin anew with the accepted prefix"
    ),
    "refused_at_hub": RefusalTerms(
        403, "the hub does not take this: {fault}", "the hub's audit log and dead letters have the code {named}"
    ),
    "unable": RefusalTerms(501, "{fault}", "the durable lane answers"),
    "wrong_tokenizer": RefusalTerms(
        409,
        "the ids are of tokenizer {theirs}, the target's is {ours}",
        "site and hub need models of one tokenizer: run `make models` on both",
    ),
    "out_of_range": RefusalTerms(
        400, "token {token} is beyond the vocabulary of {limit}", "send ids of the hub's tokenizer"
    ),
    "internal": RefusalTerms(
        500,
        "the site failed to serve the request; error {error_id}",
        "tell the operator the error's id",
        is_resumable=True,
    ),
}


def refusal(code: str, rid: str = "", **facts: object) -> Refused:
    """The refusal under this code; `facts` fill the gaps in its texts. Raises `KeyError` for an unknown code."""
    terms = REFUSALS[code]
    return Refused(code=code, reason=terms.reason.format(**facts), hint=terms.hint.format(**facts), rid=rid)


def may_retry(refused: Refused) -> bool:
    """Whether the same request, under the same id, may be accepted or answered in a moment."""
    return refused.code in REFUSALS and REFUSALS[refused.code].retry != "never"
