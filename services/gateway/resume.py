"""How a client begins a stream and how it goes on with one; the same over HTTP, WebSocket and NATS.

Next: client_stream.py, which sends the events."""

from __future__ import annotations

from tidegate.schemas import Asked, Cursor, Resume, UnreadableError, decode
from tidegate.schemas.access import Caller
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.access import claim
from tidegate.services.gateway.client_stream import AdmittedClient
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import FAULT_CHARS, RequestRefusedError, unreadable


def read_cursor(text: str, rid: str = "") -> Cursor:
    """The cursor that a client sends, the start of the stream where it sends none. Raises `RequestRefusedError`."""
    try:
        return Cursor.read(text) if text else Cursor()
    except ValueError as error:
        refused = refusal("bad_cursor", rid, fault=str(error)[:FAULT_CHARS])
        raise RequestRefusedError(refused, "Last-Event-ID") from error


async def resume_stream(ingress: Ingress, resume: Resume) -> AdmittedClient:
    """Find the request again for its asker; its words need not be repeated. Raises `RequestRefusedError`."""
    at = read_cursor(resume.cursor, resume.rid)
    ingress.streams.check_room(resume.rid)
    pending = await ingress.resume(resume.tenant, resume.rid, resume.asker)
    return AdmittedClient(pending, at, resume.can_retract and pending.asked.can_retract)


async def admit_client(
    ingress: Ingress,
    data: bytes,
    *kinds: type[Asked | Resume],
    caller: Caller,
    cursor: str = "",
    traceparent: str = "",
) -> AdmittedClient:
    """Read one of `kinds` and do what it asks for: accept a request, the same one once more, or find it again.

    It is `caller`'s. `cursor` and `traceparent` go with an `Asked`, which has none itself. Raises
    `RequestRefusedError`.
    """
    try:
        request = decode(data, *kinds)
    except UnreadableError as error:
        raise unreadable(error.reason, error.hint) from error
    request = claim(request, caller)
    if isinstance(request, Resume):
        return await resume_stream(ingress, request)
    at = read_cursor(cursor, request.rid)
    ingress.streams.check_room(request.rid)
    return AdmittedClient(await ingress.accept(request, traceparent), at, request.can_retract)
