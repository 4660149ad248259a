"""HTTP/1.1 and WebSocket as uvicorn parses them; what is refused before any endpoint sees it is refused in JSON too.

Next: server.py, which uses it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.utilities import RemoteProtocolError

from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.services.gateway.http.errors import error_body

MAX_HEAD_BYTES = 65_536


class JsonHttpProtocol(HttpToolsProtocol):
    """Bounds the head of a request, which the parser does not, and replies with an error object to what is no HTTP."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = self._fed_bytes = 0
        self._is_in_head = True

    def on_message_begin(self) -> None:
        self._head_bytes, self._fed_bytes, self._is_in_head = 0, 0, True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Bytes have come; those of a header that does not end are counted too."""
        super().data_received(data)
        if self._is_in_head and not self.transport.is_closing():
            self._fed_bytes += len(data)
            if self._fed_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 the text is uvicorn's, for its log
        """Refuse and close: nothing that follows can be understood."""
        is_too_large = max(self._head_bytes, self._fed_bytes) > MAX_HEAD_BYTES
        refuse(self.transport, "headers_too_large" if is_too_large else "not_http")

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError("the head is too large")  # the parser turns it into its own error, and that into a refusal


class JsonWebSocketProtocol(WSProtocol):
    """Replies with an error object to a handshake that is none."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come; before the handshake is complete they are its request."""
        if self.handshake_complete:
            super().data_received(data)
            return
        try:
            self.conn.receive_data(data)
        except RemoteProtocolError:
            refuse(self.transport, "bad_handshake", "sec-websocket-version: 13\r\n")
        else:
            self.handle_events()


def refuse(transport: asyncio.Transport, code: str, headers: str = "") -> None:
    """Reply with an error object, and close."""
    status = HTTPStatus(REFUSALS[code].status)
    body = error_body(refusal(code, limit=MAX_HEAD_BYTES))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n{headers}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)
    transport.close()
