"""A stream whose answer may not stand: taken back by whoever can, ended with a reason for whoever cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from loadtests.load.dropping import Sse
from loadtests.load.stream_client import Client
from tests.services.gateway.test_gateway_streams import CHAT, chat, contents, line, way_to
from tests.services.gateway.test_gateway_streams import http as open_http
from tests.services.gateway.test_gateway_streams import open_site as open_served
from tests.services.gateway.test_gateway_streams import running as open_running
from tests.support.gateway_site import Site, asked

pytestmark = pytest.mark.anyio
open_site, running, http = open_served, open_running, open_http
"""The fixtures: a served site, at rest, and ada's client of it."""


async def test_what_may_not_stand_is_taken_back_and_a_chat_is_told_so_in_its_finish_reason(
    running: Site, http: httpx.AsyncClient
) -> None:
    text, client = "", Client()

    async def read(reply: httpx.Response) -> None:
        nonlocal text
        async for piece in reply.aiter_text():
            text += piece

    async with http.stream("POST", CHAT, json=chat("stop here"), headers={"X-Request-Id": "chat5"}) as reply:
        reading = asyncio.create_task(read(reply))
        await running.arrivals.get()
        again = asked("stop here", can_retract=True, rid="chat5")
        showing = asyncio.create_task(Sse(*way_to(running)).ask(again, client))
        last = await line(running, "chat5", "You will be rich. ", 0)
        async with asyncio.timeout(10):
            while not (contents(text) and client.text):  # noqa: ASYNC110 - two clients, each at its own pace
                await asyncio.sleep(0.01)
        about: dict[str, Any] = {"epoch": 2, "is_last": True, "reason": "policy_block", "withdrawn": 18}
        await line(running, "chat5", "I had better stop here.", last, state="withdrawn", **about)
        running.may_answer.set()
        await asyncio.gather(reading, showing)
    assert (client.text, client.withdrawn) == ("I had better stop here.", "policy_block")
    assert "".join(text for _, text in contents(text)) == "You will be rich. "
    assert '"finish_reason":"content_filter"' in text
