"""What is tried at a site's doors beyond what a caller may: refused with a reason, and an entry of the audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.audited_refusals import entries_of, entry_of, forget_refusals
from tests.support.gateway_site import Site, ask, asked, at_rest, http_site, issue_key, nats_site
from tidegate.schemas import Refused, encode, replace
from tidegate.schemas.message import encode_json
from tidegate.services.evaluation.client import bearer
from tidegate.services.fleet.access import open_access_keys

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
STREAM = "/v1/streams"
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)
on_nats = pytest.fixture(nats_site)


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client() as http:
        forget_refusals()
        yield http


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": [{"role": "user", "content": "When do you open?"}], **fields}


NOBODY = [
    pytest.param({"Authorization": ""}, id="no credential"),
    pytest.param({"Authorization": "Bearer tgk_abcdefghijkl_" + "A" * 43}, id="a key that was never issued"),
    pytest.param({"Authorization": "Bearer " + "A" * 9000}, id="a credential that is too long"),
    pytest.param({"Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ."}, id="a token without a signature"),
    pytest.param({"Authorization": "Basic YWRhOmFkYQ=="}, id="a password"),
    pytest.param({"Authorization": "", "Cookie": "session=ada"}, id="a cookie"),
    pytest.param({"Authorization": "", "X-Forwarded-User": "ada"}, id="the name that a proxy might say"),
]


@pytest.mark.parametrize("path", [CHAT, STREAM])
@pytest.mark.parametrize("headers", NOBODY)
async def test_nobody_is_let_in_over_http(http: httpx.AsyncClient, headers: dict[str, str], path: str) -> None:
    reply = await http.post(path, json=chat(), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (401, "unauthenticated")
    entry, act = entry_of("unauthenticated")
    assert (entry.kind, entry.tenant, act.by, act.count) == ("refused", "", "http", 1)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/metrics", "not_your_role"),
        ("GET", "/v1/streams/never-asked", "unknown_request"),
        ("GET", "/v1/streams/..%2Foperator", "no_such_path"),
        ("GET", "/.env", "no_such_path"),
        ("DELETE", CHAT, "method_not_allowed"),
    ],
)
async def test_a_caller_reads_and_does_no_more_than_its_role_may(
    http: httpx.AsyncClient, method: str, path: str, code: str
) -> None:
    reply = await http.request(method, path)
    assert reply.json()["error"]["code"] == code
    entry, _ = entry_of(code)
    assert entry.kind == "refused"


@pytest.mark.parametrize(
    ("headers", "fields", "code"),
    [
        pytest.param({"X-Tidegate-Tenant": "bank"}, {}, "not_your_tenant", id="another tenant"),
        pytest.param({"X-Tidegate-Tenant": "*"}, {}, "bad_header", id="all tenants"),
        pytest.param({"X-Request-Id": "a.b"}, {}, "bad_header", id="a request id of two tokens"),
        pytest.param({}, {"user": "bob"}, "not_your_asker", id="another asker"),
        pytest.param({"Content-Type": "text/plain"}, {}, "not_json", id="a body that is not declared"),
        pytest.param({"Content-Encoding": "gzip"}, {}, "body_encoded", id="a body that is packed"),
    ],
)
async def test_what_a_known_caller_claims_beyond_its_credential_is_logged_with_the_credential(
    http: httpx.AsyncClient, headers: dict[str, str], fields: dict[str, Any], code: str
) -> None:
    reply = await http.post(CHAT, json=chat(**fields), headers=headers)
    assert reply.json()["error"]["code"] == code
    entry, act = entry_of(code)
    assert entry.tenant == "kiosk"
    assert act.by.startswith("http key ")
    assert "bank" not in act.by + act.about + act.reason


async def test_a_body_that_is_too_large_is_logged(http: httpx.AsyncClient) -> None:
    reply = await http.post(
        CHAT, content=b'{"model": "' + b"x" * (2 << 20), headers={"Content-Type": "application/json"}
    )
    assert reply.json()["error"]["code"] == "body_too_large"
    assert entry_of("body_too_large")[1].count == 1


async def test_a_revoked_key_is_nobodys(running: Site, http: httpx.AsyncClient) -> None:
    key = issue_key(running.settings, "kiosk", asker="eve")
    open_access_keys(running.settings).revoke(key.split("_")[1])
    reply = await http.post(CHAT, json=chat(), headers=bearer(key))
    assert reply.json()["error"]["code"] == "unauthenticated"
    assert entry_of("unauthenticated")[0].kind == "refused"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 300 + b"\r\n", "too_many_headers"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not_http"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", "bad_handshake"),
    ],
)
async def test_what_is_refused_before_any_endpoint_sees_it_is_logged_too(running: Site, sent: bytes, code: str) -> None:
    forget_refusals()
    address = urlsplit(running.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(sent)
    await writer.drain()
    async with asyncio.timeout(10):
        reply = await reader.read()
    writer.close()
    assert json.loads(reply.partition(b"\r\n\r\n")[2])["error"]["code"] == code
    assert entry_of(code)[0].kind == "refused"


async def test_a_flood_of_guesses_is_one_entry(http: httpx.AsyncClient) -> None:
    for number in range(50):
        key = f"Bearer tgk_{number:012d}_{'A' * 43}"
        assert (await http.post(CHAT, json=chat(), headers={"Authorization": key})).status_code == 401
    assert entry_of("unauthenticated")[1].count == 50
    assert entries_of() == []


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(replace(asked(), tenant="neighbour"), "unknown_tenant", id="another tenant"),
        pytest.param(asked(text=""), "empty_text", id="no question"),
        pytest.param(asked(text="x" * 50_000), "text_too_long", id="a question that is too long"),
        pytest.param(asked(text="<EMAIL_0123456789ab> ?"), "forged_token", id="somebody's vault token"),
        pytest.param(asked(deadline_at_ms=1), "deadline_past", id="a deadline in the past"),
        pytest.param(asked(workload="extract"), "missing_schema", id="no schema"),
        pytest.param(asked(workload="extract", schema="["), "bad_schema", id="a schema that is none"),
        pytest.param(encode_json(asked()) + b"}", "unreadable", id="more than one object"),
        pytest.param(b"\xc1", "unreadable", id="a byte that no message begins with"),
        pytest.param(b"[" * 100_000, "unreadable", id="nested without an end"),
        pytest.param(encode(replace(asked(), rid="a.b")), "unreadable", id="a request id of two tokens"),
        pytest.param(encode(replace(asked(), rid="r\n1")), "unreadable", id="a request id of two lines"),
    ],
)
async def test_what_a_nats_client_may_not_ask_is_refused_and_logged(on_nats: Site, sent: Any, code: str) -> None:
    forget_refusals()
    refused = await ask(on_nats, sent)
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert refused.hint
    entry, act = entry_of(code)
    assert (entry.kind, act.by) == ("refused", "nats")
    assert not on_nats.asked
