"""The NATS endpoints: `ask` has one reply, `stream` and `resume` a reply per event, in JSON or MessagePack as asked.

Every request is answered or refused; next: ingress.py, resume.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from importlib.metadata import version

import msgspec

from tidegate.brokers.service import EndpointReply, MicroService, ServiceEndpoint
from tidegate.schemas import Asked, Published, Refused, Resume, UnreadableError, decode
from tidegate.schemas.access import Caller
from tidegate.schemas.entries import OPERATOR, asker_in, entry
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.schemas.subjects import ASK, RESUME, STREAM
from tidegate.services.access.callers import Callers
from tidegate.services.access.faults import CredentialRefusedError
from tidegate.services.gateway.access import claim, claim_tenant
from tidegate.services.gateway.client_stream import HEARTBEAT_S, failed_event
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError, log_refusal, refusal_from_exception, unreadable
from tidegate.services.gateway.resume import admit_client
from tidegate.services.streaming.events import ErrorEvent, Event

DESCRIPTION = "Questions answered at this site: one reply, or a stream that can be resumed."


OPERATOR_OF_SERVER = "operator of the server"


async def serve_nats(ingress: Ingress, callers: Callers, heartbeat_s: float = HEARTBEAT_S) -> None:
    """Answer `ask`, `stream` and `resume` until the bus closes, as the endpoints of the NATS micro service `tidegate`.

    Every `ask` gets one reply. A `stream`, with an `Asked`, and a `resume`, with a `Resume`, get the events of the
    stream, the last of which is `end` or `error`; to a subscriber that went away they are sent until then, in vain.
    Each is a request of the tenant and the credential that its subject names, whatever it says itself.
    """

    async def answer(subject: str, data: bytes) -> AsyncGenerator[EndpointReply, None]:
        yield _endpoint_reply(await _reply(ingress, callers, subject, data), data)

    async def stream(kind: type[Asked | Resume], subject: str, data: bytes) -> AsyncGenerator[EndpointReply, None]:
        try:
            client = await admit_client(ingress, data, kind, caller=caller_in(subject, callers))
        except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
            yield _endpoint_reply(failed_event(refusal_from_exception(error, "nats")), data)
            return
        async with aclosing(ingress.streams.follow(client, "nats", heartbeat_s)) as events:
            async for event in events:
                yield _endpoint_reply(event, data)

    endpoints = (
        ServiceEndpoint("ask", entry(ASK), answer),
        ServiceEndpoint("stream", entry(STREAM), partial(stream, Asked)),
        ServiceEndpoint("resume", entry(RESUME), partial(stream, Resume)),
    )
    metadata = {"site": ingress.settings.site}
    await ingress.bus.serve(MicroService("tidegate", version("tidegate"), DESCRIPTION, endpoints, metadata))


def caller_in(subject: str, callers: Callers) -> Caller:
    """Who sent a request under this subject. Raises `RequestRefusedError` where the key is not good any more."""
    tenant, credential = asker_in(subject)
    if credential == OPERATOR:
        return Caller(
            tenant=tenant, role="operator", asker=OPERATOR, speaks_for_others=True, credential=OPERATOR_OF_SERVER
        )
    try:
        caller = callers.holder(credential)
    except CredentialRefusedError as error:
        raise RequestRefusedError(refusal("unauthenticated", fault=error.reason, hint=error.hint)) from error
    claim_tenant(caller, tenant)
    if caller.role != "app":
        raise RequestRefusedError(refusal("not_your_role", role=caller.role, roles="app"))
    return caller


def _endpoint_reply(reply: Published | Refused | Event, request: bytes) -> EndpointReply:
    """The reply in the form of the request."""
    data = msgspec.msgpack.encode(reply) if is_msgpack_map(request) else msgspec.json.encode(reply)
    if isinstance(reply, Refused | ErrorEvent):
        return EndpointReply(data, REFUSALS[reply.code].status, reply.code)
    return EndpointReply(data)


def is_msgpack_map(data: bytes) -> bool:
    """Whether `data` begins as a MessagePack map with text for a key does; no text does, not even in Latin-1 (`ß` is
    0xdf there), so who sends text is answered in text.
    """
    first = data[0] if data else 0
    header = 1 if 0x80 <= first <= 0x8F else {0xDE: 3, 0xDF: 5}.get(first, 0)
    if len(data) <= header:
        return header == 1 or data[1:2] == b"\0"  # a map of fewer than 256 keys, cut off behind its size
    return header > 0 and (0xA0 <= data[header] <= 0xBF or 0xD9 <= data[header] <= 0xDB)


async def _reply(ingress: Ingress, callers: Callers, subject: str, data: bytes) -> Published | Refused:
    try:
        asked = decode(data, Asked)
    except UnreadableError as error:
        return log_refusal(unreadable(error.reason, error.hint).refused, "nats")
    try:
        reply = await ingress.submit(claim(asked, caller_in(subject, callers)))
    except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
        return refusal_from_exception(error, "nats", asked.rid)
    return log_refusal(reply, "nats", asked.tenant) if isinstance(reply, Refused) else reply
