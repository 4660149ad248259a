"""A NATS request with many replies, as a client of a stream sends it. Next: dropping.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.connection import NO_RESPONDERS, Link


class Replies:
    """The replies to one request, in order; the requester knows which one is the last."""

    def __init__(self, idle_s: float) -> None:
        self.arrived: asyncio.Queue[Msg] = asyncio.Queue()
        self._idle_s = idle_s

    async def next(self) -> bytes:
        """Raises `UnreachableError` at once when nobody listens, and when no reply came for `idle_s` seconds."""
        try:
            async with asyncio.timeout(self._idle_s):
                reply = await self.arrived.get()
        except TimeoutError as error:
            raise UnreachableError(f"no reply within {self._idle_s:g} s") from error
        if reply.headers and reply.headers.get("Status") == NO_RESPONDERS:
            raise UnreachableError("nobody answers")
        return bytes(reply.data)


@asynccontextmanager
async def request_many(link: Link, subject: str, data: bytes, idle_s: float = 5.0) -> AsyncIterator[Replies]:
    """Send a request and take its replies until left. Raises `UnreachableError` where there is no connection."""
    inbox, replies = link.new_inbox(), Replies(idle_s)
    subscription = await link.subscribe(inbox, replies.arrived.put)
    try:
        if not (link.is_up and await link.send(subject, data, inbox)):
            raise UnreachableError(f"no connection to the server while asking {subject}")
        yield replies
    finally:
        await link.unsubscribe(subscription)
