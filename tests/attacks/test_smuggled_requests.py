"""What a proxy and the gateway may read differently: trailers, a header twice, odd framing, and redirects of ours."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gateway_site import Site, at_rest, http_site
from tests.support.raw_http import RawReply, connect
from tidegate.services.gateway.http.heads import SENT_ONCE, is_ambiguous

pytestmark = pytest.mark.anyio
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)
QUESTION = {"model": "tidegate", "messages": [{"role": "user", "content": "When do you open?"}]}
BODY = json.dumps(QUESTION).encode()
CHUNKS = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)


async def ask(running: Site, headers: str, body: bytes, version: str = "1.1", path: str = "") -> RawReply:
    """What comes of a question of ada's with these headers beside the usual ones."""
    key = running.access_keys["kiosk"]
    head = f"POST {path or '/v1/chat/completions'} HTTP/{version}\r\nAuthorization: Bearer {key}\r\n"
    async with connect(running.url) as client:
        client.send(f"{head}{headers}\r\n".encode(), body)
        return await client.reply()


PLAIN = "Host: x\r\nContent-Type: application/json\r\n"
LENGTH = f"Content-Length: {len(BODY)}\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


async def test_what_every_client_sends_is_taken(running: Site) -> None:
    assert (await ask(running, PLAIN + LENGTH, BODY)).status == 200
    assert (await ask(running, PLAIN + CHUNKED, CHUNKS + b"\r\n")).status == 200
    accepted_lists = "Accept: text/html\r\nAccept: */*\r\nCookie: a=1\r\nCookie: b=2\r\n"
    assert (await ask(running, PLAIN + LENGTH + accepted_lists, BODY)).status == 200


@pytest.mark.parametrize(
    "trailer", ["X-Tidegate-Tenant: bank", "Authorization: Bearer nobody", "X-Request-ID: a.b", "Last-Event-ID: -1"]
)
async def test_a_trailer_is_no_header(running: Site, trailer: str) -> None:
    assert (await ask(running, PLAIN + CHUNKED, CHUNKS + f"{trailer}\r\n\r\n".encode())).status == 200


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        (PLAIN + LENGTH + "Authorization: Bearer another\r\n", "1.1"),
        (PLAIN + LENGTH + "X-Tidegate-Tenant: kiosk\r\nX-Tidegate-Tenant: bank\r\n", "1.1"),
        (PLAIN + LENGTH + "x-tidegate-asker: ada\r\nX-Tidegate-Asker: bob\r\n", "1.1"),
        (PLAIN + LENGTH + "X-Request-ID: aaaa\r\nX-Request-ID: bbbb\r\n", "1.1"),
        (PLAIN + LENGTH + "Content-Type: text/plain\r\n", "1.1"),
        (PLAIN + LENGTH + "Host: y\r\n", "1.1"),
        (PLAIN.removeprefix("Host: x\r\n") + LENGTH, "1.1"),
        (PLAIN + "Transfer-Encoding: gzip, chunked\r\n", "1.1"),
        (PLAIN + "Transfer-Encoding: identity, chunked\r\n", "1.1"),
        (PLAIN + CHUNKED, "1.0"),
    ],
)
async def test_a_head_that_can_be_read_in_two_ways_is_refused(running: Site, headers: str, version: str) -> None:
    body = CHUNKS + b"\r\n" if "Transfer" in headers else BODY
    reply = await ask(running, headers, body, version)
    assert (reply.status, reply.code) == (400, "ambiguous_head")
    assert "connection: close" in reply.head


async def test_a_request_without_headers_is_none(running: Site) -> None:
    async with connect(running.url) as client:
        client.send(b"GET /healthz\r\n\r\n")  # HTTP/0.9
        assert (await client.reply()).code == "ambiguous_head"


@pytest.mark.parametrize("path", ["/v1/chat/completions/", "/metrics/", "/v1/site/"])
async def test_nobody_is_sent_to_an_address_that_the_request_names(running: Site, path: str) -> None:
    reply = await ask(running, PLAIN.replace("Host: x", "Host: elsewhere.example") + LENGTH, BODY, path=path)
    assert (reply.status, reply.code) == (404, "no_such_path")
    assert "location" not in reply.head


NAMES = st.sampled_from([*sorted(SENT_ONCE), b"x-tidegate-tenant", b"accept", b"cookie", b"via"])
FIELDS = st.lists(st.tuples(NAMES, st.sampled_from([b"a", b"chunked", b"gzip"])), max_size=6)


@given(headers=FIELDS)
def test_more_headers_never_make_an_ambiguous_head_a_plain_one(headers: list[tuple[bytes, bytes]]) -> None:
    hosted = [(b"host", b"x"), *(each for each in headers if each[0] != b"host")]
    for count in range(1, len(hosted)):
        if is_ambiguous(hosted[:count], "1.1"):
            assert is_ambiguous(hosted, "1.1")
    twice = {name for name, _ in hosted if sum(name == other for other, _ in hosted) > 1}
    assert not (twice & SENT_ONCE) or is_ambiguous(hosted, "1.1")
