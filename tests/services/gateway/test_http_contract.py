"""What holds for every path over HTTP: refusals in JSON whatever was wrong, methods, streams, names, ports."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from tests.support.gateway_site import Site, asked, at_rest, http_site, site
from tidegate.schemas import encode_json
from tidegate.services.gateway.composition import open_callers
from tidegate.services.gateway.http.server import serve_http
from tidegate.services.gateway.settings import GatewayLimits

pytestmark = pytest.mark.anyio
MAX_HEAD_BYTES = GatewayLimits().max_head_bytes
CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client() as http:
        yield http


def chat(text: str = "When do you open?", **fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": [{"role": "user", "content": text}], **fields}


def code_of(reply: httpx.Response) -> str:
    assert reply.headers["content-type"] == "application/json"
    error = reply.json()["error"]
    assert set(error) >= {"message", "type", "param", "code", "hint"}
    assert error["hint"]
    return str(error["code"])


async def send_raw(url: str, *parts: bytes) -> tuple[int, str]:
    """The status and the error code of the reply to these bytes."""
    reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
    try:
        async with asyncio.timeout(5):
            for part in parts:
                writer.write(part)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            assert "content-type: application/json" in head
            body = await reader.readuntil(b"}}")
    finally:
        writer.close()
    return int(head.split()[1]), json.loads(body[body.index(b"{") :])["error"]["code"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", CHAT, {"POST"}),
        ("PUT", CHAT, {"POST"}),
        ("OPTIONS", CHAT, {"POST"}),
        ("PATCH", "/v1/models", {"GET", "HEAD"}),
        ("POST", "/v1/models/tidegate", {"GET", "HEAD"}),
        ("GET", "/v1/streams", {"POST"}),
        ("DELETE", "/v1/streams/r1", {"GET", "HEAD"}),
        ("POST", "/v1/requests/r1/events", {"GET", "HEAD"}),
        ("POST", "/healthz", {"GET", "HEAD"}),
        ("POST", "/", {"GET", "HEAD"}),
        ("BREW", "/", {"GET", "HEAD"}),
    ],
)
async def test_a_wrong_method_is_405_and_says_which_is_right(
    http: httpx.AsyncClient, method: str, path: str, allowed: set[str]
) -> None:
    reply = await http.request(method, path)
    if method == "BREW":  # the parser knows no such method
        assert (reply.status_code, code_of(reply)) == (400, "not_http")
        return
    assert (reply.status_code, code_of(reply)) == (405, "method_not_allowed")
    assert set(reply.headers["allow"].split(", ")) == allowed
    assert all(each in reply.json()["error"]["hint"] for each in allowed)


@pytest.mark.parametrize("path", ["/nowhere", "/v1", "/v1/completions", "/v1/responses", "/v2/models", "/page.html"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
async def test_an_unknown_path_is_404_in_json(http: httpx.AsyncClient, method: str, path: str) -> None:
    reply = await http.request(method, path, headers={"accept": "text/html"})
    assert (reply.status_code, code_of(reply)) == (404, "no_such_path")


@pytest.mark.parametrize(
    ("path", "origin", "status", "code"),
    [
        ("/v1/nowhere", "", 404, "no_such_path"),
        ("/v1/models", "", 404, "no_such_path"),
        (CHAT, "", 404, "no_such_path"),
        ("/v1/streams/ws", "https://elsewhere.example", 403, "origin_not_allowed"),
        ("/v1/streams/r1/ws", "null", 403, "origin_not_allowed"),
    ],
)
async def test_a_socket_that_cannot_be_opened_is_refused_in_json(
    running: Site, path: str, origin: str, status: int, code: str
) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}" + (f"Origin: {origin}\r\n" if origin else "")
    with capture_logs() as lines:
        assert await send_raw(running.url, f"{head}\r\n".encode()) == (status, code)
    assert [(line["event"], line["code"]) for line in lines] == [("ask_refused", code)]


@pytest.mark.parametrize(
    "missing", ["Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"]
)
@pytest.mark.parametrize("path", ["/v1/streams/ws", "/v1/nowhere"])
async def test_a_handshake_that_is_none_is_refused_in_json(running: Site, path: str, missing: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\n{UPGRADE}\r\n"
    assert missing in head
    assert await send_raw(running.url, head.replace(missing, "").encode()) == (400, "bad_handshake")


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ([b"\x16\x03\x01\x00\xee\x01\x00\x00\xea\x03\x03\r\n\r\n"], 400, "not_http"),
        ([b"HELLO\r\n\r\n"], 400, "not_http"),
        ([b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n"], 400, "not_http"),
        (
            [b"POST /v1/streams HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"],
            400,
            "not_http",
        ),
        ([b"GET / HTTP/1.1\r\n" + b"X: yy\r\n" * 9_500 + b"\r\n"], 431, "too_many_headers"),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n", *(b"X-%d: y\r\n" % n for n in range(20_000))], 431, "too_many_headers"),
        (
            [b"GET / HTTP/1.1\r\nHost: x\r\nX: ", *[b"y" * 1024] * (MAX_HEAD_BYTES // 1024 + 1)],
            431,
            "headers_too_large",
        ),
        ([b"GET /" + b"a" * (MAX_HEAD_BYTES + 1) + b" HTTP/1.1\r\nHost: x\r\n\r\n"], 431, "headers_too_large"),
    ],
    ids=["tls", "words", "length", "smuggled", "whole head", "many headers", "endless header", "long path"],
)
async def test_what_is_not_http_or_has_no_end_is_refused_in_json(
    running: Site, parts: list[bytes], status: int, code: str
) -> None:
    assert await send_raw(running.url, *parts) == (status, code)


async def test_large_headers_within_the_bound_and_several_requests_on_a_connection_are_served(
    http: httpx.AsyncClient,
) -> None:
    for _ in range(4):
        reply = await http.get("/healthz", headers={"x-large": "y" * (MAX_HEAD_BYTES // 2)})
        assert reply.status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/streams"])
@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        (b"{", JSON, 400, "unreadable"),
        (b"[]", JSON, 400, "unreadable"),
        (b"{}", {"content-type": "text/plain"}, 415, "not_json"),
        (b"{}", {"content-type": "application/x-www-form-urlencoded"}, 415, "not_json"),
        (gzip.compress(b"{}", mtime=0), {**JSON, "content-encoding": "gzip"}, 415, "body_encoded"),
        (b" " * 262_145, JSON, 413, "body_too_large"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_json_at_every_path(
    http: httpx.AsyncClient, path: str, content: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    reply = await http.post(path, content=content, headers=headers)
    assert (reply.status_code, code_of(reply)) == (status, code)


@pytest.mark.parametrize("path", [CHAT, "/v1/streams"])
async def test_what_is_read_is_counted_whatever_the_length_says(running: Site, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += f"Authorization: Bearer {running.access_keys['kiosk']}\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    sent = [f"{head}Transfer-Encoding: chunked\r\n\r\n".encode(), *[chunk] * 5]  # 320 KiB, and no end
    assert await send_raw(running.url, *sent) == (413, "body_too_large")
    declared = f"{head}Content-Length: 10485760\r\n\r\n{{".encode()  # refused before it is sent
    assert await send_raw(running.url, declared) == (413, "body_too_large")
    short = f"{head}Content-Length: 2\r\n\r\n".encode() + b"{}" + b" " * 300_000  # more than was declared
    status, _ = await send_raw(running.url, short)
    assert status == 400


async def test_no_proxy_keeps_a_stream_back(http: httpx.AsyncClient) -> None:
    first = {"X-Request-Id": "stream1"}
    streams = [
        http.stream("POST", CHAT, json=chat(stream=True), headers=first),
        http.stream("POST", "/v1/streams", content=encode_json(asked(rid="stream2")), headers=JSON),
        http.stream("GET", "/v1/streams/stream2", headers={"X-Tidegate-Asker": "ada"}),
        http.stream("GET", "/v1/requests/stream1/events"),
    ]
    for opening in streams:
        async with opening as reply:
            assert reply.status_code == 200
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert reply.headers["x-accel-buffering"] == "no"
            assert reply.headers["cache-control"] == "no-cache"


async def test_the_model_has_the_names_of_the_settings_too(tmp_path: Path) -> None:
    aliases = {"gpt-4o": "tidegate", "openai/gpt-5": "tidegate"}
    async with (
        site(tmp_path, http=True, model_aliases=aliases) as running,
        running.client() as http,
    ):
        listed = (await http.get("/v1/models")).json()
        assert [model["id"] for model in listed["data"]] == ["tidegate", *sorted(aliases)]
        for name in ("tidegate", *aliases):
            assert (await http.get(f"/v1/models/{name}")).json()["id"] == name
            reply = await http.post(CHAT, json={**chat(), "model": name})
            assert (reply.status_code, reply.json()["model"]) == (200, name)
            streamed = await http.post(CHAT, json={**chat(stream=True), "model": name})
            assert streamed.text.count(f'"model":"{name}"') == streamed.text.count('"object":') > 1
        unknown = await http.post(CHAT, json={**chat(), "model": "gpt-5"})
        assert (unknown.status_code, code_of(unknown)) == (404, "unknown_model")
        assert (await http.get("/v1/models/gpt-5")).status_code == 404


async def test_a_port_that_the_system_chose_is_kept_while_it_is_free(tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        urls = []
        for _ in range(2):
            async with serve_http(running.ingress, open_callers(running.settings)) as address:
                urls.append(address.url)
        async with (
            serve_http(running.ingress, open_callers(running.settings)) as first,
            serve_http(running.ingress, open_callers(running.settings)) as second,
        ):
            urls.append(first.url)
            assert second.url != first.url
        assert len(set(urls)) == 1
