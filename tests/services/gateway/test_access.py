"""Nobody is let in without a credential, and nobody is anybody else: every operation, every role, every claim."""

from __future__ import annotations

import asyncio
import re
import stat
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from tests.support.gateway_site import Site, asked, at_rest, http_site, issue_key
from tidegate.schemas import encode_json
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.endpoints import GatewayFile, decode_state
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.gateway.http.access import BEARER_PROTOCOL
from tidegate.services.gateway.http.operations import OPERATIONS, Operation

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
ROLES = ("app", "operator", "auditor")
PLAIN = [each for each in OPERATIONS if not each.is_socket]
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    """A client that shows nothing."""
    async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
        yield http


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": [{"role": "user", "content": "When do you open?"}], **fields}


def code_of(reply: httpx.Response) -> str:
    return str(reply.json()["error"]["code"])


def path_of(operation: Operation) -> str:
    return re.sub(r"{[^}]*}", "r0", operation.path)


async def status_of(http: httpx.AsyncClient, operation: Operation, headers: dict[str, str]) -> tuple[int, str]:
    """The status, and the code of a refusal; what is streamed is not read."""
    async with http.stream(operation.method, path_of(operation), headers=headers) as reply:
        kind = reply.headers.get("content-type", "")
        if reply.status_code == 200 or not kind.startswith("application/json"):
            return reply.status_code, ""
        return reply.status_code, str(msgspec.json.decode(await reply.aread())["error"]["code"])


@pytest.mark.parametrize("operation", PLAIN, ids=lambda each: each.id)
async def test_an_operation_lets_in_its_roles_and_nobody_else(
    running: Site, http: httpx.AsyncClient, operation: Operation
) -> None:
    for role in ROLES:
        key = bearer(issue_key(running.settings, "kiosk", role=role))
        status, code = await status_of(http, operation, key)
        is_let_in = not operation.roles or role in operation.roles
        assert (status in (401, 403)) is not is_let_in, (role, code)
        assert is_let_in or code == "not_your_role"
    status, code = await status_of(http, operation, {})
    assert (code == "unauthenticated") is bool(operation.roles)
    assert (status == 401) is bool(operation.roles)


def test_only_the_page_the_document_and_the_sign_of_life_are_for_everybody() -> None:
    is_open = {each.path for each in OPERATIONS if not each.roles}
    page = {path for path in is_open if re.fullmatch(r"/([\w-]+\.(css|js))?", path)}
    assert is_open - page == {"/healthz", "/openapi.json"}


BAD: dict[str, dict[str, str]] = {
    "nothing": {},
    "another scheme": {"Authorization": "Basic YWRhOmFkYQ=="},
    "no key": {"Authorization": "Bearer"},
    "a made-up key": {"Authorization": "Bearer tgk_0123456789ab_" + "A" * 43},
    "a tenant instead": {"X-Tidegate-Tenant": "kiosk"},
    "an asker instead": {"X-Tidegate-Asker": "ada"},
    "a key in the query": {},
    "two schemes": {"Authorization": "Bearer Bearer x"},
}


@pytest.mark.parametrize("case", BAD)
async def test_without_a_good_key_nothing_is_stored_or_read(running: Site, http: httpx.AsyncClient, case: str) -> None:
    query = f"?key={running.access_keys['kiosk']}" if case == "a key in the query" else ""
    before = len(running.asked)
    with capture_logs() as lines:
        reply = await http.post(CHAT + query, json=chat(), headers=BAD[case])
    assert (reply.status_code, code_of(reply)) == (401, "unauthenticated")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.json()["error"]["type"] == "authentication_error"
    assert len(running.asked) == before
    assert [line["code"] for line in lines] == ["unauthenticated"]


async def test_a_key_that_was_revoked_or_has_expired_is_refused_at_once(running: Site, http: httpx.AsyncClient) -> None:
    keys = open_access_keys(running.settings)
    key, text = keys.issue("kiosk", "app", 60_000)
    assert (await http.get("/v1/models", headers=bearer(text))).status_code == 200
    keys.revoke(key.id)
    assert (await http.get("/v1/models", headers=bearer(text))).status_code == 401
    _, short = keys.issue("kiosk", "app", 1)
    await asyncio.sleep(0.005)
    assert (await http.get("/v1/models", headers=bearer(short))).status_code == 401


