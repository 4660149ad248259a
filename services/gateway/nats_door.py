"""The NATS door: one request on the site's `ask` subject, one reply, each in JSON or in MessagePack."""

from __future__ import annotations

from schemas import Asked, Published, Refused, Unreadable, decode, encode, encode_json, is_json
from schemas.subjects import ASK
from services.gateway.door import Door
from services.gateway.refusals import settled, told, unreadable


async def open_nats_door(door: Door) -> None:
    """Answer `ask` until the house closes. Every request gets one reply, in the form in which it came."""

    async def answer(data: bytes) -> bytes:
        reply = await _reply(door, data)
        return encode_json(reply) if is_json(data) else encode(reply)

    await door.house.respond(ASK, answer)


async def _reply(door: Door, data: bytes) -> Published | Refused:
    try:
        asked = decode(data, Asked)
    except Unreadable as error:
        return told(unreadable(error), "nats")
    try:
        reply = await door.submit(asked)
    except Exception as error:  # noqa: BLE001 a request is answered or refused; this is where it is settled
        return settled(error, "nats", asked.rid)
    return told(reply, "nats") if isinstance(reply, Refused) else reply
