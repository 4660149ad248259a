"""An HTTP client that says what no library would: bytes over a socket, and what came back of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

PATIENCE_S = 10.0
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


class RawReply(msgspec.Struct, frozen=True):
    """`code`: that of the error object, empty where there is none; `status` 0: the connection was closed unanswered."""

    status: int
    code: str
    head: str


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)

    async def reply(self) -> RawReply:
        """The next reply; raises `TimeoutError` where none comes."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            except (asyncio.IncompleteReadError, ConnectionError):
                return RawReply(0, "", "")
            lines = dict(line.split(": ", 1) for line in head.strip().split("\r\n")[1:])
            body = await self.reader.readexactly(int(lines.get("content-length", "0")))
        is_error = body.startswith(b'{"error"')
        return RawReply(int(head.split()[1]), json.loads(body)["error"]["code"] if is_error else "", head)

    async def rest(self) -> bytes:
        """All that comes until the server closes. Raises `TimeoutError` where it does not."""
        received = b""
        async with asyncio.timeout(PATIENCE_S):
            try:
                while piece := await self.reader.read(65_536):
                    received += piece
            except ConnectionError:
                return received
        return received


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[RawClient]:
    """A connection to the server at `url`, closed on leaving."""
    host, port = url.removeprefix("http://").split(":")
    client = RawClient(*await asyncio.open_connection(host, int(port)))
    try:
        yield client
    finally:
        client.writer.close()


def get(path: str = "/healthz", headers: str = "") -> bytes:
    """A whole request."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()
