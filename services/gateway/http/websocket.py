"""Streams over WebSocket (RFC 6455): every event of the grammar is one text message in JSON."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from urllib.parse import urlsplit

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tidegate.schemas import Asked, Resume
from tidegate.services.gateway.client_stream import failed
from tidegate.services.gateway.http.openai import NotAccepted
from tidegate.services.gateway.http.sse import resume_in
from tidegate.services.gateway.ingress import Door
from tidegate.services.gateway.refusals import refuse, settled, told
from tidegate.services.gateway.resume import Admitted, admitted, resumed
from tidegate.services.streaming.events import Ended, Failed

DONE, REFUSED, LATER = 1000, 1008, 1013


class Sockets:
    """/v1/streams/ws, where the first message is an `Asked` or a `Resume`, and /v1/streams/{rid}/ws?cursor=.

    A page of another origin is turned away: its browser would let it ask without asking the site first.
    """

    def __init__(self, door: Door, heartbeat_s: float, patience_s: float) -> None:
        self._door = door
        self._heartbeat_s = heartbeat_s
        self._patience_s = patience_s

    async def ask(self, socket: WebSocket) -> None:
        """Wait for the first message, for `patience_s` seconds; then tell."""
        await self._serve(socket, is_resuming=False)

    async def resume(self, socket: WebSocket) -> None:
        """The asker is in the header `X-Tidegate-Asker`."""
        await self._serve(socket, is_resuming=True)

    async def _serve(self, socket: WebSocket, *, is_resuming: bool) -> None:
        origin = socket.headers.get("origin")
        if origin and urlsplit(origin).netloc != socket.headers.get("host"):
            await socket.close(REFUSED)
            return
        await socket.accept()
        try:
            found = resumed(self._door, resume_in(socket, self._door)) if is_resuming else self._asked(socket)
            await self._tell(socket, await found)
        except NotAccepted as error:
            await self._end(socket, failed(told(error.refused, "ws")))
        except WebSocketDisconnect:
            return
        except Exception as error:  # noqa: BLE001 a request is answered or refused; this is where it is settled
            await self._end(socket, failed(settled(error, "ws")))

    async def _asked(self, socket: WebSocket) -> Admitted:
        try:
            async with asyncio.timeout(self._patience_s):
                message = await socket.receive()
        except TimeoutError as error:
            raise NotAccepted(refuse("body_too_slow", limit_s=self._patience_s)) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", DONE))
        data = message.get("bytes") or (message.get("text") or "").encode("utf-8", "surrogatepass")
        return await admitted(self._door, data, Asked, Resume)

    async def _tell(self, socket: WebSocket, client: Admitted) -> None:
        """Tell until the end, or until the client is gone."""
        telling = asyncio.ensure_future(self._tell_all(socket, client))
        leaving = asyncio.ensure_future(gone(socket))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
        finally:
            telling.cancel()
            leaving.cancel()
            await asyncio.gather(telling, leaving, return_exceptions=True)

    async def _tell_all(self, socket: WebSocket, client: Admitted) -> None:
        following = self._door.streams.follow(
            client.ticket, client.at, can_retract=client.can_retract, via="ws", heartbeat_s=self._heartbeat_s
        )
        async with aclosing(following) as events:
            async for event in events:
                if isinstance(event, Ended | Failed):
                    await self._end(socket, event)
                else:
                    await socket.send_text(msgspec.json.encode(event).decode())

    async def _end(self, socket: WebSocket, event: Ended | Failed) -> None:
        if socket.application_state is not WebSocketState.CONNECTED:
            return
        code = DONE if isinstance(event, Ended) else LATER if event.is_resumable else REFUSED
        try:
            await socket.send_text(msgspec.json.encode(event).decode())
            await socket.close(code)
        except (WebSocketDisconnect, RuntimeError):  # it left before the last word
            return


async def gone(socket: WebSocket) -> None:
    """Return when the client has left; whatever else it says is of no interest."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
