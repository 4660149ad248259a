"""The stages of a request can be watched: their names and times, and not a word of the text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.gateway_site import Site, issue_key, site
from tidegate.services.evaluation.client import bearer
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.server import serve_http

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


def turn(text: str = "When do you open?") -> Any:
    return [{"role": "user", "content": text}]


def body(text: str = "When do you open?", **fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": turn(text), **fields}


def events_in(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Site]:
    """A site on a real server, where what is stored is heard as well."""
    async with site(tmp_path, http=True, server=True, heartbeat_s=0.05) as running:
        yield running


@pytest.fixture
async def on_server(served: Site) -> AsyncIterator[httpx.AsyncClient]:
    """Its HTTP, for ada."""
    async with served.client() as http:
        yield http


@pytest.mark.parametrize("when", ["before", "after"])
async def test_the_stages_of_a_request_can_be_watched_and_never_say_a_word_of_it(
    on_server: httpx.AsyncClient, when: str
) -> None:
    asking: Any = None
    http = on_server
    headers = {"X-Request-Id": "r1"}
    if when == "after":
        await http.post(CHAT, json=body("xylophone lessons"), headers=headers)
    text = ""
    async with http.stream("GET", "/v1/requests/r1/events") as reply:
        async for piece in reply.aiter_text():
            text += piece
            if when == "before" and asking is None and ": waiting" in text:
                asking = asyncio.create_task(http.post(CHAT, json=body("xylophone lessons"), headers=headers))
    if asking:
        await asking
    events = events_in(text)
    stages = ["gateway", "prefilter", "router", "retriever", "drafter", "policy", "publisher"]
    facts = ["asked", "screened", "routed", "retrieved", "drafted", "approved", "published"]
    assert [data["stage"] for name, data in events if name == "stage"] == stages
    assert [data["fact"] for name, data in events if name == "stage"] == facts
    assert events[-1] == ("end", {})
    assert "xylophone" not in text
    assert "words, and" not in text
    assert all(set(data) == {"stage", "fact", "at_ms", "spent"} for name, data in events if name == "stage")


@pytest.mark.parametrize(("tenant", "asker"), [("bank", "ada"), ("kiosk", "eve")])
async def test_nobody_else_sees_anything_of_a_request_neither_before_nor_after_it(
    served: Site, on_server: httpx.AsyncClient, tenant: str, asker: str
) -> None:
    stranger = bearer(issue_key(served.settings, tenant, asker=asker))
    seen, asked = "", False
    async with on_server.stream("GET", "/v1/requests/r1/events", headers=stranger) as reply:
        async for piece in reply.aiter_text():
            seen += piece
            if asked and seen.endswith(": waiting\n\n"):
                break
            if ": waiting" in seen and not asked:
                asked = (await on_server.post(CHAT, json=body(), headers={"X-Request-Id": "r1"})).status_code == 200
    assert asked
    assert [event for event in events_in(seen) if event != ("end", {})] == []
    later = await on_server.get("/v1/requests/r1/events", headers=stranger) if tenant == "kiosk" else None
    assert later is None or later.json()["error"]["code"] == "unknown_request"
    assert (await on_server.get("/v1/requests/a.b/events")).status_code == 400


async def test_a_gateway_that_closes_ends_the_streams_of_those_who_watch(tmp_path: Path) -> None:
    async with site(tmp_path) as running, running.client() as http:
        watching = asyncio.Event()

        async def watch(url: str) -> str:
            seen = ""
            async with http.stream("GET", f"{url}/v1/requests/r1/events", headers=running.headers()) as reply:
                async for piece in reply.aiter_text():
                    seen += piece
                    watching.set()
            return seen

        async with serve_http(running.ingress, open_callers(running.settings)) as address:
            watcher = asyncio.create_task(watch(address.url))
            await watching.wait()
        assert (await watcher).endswith("event: end\ndata: {}\n\n")
