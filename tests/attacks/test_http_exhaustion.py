"""Clients that want a site's HTTP to have no room, no time or no memory left for others: each is refused, or closed."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_site import Site, at_rest, issue_key, site
from tests.support.raw_http import UPGRADE, RawClient, connect, get
from tests.support.socket_frames import frame
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.services.fleet.endpoints import GatewayFile, decode_state
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.gateway.composition import open as open_gateway
from tidegate.services.gateway.http.protocol import MAX_PIPELINED
from tidegate.services.gateway.settings import GatewayLimits, GatewaySettings
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
HEAD_S = 0.3
LIMITS = GatewayLimits(
    max_connections=12,
    max_connections_per_peer=8,
    max_silent_connections=16,
    head_timeout_s=HEAD_S,
    idle_timeout_s=HEAD_S,
    write_timeout_s=0.5,
    max_watchers=6,
    max_watchers_per_caller=2,
)


async def open_small(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site with little room."""
    times: dict[str, Any] = {"heartbeat_s": 0.05, "body_timeout_s": 0.5, "grace_s": 0.2}
    async with site(tmp_path_factory.mktemp("small"), http=True, limits=LIMITS, **times) as running:
        yield running


open_site = pytest.fixture(open_small, scope="module")
running = pytest.fixture(at_rest)


def credential(running: Site, tenant: str = "kiosk") -> str:
    return f"Authorization: Bearer {running.access_keys[tenant]}\r\n"


async def open_socket(client: RawClient, running: Site, headers: str = "") -> str:
    """Shake hands; the head of the reply."""
    client.send(get("/v1/streams/ws", credential(running) + UPGRADE + headers))
    reply = await client.reply()
    assert reply.status == 101
    return reply.head


async def test_a_thousand_silent_sockets_keep_nobody_from_being_answered(running: Site) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(20):
            await asyncio.gather(*(stack.enter_async_context(connect(running.url)) for _ in range(50)))
            async with connect(running.url) as other:
                other.send(get())
                assert (await other.reply()).status == 200


async def test_a_head_that_comes_a_byte_at_a_time_is_refused_when_its_time_is_up(running: Site) -> None:
    async with connect(running.url) as client:
        began = time.monotonic()
        reply = asyncio.create_task(client.reply())
        for byte in get("/" + "a" * 4_000):
            client.send(bytes([byte]))
            await asyncio.sleep(0.01)
            if reply.done():
                break
        assert (reply.result().status, reply.result().code) == (408, "head_too_slow")
        assert time.monotonic() - began >= HEAD_S


async def test_a_connection_that_never_says_anything_is_closed(running: Site) -> None:
    async with connect(running.url) as client:
        assert await client.rest() == b""


async def test_a_connection_that_says_nothing_more_is_closed_and_an_active_one_is_not(running: Site) -> None:
    async with connect(running.url) as idle, connect(running.url) as busy:
        idle.send(get())
        assert (await idle.reply()).status == 200
        for _ in range(4):
            busy.send(get())
            assert (await busy.reply()).status == 200
            await asyncio.sleep(HEAD_S / 2)
        assert await idle.rest() == b""


