"""Clients of the three transports that go away in the middle: after so many bytes, or so many messages."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import httptools
import msgspec
import wsproto
from wsproto.events import AcceptConnection, CloseConnection, RejectConnection, RejectData, TextMessage
from wsproto.events import Request as Upgrade

from loadtests.load.many_replies import request_many
from loadtests.load.stream_client import Client
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.connection import Link
from tidegate.schemas import Asked, Resume, encode_json
from tidegate.schemas.entries import entry
from tidegate.schemas.subjects import RESUME, STREAM
from tidegate.services.streaming.events import Event

TRIES = 20
WHOLE = 1 << 40
"""A budget that no stream uses up."""


class Transport(Protocol):
    """One way to a site's streams. `budget` is what may arrive before the line goes dead; what arrived counts."""

    name: str

    async def ask(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        """Ask, and take events in until the end or the budget's; how much of the budget was used."""

    async def resume(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        """Go on from where the client is; the question is not parsed again."""

    def with_key(self, access_key: str) -> Transport:
        """The same way with another access key; over NATS nobody shows one."""


class Sse:
    """Server-sent events over a bare socket, HTTP chunks and all."""

    name = "sse"

    def __init__(self, host: str, port: int, access_key: str) -> None:
        self._address = host, port
        self._access_key = access_key

    def with_key(self, access_key: str) -> Transport:
        return type(self)(*self._address, access_key)

    async def ask(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        body = encode_json(asked)
        head = f"POST /v1/streams HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return await self._read(head, body, client, budget)

    async def resume(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        head = f"GET /v1/streams/{asked.rid} HTTP/1.1\r\nX-Tidegate-Asker: {asked.asker}\r\n"
        head += f"X-Tidegate-Tenant: {asked.tenant}\r\n"
        return await self._read(head, b"", client, budget)

    async def _read(self, head: str, body: bytes, client: Client, budget: int) -> int:
        last = f"Last-Event-ID: {client.id}\r\n" if client.id else ""
        reader, writer = await asyncio.open_connection(*self._address)
        parser, used = SseParser(), 0
        try:
            key = f"Authorization: Bearer {self._access_key}\r\n"
            writer.write(f"{head}{last}{key}Host: x\r\nConnection: close\r\n\r\n".encode() + body)
            while used < budget and (data := await reader.read(min(65536, budget - used))):
                used += len(data)
                for event in parser.feed(data):
                    client.take(event)
        finally:
            writer.transport.abort()
        return used


class SseParser:
    """Raw bytes of a response in, whole events out; nothing is an event before its blank line."""

    def __init__(self) -> None:
        self._http = httptools.HttpResponseParser(self)
        self._text = b""
        self._status = 0

    def on_headers_complete(self) -> None:
        self._status = self._http.get_status_code()

    def on_body(self, data: bytes) -> None:
        self._text += data

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes. Raises `ValueError` for a response that is no stream."""
        self._http.feed_data(data)
        if self._status not in {0, 200}:
            raise ValueError(f"{self._status}: {self._text.decode()}")
        *blocks, self._text = self._text.split(b"\n\n")
        return [event for block in blocks if (event := self._event(block)) is not None]

    def _event(self, block: bytes) -> Event | None:
        fields = [line.partition(b": ") for line in block.split(b"\n") if not line.startswith(b":")]
        data = [value for name, _, value in fields if name == b"data"]
        if not data:
            return None
        event: Event = msgspec.json.decode(b"\n".join(data), type=Event)
        parsed = {name.decode(): value.decode() for name, _, value in fields}
        assert parsed["id"] == getattr(event, "id", None)
        assert parsed["event"] == event.__struct_config__.tag
        return event


class Ws:
    """WebSocket over a bare socket; a frame that is not whole says nothing."""

    name = "ws"

    def __init__(self, host: str, port: int, access_key: str) -> None:
        self._address = host, port
        self._access_key = access_key

    def with_key(self, access_key: str) -> Transport:
        return type(self)(*self._address, access_key)

    async def ask(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        if client.id:
            return await self.resume(asked, client, budget)
        return await self._read("/v1/streams/ws", encode_json(asked), {}, client, budget)

    async def resume(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        headers = {"X-Tidegate-Asker": asked.asker, "X-Tidegate-Tenant": asked.tenant}
        return await self._read(f"/v1/streams/{asked.rid}/ws?cursor={client.id}", b"", headers, client, budget)

    async def _read(self, path: str, first: bytes, headers: dict[str, str], client: Client, budget: int) -> int:
        reader, writer = await asyncio.open_connection(*self._address)
        socket, used, text = wsproto.WSConnection(wsproto.ConnectionType.CLIENT), 0, ""
        denial: list[RejectConnection | RejectData] = []
        headers = {**headers, "Authorization": f"Bearer {self._access_key}"}
        extra: Any = [(name.encode(), value.encode()) for name, value in headers.items()]
        try:
            writer.write(socket.send(Upgrade(host="x", target=path, extra_headers=extra)))
            while used < budget and (data := await reader.read(min(65536, budget - used))):
                used += len(data)
                socket.receive_data(data)
                for event in socket.events():
                    match event:
                        case AcceptConnection():
                            if first:
                                writer.write(socket.send(TextMessage(first.decode())))
                        case TextMessage(data=piece, message_finished=is_whole):
                            text += piece
                            if is_whole:
                                client.take(msgspec.json.decode(text, type=Event))
                                text = ""
                        case RejectConnection() | RejectData():
                            denial.append(event)
                        case CloseConnection():
                            return used
        finally:
            writer.transport.abort()
        raise_denied(denial)
        return used


def raise_denied(denial: list[RejectConnection | RejectData]) -> None:
    """Raises `ValueError` with the status and the body, where a handshake was refused."""
    body = b"".join(bytes(each.data) for each in denial if isinstance(each, RejectData))
    for each in denial:
        if isinstance(each, RejectConnection):
            raise ValueError(f"{each.status_code}: {body.decode()}")


class Nats:
    """NATS requests with many answers; the budget counts messages.

    What an application publishes arrives at a site with its tenant and key in the subject: so it is published here.
    """

    name = "nats"

    def __init__(self, link: Link, tenant: str, access_key: str) -> None:
        self._link = link
        self._tenant = tenant
        self._key_id = access_key.split("_")[1] if access_key.count("_") > 1 else access_key

    def with_key(self, access_key: str) -> Transport:
        return Nats(self._link, self._tenant, access_key)

    async def ask(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        if client.id:
            return await self.resume(asked, client, budget)
        return await self._read(entry(STREAM, self._tenant, self._key_id), encode_json(asked), client, budget)

    async def resume(self, asked: Asked, client: Client, budget: int = WHOLE) -> int:
        request = Resume(rid=asked.rid, tenant=asked.tenant, asker=asked.asker, cursor=client.id)
        return await self._read(entry(RESUME, self._tenant, self._key_id), encode_json(request), client, budget)

    async def _read(self, subject: str, data: bytes, client: Client, budget: int) -> int:
        for _ in range(TRIES):
            try:
                return await self._read_once(subject, data, client, budget)
            except UnreachableError:  # for some milliseconds a server may not know an endpoint just opened
                await asyncio.sleep(0.05)
        raise UnreachableError(f"nobody answers on {subject}")

    async def _read_once(self, subject: str, data: bytes, client: Client, budget: int) -> int:
        used = 0
        async with request_many(self._link, subject, data, idle_s=30.0) as answers:
            while used < budget and not client.is_done:
                client.take(msgspec.json.decode(await answers.next(), type=Event))
                used += 1
        return used
