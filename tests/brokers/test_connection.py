"""What goes over the wire of one connection, and in which order: seen by a proxy before a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from nats.aio.msg import Msg

from tidegate.brokers.jetstream.connection import Link
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@contextlib.asynccontextmanager
async def proxy_before(url: str, sent: bytearray) -> AsyncIterator[str]:
    """A way to the server that keeps what the client sends."""
    target = urlsplit(url)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                kept += data
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(pump(reader, back, sent), pump(there, writer, bytearray()))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def test_the_round_trip_of_an_unsubscription_begins_after_the_server_has_read_it(tmp_path: Path) -> None:
    async def ignore(_: Msg) -> None: ...

    sent = bytearray()
    async with (
        Server("site1", tmp_path) as server,
        proxy_before(server.url, sent) as url,
        Link.open(NatsSettings(url=url), "_INBOX_site1") as link,
    ):
        subscription = await link.subscribe("pull.*", ignore)
        await link.send("first", b"x")
        before = len(sent)
        await link.unsubscribe(subscription)
        commands = [line.split(b" ")[0] for line in bytes(sent[before:]).split(b"\r\n")]
    assert b"UNSUB" in commands
    assert commands.index(b"UNSUB") < commands.index(b"PING")
    assert bytes(sent).index(b"PUB first") < bytes(sent).index(b"UNSUB")