@pytest.mark.parametrize(
    ("headers", "fields", "code"),
    [
        ({"X-Tidegate-Tenant": "bank"}, {}, "not_your_tenant"),
        ({}, {"user": "eve"}, "not_your_asker"),
        ({}, {"user": "key:0123456789ab"}, "not_your_asker"),
        ({"X-Tidegate-Tenant": "kiosk"}, {"user": "ada"}, ""),
        ({"X-Tidegate-Asker": "eve"}, {}, ""),  # no header of this operation: it has no effect
    ],
)
async def test_tenant_and_asker_are_the_credentials(
    running: Site, headers: dict[str, str], fields: dict[str, str], code: str
) -> None:
    async with running.client() as ada:
        reply = await ada.post(CHAT, json=chat(**fields), headers=headers)
    if code:
        assert (reply.status_code, code_of(reply)) == (403, code)
    else:
        assert reply.status_code == 200
        assert running.asked[-1].tenant == "kiosk"


async def test_the_users_of_an_application_are_its_own(running: Site, http: httpx.AsyncClient) -> None:
    ours, theirs = (bearer(issue_key(running.settings, "kiosk")) for _ in range(2))
    asking = {"X-Request-ID": "own-user-1"}
    assert (await http.post(CHAT, json=chat(user="ada"), headers={**ours, **asking})).status_code == 200
    for headers, user, status in (
        ({**ours, "X-Tidegate-Asker": "ada"}, "the same", 200),
        ({**ours, "X-Tidegate-Asker": "bob"}, "another user", 404),
        (ours, "the application itself", 404),
        ({**theirs, "X-Tidegate-Asker": "ada"}, "the same name of another application", 404),
        (running.headers(), "a person of that name", 404),
        (running.headers("bank"), "a person of another tenant", 404),
    ):
        async with http.stream("GET", "/v1/streams/own-user-1", headers=headers) as reply:
            assert reply.status_code == status, user


async def test_a_stream_is_asked_for_and_resumed_as_the_credential_says(running: Site, http: httpx.AsyncClient) -> None:
    request = asked(rid="body-1", asker="eve")
    body = {"content": encode_json(request), "headers": {**running.headers(), "content-type": "application/json"}}
    assert code_of(await http.post("/v1/streams", **body)) == "not_your_asker"  # type: ignore[arg-type]
    body["content"] = encode_json(msgspec.structs.replace(request, asker="", tenant="bank"))
    assert code_of(await http.post("/v1/streams", **body)) == "not_your_tenant"  # type: ignore[arg-type]
    body["content"] = b'{"type":"asked","text":"When do you open?","rid":"body-1"}'
    assert (await http.post("/v1/streams", **body)).status_code == 200  # type: ignore[arg-type]
    assert running.asked[-1].tenant == "kiosk"


async def test_a_browser_shows_its_key_as_a_subprotocol(running: Site) -> None:
    host, port = running.url.removeprefix("http://").split(":")
    key = running.access_keys["kiosk"]
    for offered, status, chosen in (
        (f"tidegate, {BEARER_PROTOCOL}{key}", b"101", b"sec-websocket-protocol: tidegate\r\n"),
        (f"tidegate, {BEARER_PROTOCOL}none", b"401", b""),
        ("tidegate", b"401", b""),
    ):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"GET /v1/streams/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + f"Sec-WebSocket-Protocol: {offered}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        assert head.split()[1] == status
        assert chosen in head.lower()
        assert key.encode() not in head


async def test_whoever_may_read_the_state_directory_may_see_how_the_site_is(
    running: Site, http: httpx.AsyncClient
) -> None:
    path = StatePaths(running.settings).gateway
    operator = bearer(decode_state(path, GatewayFile).operator_key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await http.get("/metrics", headers=operator)).status_code == 200
    assert (await http.get("/readyz", headers=operator)).json()["ready"] is True
    assert code_of(await http.post(CHAT, json=chat(), headers=operator)) == "not_your_role"


async def test_no_secret_is_logged(running: Site, http: httpx.AsyncClient) -> None:
    wrong = running.access_keys["kiosk"][:-4] + "AAAA"
    with capture_logs() as lines:
        await http.post(CHAT, json=chat(), headers=bearer(wrong))
        await http.post(CHAT, json=chat(), headers=running.headers())
    assert wrong[17:30] not in str(lines)
