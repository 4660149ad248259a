"""What goes over the wire of one connection, and in which order: seen by a proxy before a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nkeys
import pytest
from nats.aio.msg import Msg

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.api import call, connect
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.connection import Link
from tidegate.brokers.servers.credentials import NkeySeedError
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


OPENERS: dict[str, Any] = {"bus": JetStreamBus.open, "client": connect}
NO_SEEDS = {
    "missing": None,
    "empty": b"",
    "a public key": b"UA3JAQKXVJB7GSVFK2XUHKZE6Q6RFRNTVBRHSDTIQGZQPVYWPSP5ZSUX",
    "no text": b"\xff\xfe\x00",
    "an account's": bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_ACCOUNT)),
}


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize("content", NO_SEEDS.values(), ids=NO_SEEDS)
async def test_a_seed_file_that_is_none_is_named_before_anything_is_sent(
    tmp_path: Path, opener: Any, content: bytes | None
) -> None:
    file = tmp_path / "client.nk"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(NkeySeedError, match=r"client\.nk") as refused:
        async with opener(NatsSettings(url="nats://127.0.0.1:1", nkey_seed_file=str(file)), "site1"):
            pass
    assert "nats.nkey_seed_file" in refused.value.hint


@pytest.mark.parametrize("opener", OPENERS.values(), ids=OPENERS)
@pytest.mark.parametrize(
    "url", ["nats://ann:secret@127.0.0.1:1", "nats://secret@127.0.0.1:1", "", "nats://127.0.0.1:x"]
)
async def test_a_server_that_is_not_there_is_named_without_its_password(
    opener: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.brokers.jetstream.connection.OPEN_TIMEOUT_S", 0.2)
    with pytest.raises(UnreachableError, match="no server") as away:
        async with opener(NatsSettings(url=url), "site1"):
            pass
    assert "secret" not in f"{away.value} {away.value.hint}"
    assert "nats.url" in away.value.hint


@pytest.mark.parametrize("what", ["request", "api"])
async def test_who_asks_again_and_again_ends_with_its_time(tmp_path: Path, what: str) -> None:
    """nats-py loses one cancellation in seven here, to a reply that comes at the same moment."""

    async def answer(asked: Msg) -> None:
        await asked.respond(b"!")

    async def ask_again_and_again(bus: JetStreamBus, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            for _ in range(10_000):
                await (bus.link.request("q") if what == "request" else call(bus.link.client, "INFO"))

    async with (
        Server("site1", tmp_path) as server,
        JetStreamBus.open(server.nats, "site1") as bus,
        connect(server.nats, "site1") as other,
    ):
        await other.subscribe("q", cb=answer)
        await other.flush()
        for tries in range(60):
            with pytest.raises(TimeoutError):
                await ask_again_and_again(bus, 0.003 + tries * 1e-5)
