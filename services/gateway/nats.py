"""The NATS door: `ask` has one reply, `stream` and `resume` a reply per event, in JSON or MessagePack as asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

import msgspec

from tidegate.schemas import Asked, Published, Refused, Resume, UnreadableError, decode, encode, encode_json, is_json
from tidegate.schemas.message import Message
from tidegate.schemas.subjects import ASK, RESUME, STREAM
from tidegate.services.gateway.client_stream import HEARTBEAT_S, failed_event
from tidegate.services.gateway.http.openai import RequestRefusedError
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import refusal_from_exception, log_refusal, unreadable
from tidegate.services.gateway.resume import admitted
from tidegate.services.streaming.events import Event


async def serve_nats(ingress: Ingress, heartbeat_s: float = HEARTBEAT_S) -> None:
    """Answer `ask`, `stream` and `resume` until the house closes.

    Every `ask` gets one reply. A `stream`, with an `Asked`, and a `resume`, with a `Resume`, get the events of the
    stream, the last of which is `end` or `error`; a subscriber that goes away is told until then, to no effect.
    """

    async def answer(data: bytes) -> bytes:
        reply = await _reply(ingress, data)
        return encode_json(reply) if is_json(data) else encode(reply)

    def telling(kind: type[Message]) -> Callable[[bytes], AsyncIterator[bytes]]:
        async def tell(data: bytes) -> AsyncIterator[bytes]:
            written = msgspec.json.encode if is_json(data) else msgspec.msgpack.encode
            async with aclosing(_events(ingress, data, kind, heartbeat_s)) as events:
                async for event in events:
                    yield written(event)

        return tell

    await ingress.house.respond(ASK, answer)
    await ingress.house.respond_many(STREAM, telling(Asked))
    await ingress.house.respond_many(RESUME, telling(Resume))


async def _events(ingress: Ingress, data: bytes, kind: type[Message], heartbeat_s: float) -> AsyncGenerator[Event, None]:
    try:
        client = await admitted(ingress, data, kind)
    except RequestRefusedError as error:
        yield failed_event(log_refusal(error.refused, "nats"))
        return
    except Exception as error:  # noqa: BLE001 a request is answered or refused; this is where it is settled
        yield failed_event(refusal_from_exception(error, "nats"))
        return
    following = ingress.streams.follow(
        client.pending, client.at, can_retract=client.can_retract, via="nats", heartbeat_s=heartbeat_s
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
    except Exception as error:  # noqa: BLE001 a request is answered or refused; this is where it is settled
        return refusal_from_exception(error, "nats", asked.rid)
    return log_refusal(reply, "nats") if isinstance(reply, Refused) else reply
