"""Over a WebSocket nobody goes on with another's stream, whichever way names it."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.support.gateway_site import Site, at_rest, http_site, issue_key
from tests.support.raw_http import UPGRADE, connect, get
from tests.support.socket_frames import frame

pytestmark = pytest.mark.anyio
PATIENCE_S = 5.0
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)


async def hear_socket(running: Site, key: str, path: str, *messages: bytes) -> bytes:
    """All that a socket says at this path to the holder of a key who says this, with its last event."""
    async with connect(running.url) as client:
        client.send(get(path, f"Authorization: Bearer {key}\r\n{UPGRADE}"))
        head = (await client.reply()).head
        assert " 101 " in head, head
        for message in messages:
            client.send(frame(message))
        received = b""
        async with asyncio.timeout(PATIENCE_S):
            while not any(last in received for last in (b'"event":"end"', b'"event":"error"')):
                received += await client.reader.readuntil(b"}")
        return received


def shown(heard: bytes) -> bytes:
    """What was shown of an answer: a delta may end anywhere in it."""
    return b"".join(re.findall(rb'"text":"([^"]*)"', heard))


ASK = b'{"type":"asked","text":"When do you open?","rid":"mine"}'
RESUME = b'{"type":"resume","rid":"mine"%s}'
CURSORS = ("", "0.0.0", "1.10.10")


@pytest.fixture
async def answered(running: Site) -> Site:
    """A site that has answered ada's request, whose id everybody knows."""
    heard = await hear_socket(running, running.access_keys["kiosk"], "/v1/streams/ws", ASK)
    assert b"is the answer" in shown(heard)
    return running


@pytest.mark.parametrize("tenant", ["kiosk", "bank"])
@pytest.mark.parametrize("cursor", CURSORS)
async def test_a_token_to_resume_by_is_worth_nothing_to_another_asker(answered: Site, tenant: str, cursor: str) -> None:
    eve, ada = issue_key(answered.settings, tenant, asker="eve"), answered.access_keys["kiosk"]
    named = f',"cursor":"{cursor}"'.encode() if cursor else b""
    for key, is_own in ((eve, False), (ada, True)):
        for path, sent in (
            ("/v1/streams/ws", (RESUME % named,)),
            (f"/v1/streams/mine/ws{f'?cursor={cursor}' if cursor else ''}", ()),
        ):
            heard = await hear_socket(answered, key, path, *sent)
            assert (b'"event":"end"' in heard) == is_own
            assert (b"unknown_request" in heard) != is_own
            assert (b"the answer" in shown(heard)) == is_own


@pytest.mark.parametrize(
    "more",
    [b',"asker":"ada"', b',"tenant":"kiosk"', b',"tenant":"bank","tenant":"kiosk"', b',"asker":"eve","asker":"ada"'],
)
async def test_what_a_message_says_twice_is_held_against_the_key_all_the_same(answered: Site, more: bytes) -> None:
    eve = issue_key(answered.settings, "bank", asker="eve")
    heard = await hear_socket(answered, eve, "/v1/streams/ws", RESUME % more)
    assert b"not_your_" in heard
    assert shown(heard) == b""
