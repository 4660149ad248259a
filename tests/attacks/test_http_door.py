"""What a request says of itself over HTTP beyond its question: none of it is believed, and none gets further."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.gateway_site import Site, at_rest, http_site, issue_key
from tidegate.brokers.process.trace import follow
from tidegate.services.evaluation.client import bearer

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
STREAM = "/v1/streams"
TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client() as http:
        yield http


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": [{"role": "user", "content": "When do you open?"}], **fields}


@pytest.mark.parametrize(
    ("field", "forged"),
    [
        ("site", "site2"),
        ("asked_at_ms", 1),
        ("sealed", base64.b64encode(b"a neighbour's words").decode()),
        ("timings", [{"stage": "prefilter", "waited_ms": 0.0, "worked_ms": 1.0}]),
    ],
)
async def test_what_only_the_gateway_says_is_never_taken_from_a_body(
    running: Site, http: httpx.AsyncClient, field: str, forged: Any
) -> None:
    asked = {"type": "asked", "rid": f"forged-{field}", "text": "When do you open?", field: forged}
    reply = await http.post(STREAM, json=asked)
    assert reply.status_code == 200
    [stored] = [each for each in running.asked if each.rid == f"forged-{field}"]
    assert stored.site == running.settings.site
    assert stored.asked_at_ms > 1
    assert stored.timings == ()
    assert b"neighbour" not in stored.sealed


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Tidegate-Tenant": "bank"}, "not_your_tenant"),
        ({"X-Tidegate-Tenant": "KIOSK"}, "bad_header"),
        ({"X-Tidegate-Tenant": "kiosk.bank"}, "bad_header"),
        ({"X-Request-Id": "pipe.bank.approved.r1"}, "bad_header"),
        ({"X-Request-Id": "*"}, "bad_header"),
        ({"X-Request-Id": ">"}, "bad_header"),
        ({"X-Request-Id": "r" * 65}, "bad_header"),
        ({"X-Tidegate-Budget-Ms": "999999999"}, "bad_header"),
        ({"X-Tidegate-Budget-Ms": "-1"}, "bad_header"),
        ({"Authorization": "Bearer tgk_"}, "unauthenticated"),
        ({"Authorization": "Basic YWRhOmFkYQ=="}, "unauthenticated"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else value,
)
async def test_a_header_that_claims_more_than_the_credential_is_refused(
    running: Site, http: httpx.AsyncClient, headers: dict[str, str], code: str
) -> None:
    before = len(running.asked)
    reply = await http.post(CHAT, json=chat(), headers=headers)
    assert reply.status_code in (400, 401, 403)
    assert reply.json()["error"]["code"] == code
    assert reply.json()["error"]["hint"]
    assert len(running.asked) == before


async def test_a_key_in_the_address_is_no_credential(running: Site, http: httpx.AsyncClient) -> None:
    key = running.access_keys["kiosk"]
    for name in ("key", "api_key", "access_token", "authorization"):
        reply = await http.post(CHAT, json=chat(), params={name: key}, headers={"Authorization": ""})
        assert reply.json()["error"]["code"] == "unauthenticated"


async def test_a_neighbour_gets_nothing_by_a_request_id_that_it_knows(running: Site, http: httpx.AsyncClient) -> None:
    assert (await http.post(CHAT, json=chat(), headers={"X-Request-Id": "mine"})).status_code == 200
    eve = bearer(issue_key(running.settings, "kiosk", asker="eve"))
    for method, path in (("GET", "/v1/streams/mine"), ("GET", "/v1/requests/mine/events")):
        reply = await http.request(method, path, headers=eve)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "unknown_request")
    again = await http.post(CHAT, json=chat(), headers={**eve, "X-Request-Id": "mine"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "rid_taken")


async def test_an_id_that_one_tenant_has_taken_pre_empts_no_other_tenants(
    running: Site, http: httpx.AsyncClient
) -> None:
    for tenant in ("bank", "kiosk"):
        headers = {**running.headers(tenant), "X-Request-Id": "shared"}
        assert (await http.post(CHAT, json=chat(), headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        "00-" + "A" * 32 + "-" + "b" * 16 + "-01",
        "ff-" + "a" * 32 + "-" + "b" * 16 + "-01",
        "00-" + "a" * 32 + "-" + "b" * 16 + "-01\r\nNats-Msg-Id: taken",
        "00-" + "a" * 4096,
        "{{7*7}}",
    ],
)
def test_whatever_traceparent_is_sent_one_of_fixed_form_goes_on(sent: str) -> None:
    assert TRACEPARENT.fullmatch(follow(sent))
