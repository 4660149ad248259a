"""Headers as no client of ours writes them: whoever stores a message chooses no header of what is made of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.nats_fleet import client_of
from tests.support.scripted_stage import AFTER, STAGE, asked
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.message_ids import MessageIds
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import RejectError, encode
from tidegate.schemas.subjects import DEAD

pytestmark = pytest.mark.anyio
ROLLUP = b"Nats-Rollup: all"
"""A header by which everything before the message is deleted from its stream, or the message is refused."""
HEADERS = [
    b"Nats-Msg-Id: folded\r\n %b\r\n" % ROLLUP,
    b"Nats-Msg-Id: return\r%b\r\n" % ROLLUP,
    b"Nats-Msg-Id: feed\n%b\r\n" % ROLLUP,
    b"Nats-Msg-Id: tab\x0b%b\r\n" % ROLLUP,
    "Nats-Msg-Id: line\u2028{0}\u0085{0}\r\n".format(ROLLUP.decode()).encode(),
    b"Nats-Msg-Id: \xff\xfe\r\n",
    b"no colon\r\nNats-Msg-Id: headless\r\n",
    b": nameless\r\nNats-Msg-Id: nameless\r\n",
    b"Nats-Msg-Id: first\r\nNats-Msg-Id: second\r\n",
    b"traceparent: 00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\r\n %b\r\nNats-Msg-Id: traced\r\n" % ROLLUP,
]
OWN = {"Nats-Msg-Id", "traceparent"}


async def store(url: str, headers: Sequence[bytes]) -> None:
    """Store a request with each of these, past every library. Returns when the server has taken them."""
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    for number, header in enumerate(headers):
        block, body = b"NATS/1.0\r\n" + header + b"\r\n", encode(asked(f"r{number}"))
        sizes = b"%d %d" % (len(block), len(block) + len(body))
        writer.write(b"HPUB asks.kiosk.r%d %b\r\n%b%b\r\n" % (number, sizes, block, body))
    writer.write(b"PING\r\n")
    assert await reader.readline() == b"PONG\r\n"
    writer.close()


async def test_a_dead_letter_has_no_header_that_its_message_brought(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server:
        async with client_of(server) as client:
            await declare_site(client, "site1", (STAGE, AFTER))
        await store(server.url, HEADERS)
        async with JetStreamBus.open(server.nats, "site1", MessageIds(b"k" * 32)) as bus:
            async with bus.subscribe(STAGE) as inbox:
                for _ in HEADERS:
                    delivery = await inbox.next(wait_s=10.0)
                    assert delivery is not None
                    await bus.dead_letter(delivery, STAGE.name, RejectError("it can never succeed"))
            letters = await messages(bus.link.client, DEAD, "dead.>")
    assert len(letters) == len(HEADERS), "none was refused for a header, and none has deleted the others"
    for letter in letters:
        assert {name for name in letter.headers if not name.startswith("Dead-")} <= OWN
        assert not set("\r\n") & set("".join(letter.headers.values()))
