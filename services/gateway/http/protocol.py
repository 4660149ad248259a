"""HTTP/1.1 and WebSocket as uvicorn parses them, with bounds on what a client may send, open and leave waiting.

What is refused before any endpoint sees it is refused in JSON too. Next: connections.py, server.py, which uses it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import RemoteProtocolError

from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.services.gateway.http.connections import ConnectionTable, Deadline, peer_of
from tidegate.services.gateway.http.errors import error_body
from tidegate.services.gateway.http.heads import is_ambiguous
from tidegate.services.gateway.refusals import count_refusal
from tidegate.services.gateway.settings import GatewayLimits

LEAST_SENT_BYTES = 1 << 20
BODY_OVERHEAD = 8
"""What a message may take on the wire as a multiple of the longest body: pieces of one byte each are legal."""
DRAINED = 8
"""So many times as much is read, and dropped, of a body that was refused already: a client that sends all of it before
it reads would lose the reply to a connection that is reset."""
MAX_PIPELINED = 32
"""Requests that a client may have sent before the first of them is answered."""
TOO_BIG = 1009
"""A close code (RFC 6455, 7.4.1)."""
LINGER_S = 1.0
"""How long a client that is told why its socket ends may take to end it."""


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, with what the connections of one server share."""

    def __init__(self, app: Any, limits: GatewayLimits, max_body_bytes: int, **options: Any) -> None:
        self.limits = limits
        self.table = ConnectionTable(limits)
        self.max_sent_bytes = max(LEAST_SENT_BYTES, BODY_OVERHEAD * max_body_bytes)
        super().__init__(
            app,
            http=JsonHttpProtocol,
            ws=JsonWebSocketProtocol,
            ws_max_size=max_body_bytes,
            ws_per_message_deflate=False,  # 194 kB inflate to 200 MB before their size is known
            timeout_keep_alive=max(1, round(limits.idle_timeout_s)),
            **options,
        )