async def test_a_body_that_trickles_after_its_refusal_does_not_keep_the_connection(running: Site) -> None:
    async with connect(running.url) as client:
        client.send(b"POST /v1/streams HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        assert (await client.reply()).code == "unauthenticated"
        closed = asyncio.create_task(client.rest())
        async with asyncio.timeout(5):
            while not closed.done():
                client.send(b" ")
                await asyncio.sleep(HEAD_S / 10)
        assert closed.result() == b""


async def test_a_trailer_without_an_end_is_refused(running: Site) -> None:
    head = f"POST /v1/streams HTTP/1.1\r\nHost: x\r\n{credential(running)}Content-Type: application/json\r\n"
    async with connect(running.url) as client:
        client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\nX: ".encode())
        for _ in range(48):
            client.send(b"y" * 65_536)
        assert (await client.reply()).code == "too_much_sent"


async def test_many_headers_are_refused(running: Site) -> None:
    async with connect(running.url) as client:
        client.send(get(headers="X: y\r\n" * (LIMITS.max_headers + 1)))
        reply = await client.reply()
        assert (reply.status, reply.code) == (431, "too_many_headers")
    async with connect(running.url) as client:
        client.send(get(headers="X: y\r\n" * (LIMITS.max_headers - 1)))
        assert (await client.reply()).status == 200


async def test_requests_sent_ahead_in_their_thousands_are_cut_off(running: Site) -> None:
    async with connect(running.url) as client:
        client.send(get() * 200)
        assert (await client.rest()).count(b"HTTP/1.1 200") <= MAX_PIPELINED + 1


async def test_one_address_cannot_have_all_connections_and_is_told_when_to_come_back(running: Site) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(LIMITS.max_connections_per_peer):
            await open_socket(await stack.enter_async_context(connect(running.url)), running)
        client = await stack.enter_async_context(connect(running.url))
        client.send(get())
        reply = await client.reply()
        assert (reply.status, reply.code) == (503, "too_many_connections")
        assert "retry-after: 1" in reply.head
    for _ in range(50):  # the sockets are closed, and there is room again
        async with connect(running.url) as client:
            client.send(get())
            if (await client.reply()).status == 200:
                return
        await asyncio.sleep(0.02)
    pytest.fail("closed sockets were counted on")


async def test_a_compressed_message_is_not_inflated(running: Site) -> None:
    """194 kB became 200 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(2_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH)
    async with connect(running.url) as client:
        head = await open_socket(client, running, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        assert "permessage-deflate" not in head
        client.send(frame(bomb[:-4], bits=0xC0))
        assert (await client.rest())[2:4] == struct.pack("!H", 1002)


@pytest.mark.parametrize("pieces", [1, 40])
async def test_a_message_that_is_too_long_ends_the_socket_whatever_its_frames(running: Site, pieces: int) -> None:
    piece = b"x" * (400_000 // pieces)
    async with connect(running.url) as client:
        await open_socket(client, running)
        client.send(frame(piece, bits=0x80 if pieces == 1 else 0))
        for _ in range(pieces - 1):
            client.send(frame(piece, opcode=0, bits=0))
        assert (await client.rest())[2:4] == struct.pack("!H", 1009)


async def test_a_socket_that_asks_nothing_is_ended_with_a_reason(running: Site) -> None:
    async with connect(running.url) as client:
        await open_socket(client, running)
        assert b"body_too_slow" in await client.rest()


async def test_messages_and_pings_without_end_end_the_socket(running: Site) -> None:
    question = b'{"type":"asked","text":"wait for me","rid":"flood"}'
    async with connect(running.url) as client:
        await open_socket(client, running)
        client.send(frame(question))
        closed = asyncio.create_task(client.rest())
        async with asyncio.timeout(10):
            while not closed.done():
                client.send(frame(b"p" * 120, opcode=9) * 500)
                await asyncio.sleep(0)
        assert struct.pack("!H", 1009) + b"too much" in closed.result()
    running.may_answer.set()


async def test_a_client_that_never_reads_is_let_go(running: Site) -> None:
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        host, port = running.url.removeprefix("http://").split(":")
        await loop.sock_connect(deaf, (host, int(port)))
        with pytest.raises(ConnectionError):  # noqa: PT012  whichever of many sends it is
            async with asyncio.timeout(10):
                while True:
                    await loop.sock_sendall(deaf, get("/openapi.json"))
                    await asyncio.sleep(HEAD_S / 30)


async def test_one_caller_cannot_have_all_watchers(running: Site) -> None:
    watching = [get(f"/v1/requests/none{n}/events", credential(running)) for n in range(3)]
    async with connect(running.url) as one, connect(running.url) as two, connect(running.url) as three:
        for client, request in zip((one, two), watching, strict=False):
            client.send(request)
            assert (await client.reply()).status == 200
            await client.reader.readuntil(b": watching")
        three.send(watching[2])
        refused = await three.reply()
        assert (refused.status, refused.code) == (429, "too_many_watchers")
        assert "retry-after: 1" in refused.head
        three.send(get("/v1/requests/none/events", f"Authorization: Bearer {issue_key(running.settings, 'bank')}\r\n"))
        assert (await three.reply()).status == 200


async def test_a_site_as_it_is_opened_keeps_to_its_settings(tmp_path: Path) -> None:
    limits = GatewayLimits(body_timeout_s=0.2, max_streams=1, min_free_disk_mib=0)
    settings = Settings(
        state_dir=str(tmp_path), models_dir=str(tmp_path), grace_s=0.2, gateway=GatewaySettings(limits=limits)
    )
    key = f"Authorization: Bearer {issue_key(settings, 'kiosk', asker='ada')}\r\n"
    headers = f"{key}Content-Type: application/json\r\n"
    question = b'{"type":"asked","text":"When?","budget_ms":2000}'
    whole = f"POST /v1/streams HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(question)}\r\n\r\n".encode()
    async with open_gateway(settings, MemoryBus(settings.site)):
        url = decode_state(StatePaths(settings).gateway, GatewayFile).url
        async with connect(url) as slow, connect(url) as first, connect(url) as second:
            slow.send(whole)
            assert (await slow.reply()).code == "body_too_slow"
            first.send(whole, question)
            assert (await first.reply()).status == 200
            second.send(whole, question)
            assert (await second.reply()).code == "busy"
