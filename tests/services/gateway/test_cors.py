"""Pages of other origins: none may use the API but those that a setting names, and those may read all of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.gateway_site import site
from tidegate.services.gateway.settings import GatewaySettings

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
APP = "http://app.example"
ORIGIN = {"Origin": APP}
ALLOW = "access-control-allow-origin"


@asynccontextmanager
async def client_of(state: Path, *origins: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        site(state, http=True, cors_origins=origins, grace_s=0.2) as running,
        running.client() as http,
    ):
        yield http


@pytest.fixture(scope="module")
async def http(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(tmp_path_factory.mktemp("site"), APP) as http:
        yield http


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": [{"role": "user", "content": "When do you open?"}], **fields}


def preflight(method: str, headers: str = "") -> dict[str, str]:
    wanted = {"Access-Control-Request-Headers": headers} if headers else {}
    return {**ORIGIN, "Access-Control-Request-Method": method, **wanted}


@pytest.mark.parametrize(("path", "method"), [("/v1/models", "GET"), (CHAT, "POST"), ("/v1/streams/r1", "GET")])
async def test_a_preflight_of_an_allowed_origin_is_answered(http: httpx.AsyncClient, path: str, method: str) -> None:
    reply = await http.options(path, headers=preflight(method, "authorization, x-stainless-os"))
    assert reply.status_code == 204
    assert reply.headers[ALLOW] == APP
    assert method in reply.headers["access-control-allow-methods"].split(", ")
    assert reply.headers["access-control-allow-headers"] == "authorization, x-stainless-os"
    assert int(reply.headers["access-control-max-age"]) > 0
    assert "Origin" in reply.headers["vary"]
    assert "access-control-allow-credentials" not in reply.headers


async def test_a_preflight_of_a_path_that_is_none_is_404(http: httpx.AsyncClient) -> None:
    reply = await http.options("/v1/nowhere", headers=preflight("GET"))
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "no_such_path")


async def test_an_allowed_origin_may_read_answers_errors_and_streams(http: httpx.AsyncClient) -> None:
    replies = [
        await http.get("/v1/models", headers=ORIGIN),
        await http.post(CHAT, json=chat(), headers=ORIGIN),
        await http.post(CHAT, json=chat(stream=True), headers=ORIGIN),
        await http.post(CHAT, json=chat(n=2), headers=ORIGIN),
        await http.get("/v1/nowhere", headers=ORIGIN),
        await http.get(CHAT, headers=ORIGIN),
        await http.post(CHAT, content=b"x", headers=ORIGIN),
    ]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 400, 404, 405, 415]
    for reply in replies:
        assert reply.headers[ALLOW] == APP
        assert "x-request-id" in reply.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in reply.headers


async def test_another_origin_may_not(http: httpx.AsyncClient) -> None:
    for origin in ("http://app.example:8080", "https://app.example", "http://evil.example", "null"):
        refused = await http.options(CHAT, headers={**preflight("POST"), "Origin": origin})
        assert (refused.status_code, refused.json()["error"]["code"]) == (405, "method_not_allowed")
        read = await http.get("/v1/models", headers={"Origin": origin})
        assert ALLOW not in refused.headers
        assert ALLOW not in read.headers
        assert read.headers["vary"] == "Origin"  # else a cache would give one origin's reply to another


async def test_a_star_means_everybody_and_never_credentials(tmp_path: Path) -> None:
    async with client_of(tmp_path, "*") as http:
        reply = await http.options(CHAT, headers=preflight("POST", "content-type"))
    assert (reply.status_code, reply.headers[ALLOW]) == (204, "*")
    assert "access-control-allow-credentials" not in reply.headers


async def test_it_is_off_unless_it_is_set(tmp_path: Path) -> None:
    async with client_of(tmp_path) as http:
        refused = await http.options("/v1/models", headers=preflight("GET"))
        read = await http.get("/v1/models", headers=ORIGIN)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert not [name for name in (*refused.headers, *read.headers) if name.startswith(("access-control", "vary"))]


async def test_a_page_of_an_allowed_origin_may_open_a_socket(http: httpx.AsyncClient) -> None:
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    for origin, status in ((APP, b"101"), ("http://evil.example", b"403")):
        reader, writer = await asyncio.open_connection(http.base_url.host, http.base_url.port)
        upgrade = f"Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n"
        upgrade += f"Authorization: {http.headers['authorization']}\r\n"
        writer.write(f"GET /v1/streams/ws HTTP/1.1\r\n{upgrade}{key}\r\n".encode())
        assert (await reader.readline()).split()[1] == status
        writer.close()


@pytest.mark.parametrize(
    "origin", ["app.example", "http://app.example/", "http://*.example", "ftp://x", "", "http://a b"]
)
def test_what_no_browser_sends_as_an_origin_is_no_setting(origin: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="cors_origins"):
        msgspec.convert({"cors_origins": [origin]}, GatewaySettings)
