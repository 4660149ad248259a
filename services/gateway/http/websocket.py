"""Streams over WebSocket (RFC 6455): every event of the grammar is one text message in JSON."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from urllib.parse import urlsplit

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tidegate.schemas import Asked, Resume
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.client_stream import failed_event
from tidegate.services.gateway.http.sse import read_resume
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError, log_refusal, refusal_from_exception
from tidegate.services.gateway.resume import AdmittedClient, admit_client, resume_stream
from tidegate.services.streaming.events import EndEvent, ErrorEvent

DONE, REFUSED, LATER = 1000, 1008, 1013


class WebSocketStreams:
    """/v1/streams/ws, where the first message is an `Asked` or a `Resume`, and /v1/streams/{rid}/ws?cursor=.

    A page of another origin is turned away: its browser would let it ask without asking the site first.
    """

    def __init__(self, ingress: Ingress, heartbeat_s: float, patience_s: float) -> None:
        self._ingress = ingress
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
            found = (
                resume_stream(self._ingress, read_resume(socket, self._ingress)) if is_resuming else self._asked(socket)
            )
            await self._tell(socket, await found)
        except RequestRefusedError as error:
            await self._end(socket, failed_event(log_refusal(error.refused, "ws")))
        except WebSocketDisconnect:
            return
        except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
            await self._end(socket, failed_event(refusal_from_exception(error, "ws")))

    async def _asked(self, socket: WebSocket) -> AdmittedClient:
        try:
            async with asyncio.timeout(self._patience_s):
                message = await socket.receive()
        except TimeoutError as error:
            raise RequestRefusedError(refusal("body_too_slow", limit_s=self._patience_s)) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", DONE))
        data = message.get("bytes") or (message.get("text") or "").encode("utf-8", "surrogatepass")
        return await admit_client(self._ingress, data, Asked, Resume)

    async def _tell(self, socket: WebSocket, client: AdmittedClient) -> None:
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

    async def _tell_all(self, socket: WebSocket, client: AdmittedClient) -> None:
        following = self._ingress.streams.follow(
            client.pending, client.at, can_retract=client.can_retract, transport="ws", heartbeat_s=self._heartbeat_s
        )
        async with aclosing(following) as events:
            async for event in events:
                if isinstance(event, EndEvent | ErrorEvent):
                    await self._end(socket, event)
                else:
                    await socket.send_text(msgspec.json.encode(event).decode())

    async def _end(self, socket: WebSocket, event: EndEvent | ErrorEvent) -> None:
        if socket.application_state is not WebSocketState.CONNECTED:
            return
        code = DONE if isinstance(event, EndEvent) else LATER if event.is_resumable else REFUSED
        try:
            await socket.send_text(msgspec.json.encode(event).decode())
            await socket.close(code)
        except (WebSocketDisconnect, RuntimeError):  # it left before the last word
            return


async def gone(socket: WebSocket) -> None:
    """Return when the client has left; whatever else it says is of no interest."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
