"""HTTP byte by byte: what is wrong is refused at once, clearly, and costs nothing."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from tests.support.gateway_site import Site, at_rest, http_site, issue_key, site
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas.subjects import ASKS
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.endpoints import GatewayFile
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.ports import AddressUnavailableError, listen
from tidegate.services.gateway import composition as gateway
from tidegate.services.gateway.http.server import url_of
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)


@pytest.fixture
def rid() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client() as http:
        yield http


def turn(text: str = "When do you open?") -> Any:
    return [{"role": "user", "content": text}]


def body(text: str = "When do you open?", **fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": turn(text), **fields}


async def test_a_request_id_is_the_clients_or_the_sites_and_always_in_the_reply(
    http: httpx.AsyncClient, rid: str
) -> None:
    ours = await http.post(CHAT, json=body())
    assert len(ours.headers["x-request-id"]) == 32
    first = await http.post(CHAT, json=body(user="ada"), headers={"X-Request-Id": rid})
    again = await http.post(CHAT, json=body(user="ada"), headers={"X-Request-Id": rid})
    taken = await http.post(CHAT, json=body("Another one"), headers={"X-Request-Id": rid})
    assert first.headers["x-request-id"] == rid
    assert first.json()["tidegate"] == again.json()["tidegate"]
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "rid_taken")


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'{"model":"tidegate","messages":[{"role":"user","content":"\xff"}]}', JSON, 400),
        (b"\x00\x01", JSON, 400),
        (b"", JSON, 400),
        (b'{"model":' + b"[" * 100_000, JSON, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", {}, 415),
    ],
)
async def test_a_body_that_cannot_be_read_is_an_openai_error(
    http: httpx.AsyncClient, content: bytes, headers: Any, status: int
) -> None:
    with capture_logs() as lines:
        reply = await http.post(CHAT, content=content, headers=headers)
    assert reply.status_code == status
    assert set(reply.json()["error"]) >= {"message", "type", "param", "code", "hint"}
    assert "Traceback" not in reply.text
    assert [line["event"] for line in lines] == ["ask_refused"]


@pytest.mark.parametrize(
    ("chat", "headers", "code", "param"),
    [
        ({"messages": turn(" ")}, {}, "empty_text", "messages"),
        ({"messages": [{"role": "user", "content": []}]}, {}, "empty_text", "messages"),
        ({"messages": turn("x" * 9000)}, {}, "text_too_long", "messages"),
        ({"messages": turn("Restore <EMAIL_0123456789ab>")}, {}, "forged_token", "messages"),
        ({}, {"X-Tidegate-Tenant": "stranger"}, "not_your_tenant", "x-tidegate-tenant"),
        ({}, {"X-Tidegate-Deadline-At-Ms": "1"}, "deadline_past", "x-tidegate-deadline-at-ms"),
        ({}, {"X-Tidegate-Workload": "extract"}, "missing_schema", "response_format"),
        ({}, {"X-Tidegate-Budget-Ms": "-1"}, "bad_header", "x-tidegate-budget-ms"),
    ],
)
async def test_a_refusal_names_what_is_at_fault_as_the_client_knows_it(
    http: httpx.AsyncClient, chat: Any, headers: Any, code: str, param: str
) -> None:
    error = (await http.post(CHAT, json={**body(), **chat}, headers=headers)).json()["error"]
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"text": ""}, "empty_text", "text"),
        ({"tenant": "stranger"}, "not_your_tenant", "tenant"),
        ({"tenant": "*"}, "unreadable", "tenant"),
        ({"budget_ms": "soon"}, "unreadable", "budget_ms"),
        ({"deadline_at_ms": 1}, "deadline_past", "deadline_at_ms"),
        ({"workload": "extract", "schema": "["}, "bad_schema", "schema"),
    ],
)
async def test_a_refusal_of_a_stream_names_the_field(
    http: httpx.AsyncClient, change: Any, code: str, param: str
) -> None:
    error = (await http.post("/v1/streams", json={"tenant": "kiosk", "text": "x", **change})).json()["error"]
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    ("path", "param", "hint"),
    [
        ("/v1/streams/a.b", "rid", "a request id has"),
        ("/v1/streams/r1?tenant=A!", "tenant", "a tenant has"),
        ("/v1/requests/a%20b/events", "rid", "a request id has"),
        ("/v1/requests/r1/events?tenant=*", "tenant", "a tenant has"),
    ],
)
async def test_a_name_that_is_none_is_refused_by_its_field(
    http: httpx.AsyncClient, path: str, param: str, hint: str
) -> None:
    reply = await http.get(path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (400, "unreadable", param)
    assert error["hint"].startswith(hint)


def head_of(running: Site) -> bytes:
    """The begin of a chat request, as bytes."""
    key = running.access_keys["kiosk"]
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Authorization: Bearer {key}\r\n".encode()


async def test_ten_megabytes_are_refused_before_they_are_sent(running: Site) -> None:
    reader, writer = await asyncio.open_connection(*address_of(running))
    writer.write(head_of(running))
    writer.write(b"Content-Length: 10485760\r\n\r\n{")
    assert (await reader.readline()).split()[1] == b"413"
    assert b"body_too_large" in await reader.readuntil(b"}}")
    writer.close()


async def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(running: Site) -> None:
    reader, writer = await asyncio.open_connection(*address_of(running))
    writer.write(head_of(running))
    writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):  # 320 KiB of 10 MiB, and no end
        writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_ten_megabytes_sent_whole_are_answered_413(http: httpx.AsyncClient) -> None:
    reply = await http.post(CHAT, content=b'{"model":"' + b"x" * 10_485_760, headers=JSON)
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
    assert (await http.post(CHAT, json=body())).status_code == 200


async def test_a_body_that_does_not_come_is_given_up(running: Site) -> None:
    reader, writer = await asyncio.open_connection(*address_of(running))
    writer.write(head_of(running))
    writer.write(b"Content-Length: 100\r\n\r\n{")
    assert (await reader.readline()).split()[1] == b"408"
    writer.close()


async def test_a_waiting_stream_shows_that_it_lives(running: Site, http: httpx.AsyncClient) -> None:
    lines: list[str] = []
    async with http.stream("POST", CHAT, json=body("wait here", stream=True)) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        async for line in reply.aiter_lines():
            lines.append(line)
            if line == ": waiting":
                running.may_answer.set()
    assert ": waiting" in lines
    assert lines[-2:] == ["data: [DONE]", ""]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_no_longer_counts(running: Site, http: httpx.AsyncClient, stream: bool) -> None:
    leaving = asyncio.create_task(http.post(CHAT, json=body("wait here", stream=stream)))
    await running.arrivals.get()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    async with asyncio.timeout(2):
        while len(running.ingress.pending_replies):  # noqa: ASYNC110 what it waits for happens inside the server
            await asyncio.sleep(0.01)
    running.may_answer.set()


async def test_a_client_that_leaves_amid_its_body_is_no_failure_of_the_site(running: Site) -> None:
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection(*address_of(running))
        writer.write(head_of(running))
        writer.write(b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
    assert lines == []


async def test_the_trace_of_a_client_goes_on(tmp_path: Path) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    async with site(tmp_path, http=True) as running, running.client() as http:
        assert isinstance(running.bus, MemoryBus)
        for header in (f"00-{trace_id}-b7ad6b7169203331-01", "nonsense"):
            assert (await http.post(CHAT, json=body(), headers={"traceparent": header})).status_code == 200
        with_trace, with_nonsense = (kept.headers["traceparent"] for kept in running.bus.stored(ASKS))
    assert with_trace.startswith(f"00-{trace_id}-")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", with_nonsense)


async def test_health_readiness_metrics_and_unknown_paths(running: Site, http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"alive": True}
    assert (await http.get("/readyz")).json()["ready"] is True
    operator = bearer(issue_key(running.settings, "kiosk", role="operator"))
    metrics = await http.get("/metrics", headers=operator)
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "# HELP" in metrics.text


async def test_the_page_comes_with_a_policy_that_lets_nothing_else_in(http: httpx.AsyncClient) -> None:
    for path, kind in {"/": "text/html", "/page.css": "text/css", "/page.js": "text/javascript"}.items():
        reply = await http.get(path)
        assert reply.headers["content-type"].startswith(kind)
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http://" not in policy
        assert "style=" not in reply.text.replace("xmlns", "")
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert not [line for line in reply.text.splitlines() if "https://" in line]
        assert "innerHTML" not in reply.text


async def test_open_writes_where_it_is_and_takes_it_away_again(tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        settings = msgspec.structs.replace(running.settings, grace_s=0.1)
        path = StatePaths(settings).gateway
        async with gateway.open(settings, running.bus, lambda: b"tidegate_up 1\n"):
            address = msgspec.json.decode(path.read_bytes(), type=GatewayFile)
            async with httpx.AsyncClient(base_url=address.url, headers=running.headers()) as http:
                assert (await http.post(CHAT, json=body())).status_code == 200
                operator = bearer(address.operator_key)
                assert (await http.get("/metrics", headers=operator)).text == "tidegate_up 1\n"
        assert not path.exists()
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", int(address.url.rsplit(":", 1)[1]))


async def test_a_file_of_the_address_that_was_damaged_meanwhile_does_not_keep_it_from_closing(tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        path = StatePaths(running.settings).gateway
        async with gateway.open(msgspec.structs.replace(running.settings, grace_s=0.1), running.bus):
            path.write_bytes(b"damaged")
        assert path.read_bytes() == b"damaged"


async def test_an_address_that_is_taken_is_an_error_that_names_it(tmp_path: Path) -> None:
    taken = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    async with site(tmp_path) as running:
        settings = Settings(state_dir=str(tmp_path), gateway=GatewaySettings(port=port))
        with pytest.raises(AddressUnavailableError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with gateway.open(settings, running.bus):
                pass
    taken.close()


def test_the_address_is_one_that_a_client_here_can_reach() -> None:
    with listen("0.0.0.0", 0) as everywhere:
        assert url_of(everywhere, "0.0.0.0").startswith("http://127.0.0.1:")


def address_of(running: Site) -> tuple[str, int]:
    host, port = running.url.removeprefix("http://").split(":")
    return host, int(port)