class StallGuard(asyncio.Protocol):
    """Ends a connection whose client reads nothing of what is sent to it; comes before the protocol that it guards."""

    transport: asyncio.Transport
    _limits: GatewayLimits
    _stalled: Deadline

    def pause_writing(self) -> None:
        """The client does not read as fast as it is written to."""
        super().pause_writing()
        self._stalled.start(self._limits.write_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has read."""
        self._stalled.stop()
        super().resume_writing()


class JsonHttpProtocol(StallGuard, HttpToolsProtocol):
    """Bounds heads, their time, silence and what is sent beside a request, none of which the parser does."""

    def __init__(self, config: ServerConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._limits = config.limits
        self._table = config.table
        self._max_sent_bytes = config.max_sent_bytes
        self._head_bytes = self._fed_bytes = self._sent_bytes = 0
        self._is_in_head = True
        self._fault = "not_http"
        self._peer = ""
        self._patience, self._stalled = Deadline(self.loop), Deadline(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected; the time of its first head runs."""
        super().connection_made(transport)
        self._peer = peer_of(self.client[0]) if self.client else ""
        self._table.fall_silent(self.transport, self._peer, self._end)
        self._patience.start(self._limits.head_timeout_s, self._refuse_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._patience.stop()
        self._stalled.stop()
        self._table.forget(self.transport)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._head_bytes, self._fed_bytes, self._sent_bytes, self._is_in_head = 0, 0, 0, True
        if self.cycle is not None and self.cycle.response_complete:
            self._patience.start(self._limits.head_timeout_s, self._refuse_slow)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if not self._is_in_head:
            return  # a trailer: a proxy lets it through unread; merged it would count as a header (RFC 9110, 6.5.1)
        super().on_header(name, value)
        if len(self.headers) > self._limits.max_headers:
            self._fail("too_many_headers")

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        if is_ambiguous(self.headers, self.parser.get_http_version()):
            self._fail("ambiguous_head")
        if len(self.pipeline) >= MAX_PIPELINED:
            self._fail("too_much_sent")
        if not self._table.begin_work(self.transport, self._peer):
            self._fail("too_many_connections")
        self._patience.stop()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """One request is over; what still comes of its body does not keep the connection open."""
        super().on_response_complete()
        if self.pipeline or not self.cycle.response_complete:
            return
        self._table.fall_silent(self.transport, self._peer, self._end)
        if self._is_in_head:
            self._patience.start(self._limits.head_timeout_s, self._refuse_slow)
        else:
            self._patience.start(self._limits.idle_timeout_s, self._end)

    def data_received(self, data: bytes) -> None:
        """Bytes have come; those of a header that does not end, and of trailers, are counted too."""
        self._sent_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_head:
            self._fed_bytes += len(data)
            if self._fed_bytes > self._limits.max_head_bytes:
                self._fault = "headers_too_large"
                self.send_400_response("")
        elif self._sent_bytes > self._max_sent_bytes * (DRAINED if self._is_answered else 1):
            self._fault = "too_much_sent"
            self.send_400_response("")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 the text is uvicorn's, for its log
        """Refuse and close: nothing that follows can be understood, or is wanted."""
        self._patience.start(self._limits.write_timeout_s, self.transport.abort)
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()  # a reply is being sent: another one in the middle of it would not be understood
            return
        limit = self._limits.max_headers if self._fault == "too_many_headers" else self._limits.max_head_bytes
        refuse(self.transport, self._fault, limit)

    @property
    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.max_head_bytes:
            self._fail("headers_too_large")

    def _fail(self, code: str) -> None:
        self._fault = code
        raise ValueError(code)  # the parser turns it into its own error, and uvicorn that into `send_400_response`

    def _refuse_slow(self) -> None:
        if self._fed_bytes or self._head_bytes:
            refuse(self.transport, "head_too_slow", self._limits.head_timeout_s)
        self._end()

    def _end(self) -> None:
        """Close what waits, at once where the client does not even read what was sent."""
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()


class JsonWebSocketProtocol(StallGuard, WSProtocol):
    """Replies with an error object to a handshake that is none, and bounds what a client sends and leaves unread."""

    def __init__(self, config: ServerConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._limits = config.limits
        self._table = config.table
        self._max_sent_bytes = config.max_sent_bytes
        self._sent_bytes = 0
        self._stalled = Deadline(self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stalled.stop()
        self._table.forget(self.transport)
        super().connection_lost(exc)

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """All is said; a client that does not read the end of it is not waited for."""
        super().on_task_complete(task)
        if not self.disconnected:
            self._stalled.start(self._limits.write_timeout_s, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Bytes have come; before the handshake is complete they are its request. One message is wanted of a client,
        so that they may not be many."""
        self._sent_bytes += len(data)
        if self._sent_bytes > self._max_sent_bytes:
            self._close_flooded()
            return
        if self.handshake_complete:
            super().data_received(data)
            return
        try:
            self.conn.receive_data(data)
        except RemoteProtocolError:
            refuse(self.transport, "bad_handshake", headers="sec-websocket-version: 13\r\n")
        else:
            self.handle_events()

    def handle_ping(self, event: Ping) -> None:
        """Replies to a client that reads its replies; for another one they would pile up here."""
        if self.writable.is_set():
            super().handle_ping(event)

    def handle_message(self, event: TextMessage | BytesMessage) -> None:
        """A part of a message; one that is too long is not kept, and the client is told so."""
        if self.buffer.length + len(event.data) > self.buffer.max_length:
            count_refusal("body_too_large", "ws")
            self._begin_close(TOO_BIG, f"a message has at most {self.buffer.max_length} bytes")
        else:
            super().handle_message(event)

    def handle_close(self, event: CloseConnection) -> None:
        """The client ends it, or has sent what is no frame: then it is told so."""
        if self.conn.state is ConnectionState.OPEN and not self.close_sent:
            self._begin_close(event.code, event.reason or "")
        else:
            super().handle_close(event)

    def _begin_close(self, code: int, reason: str) -> None:
        """Say why, and pass over what is still on its way for a moment: closing at once would destroy the reason."""
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.transport.write(self.conn.send(CloseConnection(code=code, reason=reason)))
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _close_flooded(self) -> None:
        if not self.close_sent and not self.transport.is_closing():
            count_refusal("too_much_sent", "ws")
            self._begin_close(TOO_BIG, "too much was sent")
        self.transport.close()


def refuse(transport: asyncio.Transport, code: str, limit: float = 0, headers: str = "") -> None:
    """Reply with an error object, and close."""
    count_refusal(code, "http")
    terms = REFUSALS[code]
    status = HTTPStatus(terms.status)
    body = error_body(refusal(code, limit=limit))
    if terms.retry_after_s:
        headers += f"retry-after: {terms.retry_after_s}\r\n"
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n{headers}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)
    transport.close()
