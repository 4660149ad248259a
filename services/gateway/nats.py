"""The NATS endpoints: `ask` has one reply, `stream` and `resume` a reply per event, in JSON or MessagePack as asked.

Every request is answered or refused; next: ingress.py, resume.py."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import msgspec

from tidegate.schemas import Asked, Published, Refused, Resume, UnreadableError, decode, encode, encode_json
from tidegate.schemas.message import Message
from tidegate.schemas.subjects import ASK, RESUME, STREAM
from tidegate.services.gateway.client_stream import HEARTBEAT_S, failed_event
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError, log_refusal, refusal_from_exception, unreadable
from tidegate.services.gateway.resume import admit_client
from tidegate.services.streaming.events import Event


async def serve_nats(ingress: Ingress, heartbeat_s: float = HEARTBEAT_S) -> None:
    """Answer `ask`, `stream` and `resume` until the bus closes.

    Every `ask` gets one reply. A `stream`, with an `Asked`, and a `resume`, with a `Resume`, get the events of the
    stream, the last of which is `end` or `error`; to a subscriber that went away they are sent until then, in vain.
    """

    async def answer(data: bytes) -> bytes:
        reply = await _reply(ingress, data)
        return encode(reply) if is_msgpack_map(data) else encode_json(reply)

    def stream_of(kind: type[Message]) -> Callable[[bytes], AsyncIterator[bytes]]:
        async def stream(data: bytes) -> AsyncIterator[bytes]:
            encode_event = msgspec.msgpack.encode if is_msgpack_map(data) else msgspec.json.encode
            async with aclosing(_events(ingress, data, kind, heartbeat_s)) as events:
                async for event in events:
                    yield encode_event(event)

        return stream

    await ingress.bus.respond(ASK, answer)
    await ingress.bus.respond_many(STREAM, stream_of(Asked))
    await ingress.bus.respond_many(RESUME, stream_of(Resume))


def is_msgpack_map(data: bytes) -> bool:
    """Whether `data` begins as a MessagePack map does; no text does, so who sends text is answered in text."""
    return data[:1] >= b"\x80" and (data[:1] <= b"\x8f" or data[:1] in {b"\xde", b"\xdf"})


async def _events(
    ingress: Ingress, data: bytes, kind: type[Message], heartbeat_s: float
) -> AsyncGenerator[Event, None]:
    try:
        client = await admit_client(ingress, data, kind)
    except RequestRefusedError as error:
        yield failed_event(log_refusal(error.refused, "nats"))
        return
    except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
        yield failed_event(refusal_from_exception(error, "nats"))
        return
    following = ingress.streams.follow(
        client.pending, client.at, can_retract=client.can_retract, transport="nats", heartbeat_s=heartbeat_s
    )
    async with aclosing(following) as events:
        async for event in events:
            yield event


async def _reply(ingress: Ingress, data: bytes) -> Published | Refused:
    try:
        asked = decode(data, Asked)
    except UnreadableError as error:
        return log_refusal(unreadable(error), "nats")
    try:
        reply = await ingress.submit(asked)
    except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
        return refusal_from_exception(error, "nats", asked.rid)
    return log_refusal(reply, "nats") if isinstance(reply, Refused) else reply
