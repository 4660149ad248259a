"""Streams over WebSocket (RFC 6455): every event of the grammar is one text message in JSON.

What cannot be opened is refused before the handshake, as an error object under its HTTP status; next: sse.py."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from urllib.parse import urlsplit

import msgspec
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from tidegate.schemas import Asked, Refused, Resume
from tidegate.schemas.access import Caller
from tidegate.schemas.refusals import refusal
from tidegate.services.gateway.client_stream import AdmittedClient, failed_event
from tidegate.services.gateway.http.access import SUBPROTOCOL, AccessGate
from tidegate.services.gateway.http.body import HttpTimes, while_connected
from tidegate.services.gateway.http.cors import CorsPolicy
from tidegate.services.gateway.http.errors import error_response
from tidegate.services.gateway.http.operations import APP
from tidegate.services.gateway.http.sse import read_resume
from tidegate.services.gateway.ingress import Ingress
from tidegate.services.gateway.refusals import RequestRefusedError, log_refusal, refusal_from_exception
from tidegate.services.gateway.resume import admit_client, resume_stream
from tidegate.services.streaming.events import EndEvent, ErrorEvent

NORMAL, POLICY_VIOLATION, TRY_AGAIN_LATER = 1000, 1008, 1013
"""Close codes (RFC 6455, 7.4.1)."""


class WebSocketEndpoint:
    """/v1/streams/ws, where the first message is an `Asked` or a `Resume`, and /v1/streams/{rid}/ws?cursor=.

    A page of an origin that is not allowed is turned away: its browser would let it ask without a preflight.
    """

    def __init__(self, ingress: Ingress, gate: AccessGate, cors: CorsPolicy, times: HttpTimes) -> None:
        self._ingress = ingress
        self._gate = gate
        self._cors = cors
        self._times = times

    async def serve(self, socket: WebSocket) -> None:
        """Send the events of the request that the path names, else of the first message, awaited as long as a body."""
        origin = socket.headers.get("origin", "")
        if origin and urlsplit(origin).netloc != socket.headers.get("host") and not self._cors.grant(origin):
            await deny(socket, refusal("origin_not_allowed", origin=origin[:128]))
            return
        try:
            caller = self._gate.admit(socket, APP)
        except RequestRefusedError as error:
            await deny(socket, error.refused)
            return
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope.get("subprotocols", []) else None)
        try:
            if "rid" in socket.path_params:
                client = await resume_stream(self._ingress, read_resume(socket, caller))
            else:
                client = await self._read_request(socket, caller)
            await while_connected(self._send_all(socket, client), socket.receive)
        except (ClientDisconnect, WebSocketDisconnect):
            return
        except Exception as error:  # noqa: BLE001 whatever happens, the request is answered or refused
            await self._end(socket, failed_event(refusal_from_exception(error, "ws", caller=caller)))

    async def _read_request(self, socket: WebSocket, caller: Caller) -> AdmittedClient:
        patience_s = self._times.body_timeout_s
        try:
            async with asyncio.timeout(patience_s):
                message = await socket.receive()
        except TimeoutError as error:
            raise RequestRefusedError(refusal("body_too_slow", limit_s=patience_s)) from error
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", NORMAL))
        data = message.get("bytes") or (message.get("text") or "").encode("utf-8", "surrogatepass")
        return await admit_client(self._ingress, data, Asked, Resume, caller=caller)

    async def _send_all(self, socket: WebSocket, client: AdmittedClient) -> None:
        async with aclosing(self._ingress.streams.follow(client, "ws", self._times.heartbeat_s)) as events:
            async for event in events:
                if isinstance(event, EndEvent | ErrorEvent):
                    await self._end(socket, event)
                else:
                    await socket.send_text(msgspec.json.encode(event).decode())

    async def _end(self, socket: WebSocket, event: EndEvent | ErrorEvent) -> None:
        if socket.application_state is not WebSocketState.CONNECTED:
            return
        code = NORMAL
        if isinstance(event, ErrorEvent):
            code = TRY_AGAIN_LATER if event.is_resumable else POLICY_VIOLATION
        try:
            await socket.send_text(msgspec.json.encode(event).decode())
            await socket.close(code)
        except (WebSocketDisconnect, RuntimeError):  # it left before the last event
            return


async def deny(socket: WebSocket, refused: Refused) -> None:
    """Refuse the handshake, with an error object."""
    log_refusal(refused, "ws")
    await socket.send_denial_response(error_response(refused))


async def no_such_socket(scope: Scope, receive: Receive, send: Send) -> None:
    """404 to a handshake at a path that has no socket."""
    await deny(WebSocket(scope, receive, send), refusal("no_such_path"))
