"""How a client asks for a stream and how it goes on with one; the same at every door."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Asked, Cursor, Message, Refused, Resume, UnreadableError, decode
from tidegate.services.gateway.http.openai import RequestRefusedError
from tidegate.services.gateway.ingress import Ingress, PendingRequest
from tidegate.services.gateway.refusals import FAULT_CHARS, refusal, unreadable


class AdmittedClient(msgspec.Struct, frozen=True):
    """A client that may be told: what, from where on, and whether it can take anything back."""

    pending: PendingRequest
    at: Cursor
    can_retract: bool


def cursor_in(text: str, rid: str = "") -> Cursor:
    """The cursor that a client sends, the start of the stream where it sends none. Raises `NotAccepted`."""
    try:
        return Cursor.read(text) if text else Cursor()
    except ValueError as error:
        raise RequestRefusedError(refusal("bad_cursor", rid, fault=str(error)[:FAULT_CHARS]), "Last-Event-ID") from error


async def begin_stream(ingress: Ingress, asked: Asked, cursor: str = "", traceparent: str = "") -> AdmittedClient:
    """Accept the request, or the same request of the same asker once more. Raises `NotAccepted`."""
    at = cursor_in(cursor, asked.rid)
    if ingress.streams.full:
        raise RequestRefusedError(refusal("busy", asked.rid))
    pending = await ingress.accept(asked, traceparent)
    if isinstance(pending, Refused):
        raise RequestRefusedError(pending)
    return AdmittedClient(pending, at, asked.can_retract)


async def resume_stream(ingress: Ingress, resume: Resume) -> AdmittedClient:
    """Find the request again for the asker of it; their words need not be repeated. Raises `NotAccepted`."""
    at = cursor_in(resume.cursor, resume.rid)
    if ingress.streams.full:
        raise RequestRefusedError(refusal("busy", resume.rid))
    pending = await ingress.resume(resume.tenant, resume.rid, resume.asker)
    if isinstance(pending, Refused):
        raise RequestRefusedError(pending)
    return AdmittedClient(pending, at, resume.can_retract and pending.asked.can_retract)


async def admitted(ingress: Ingress, data: bytes, *kinds: type[Message]) -> AdmittedClient:
    """Read one of `kinds`, `Asked` or `Resume`, and do what it asks for. Raises `NotAccepted`."""
    try:
        request = decode(data, *kinds)
    except UnreadableError as error:
        raise RequestRefusedError(unreadable(error)) from error
    return await (resume_stream(ingress, request) if isinstance(request, Resume) else begin_stream(ingress, request))
