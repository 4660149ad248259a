"""How a client asks for a stream and how it goes on with one; the same at every door."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Asked, Cursor, Message, Refused, Resume, Unreadable, decode
from tidegate.services.gateway.http.openai import NotAccepted
from tidegate.services.gateway.ingress import Door, Ticket
from tidegate.services.gateway.refusals import FAULT_CHARS, refuse, unreadable


class Admitted(msgspec.Struct, frozen=True):
    """A client that may be told: what, from where on, and whether it can take anything back."""

    ticket: Ticket
    at: Cursor
    can_retract: bool


def cursor_in(text: str, rid: str = "") -> Cursor:
    """The cursor that a client sends, the start of the stream where it sends none. Raises `NotAccepted`."""
    try:
        return Cursor.read(text) if text else Cursor()
    except ValueError as error:
        raise NotAccepted(refuse("bad_cursor", rid, fault=str(error)[:FAULT_CHARS]), "Last-Event-ID") from error


async def begun(door: Door, asked: Asked, cursor: str = "", traceparent: str = "") -> Admitted:
    """Accept the request, or the same request of the same asker once more. Raises `NotAccepted`."""
    at = cursor_in(cursor, asked.rid)
    if door.streams.full:
        raise NotAccepted(refuse("busy", asked.rid))
    ticket = await door.accept(asked, traceparent)
    if isinstance(ticket, Refused):
        raise NotAccepted(ticket)
    return Admitted(ticket, at, asked.can_retract)


async def resumed(door: Door, resume: Resume) -> Admitted:
    """Find the request again for the asker of it; their words need not be repeated. Raises `NotAccepted`."""
    at = cursor_in(resume.cursor, resume.rid)
    if door.streams.full:
        raise NotAccepted(refuse("busy", resume.rid))
    ticket = await door.resume(resume.tenant, resume.rid, resume.asker)
    if isinstance(ticket, Refused):
        raise NotAccepted(ticket)
    return Admitted(ticket, at, resume.can_retract and ticket.asked.can_retract)


async def admitted(door: Door, data: bytes, *kinds: type[Message]) -> Admitted:
    """Read one of `kinds`, `Asked` or `Resume`, and do what it asks for. Raises `NotAccepted`."""
    try:
        request = decode(data, *kinds)
    except Unreadable as error:
        raise NotAccepted(unreadable(error)) from error
    return await (resumed(door, request) if isinstance(request, Resume) else begun(door, request))
