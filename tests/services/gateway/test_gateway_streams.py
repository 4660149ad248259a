"""What is special about each way to a stream, and what the gateway does when it is full, idle or closing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from loadtests.load.dropping import WHOLE, Sse, SseParser, Ws
from loadtests.load.many_replies import request_many
from loadtests.load.stream_client import Client
from tests.support.gateway_site import EMAIL, Site, ask, asked, at_rest, entrance, open_openai, served_site, site
from tidegate.schemas import Asked, Delta, Published, Resume, encode, encode_json
from tidegate.schemas.subjects import RESUME, STREAM
from tidegate.services.streaming.events import EndEvent, ErrorEvent, Event

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
open_site = pytest.fixture(served_site, scope="module")
running = pytest.fixture(at_rest)


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with running.client() as http:
        yield http


def way_to(running: Site) -> tuple[str, int, str]:
    """The address of a site, and ada's key."""
    return (*address_of(running), running.access_keys["kiosk"])


def address_of(running: Site) -> tuple[str, int]:
    host, port = running.url.removeprefix("http://").split(":")
    return host, int(port)


def chat(text: str = "When do you open?", **fields: Any) -> dict[str, Any]:
    turn = {"role": "user", "content": text}
    return {"model": "tidegate", "messages": [turn], "user": "ada", "stream": True, **fields}


def contents(body: str) -> list[tuple[str, str]]:
    """The id and the content of every chunk that has one."""
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.split("\n"))
        data = fields.get("data", "")
        choices = msgspec.json.decode(data)["choices"] if "choices" in data else []
        found += [(fields.get("id", ""), content) for choice in choices if (content := choice["delta"].get("content"))]
    return found


async def line(running: Site, rid: str, text: str, after: int, **fields: Any) -> int:
    delta = Delta(**{"rid": rid, "tenant": "kiosk", "state": "committed", "text": text, **fields})
    return await running.bus.append(delta, after=after)


async def test_a_chat_stream_says_what_is_committed_while_the_rest_is_still_made(
    running: Site, http: httpx.AsyncClient
) -> None:
    whole = "Your question has 2 words, and this is the answer to it."
    body, headers = chat("wait here"), {"X-Request-Id": "chat1"}
    got: list[tuple[str, str]] = []
    async with http.stream("POST", CHAT, json=body, headers=headers) as reply:
        await running.arrivals.get()
        first = await line(running, "chat1", "Your question ", 0, state="provisional")
        await line(running, "chat1", "Your question has ", first)
        text = ""
        async for piece in reply.aiter_text():
            text += piece
            got = contents(text)
            if "".join(text for _, text in got) == "Your question has ":
                running.may_answer.set()
    assert "".join(text for _, text in got) == whole
    assert [cursor.split(".")[1:] for cursor, _ in got] == [[str(n)] * 2 for n in ends(got)]
    for n in range(len(got)):
        again = await http.post(CHAT, json=body, headers={**headers, "Last-Event-ID": got[n][0]})
        assert "".join(text for _, text in contents(again.text)) == "".join(text for _, text in got[n + 1 :])


async def test_a_chat_is_never_shown_what_may_be_taken_back(running: Site, http: httpx.AsyncClient) -> None:
    text = ""

    async def read(reply: httpx.Response) -> None:
        nonlocal text
        async for piece in reply.aiter_text():
            text += piece

    async with http.stream("POST", CHAT, json=chat("wait here"), headers={"X-Request-Id": "chat4"}) as reply:
        reading = asyncio.create_task(read(reply))
        await running.arrivals.get()
        last = await line(running, "chat4", "A guess that is wrong. ", 0, state="provisional")
        await asyncio.wait([reading], timeout=0.5)
        assert contents(text) == [], "it had half a second to tell the guess"
        last = await line(running, "chat4", "", last, state="retracted", epoch=1)
        await line(running, "chat4", "Your question has ", last, epoch=1)
        running.may_answer.set()
        await reading
    assert "".join(text for _, text in contents(text)) == "Your question has 2 words, and this is the answer to it."


def ends(got: list[tuple[str, str]]) -> list[int]:
    return [len("".join(text for _, text in got[: n + 1])) for n in range(len(got))]


async def test_a_chat_cannot_go_on_from_what_is_no_cursor(http: httpx.AsyncClient) -> None:
    for wrong, status in {"x": 400, "0.999.999": 200}.items():
        reply = await http.post(CHAT, json=chat(), headers={"X-Request-Id": "chat2", "Last-Event-ID": wrong})
        assert (reply.status_code, "bad_cursor" in reply.text) == (status, True)


async def test_an_asker_sees_their_own_words_in_a_stream_and_the_openai_client_reads_it(running: Site) -> None:
    client = Client()
    await Sse(*way_to(running)).ask(asked("personal data", can_retract=True, rid="own1"), client)
    assert client.text == f"We write to {EMAIL} today, and to {EMAIL} tomorrow."
    assert client.published is not None
    assert client.published.citations[0].quote == client.text
    async with open_openai(running) as whole:
        stream: Any = await whole.chat.completions.create(**chat("personal data"))
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == client.text


@pytest.mark.parametrize("form", [encode, encode_json])
async def test_over_nats_the_events_come_in_the_form_of_the_request(running: Site, form: Any) -> None:
    read = msgspec.json.decode if form is encode_json else msgspec.msgpack.decode
    client = Client()
    request = asked(rid=f"form{form is encode}")
    resume = Resume(rid=request.rid, tenant="kiosk", asker="ada")
    ways = {entrance(running, STREAM, request): form(request), entrance(running, RESUME, resume): form(resume)}
    for subject, data in ways.items():
        client = Client()
        async with request_many(running.bus.link, subject, data) as answers:  # type: ignore[attr-defined]
            while not client.is_done:
                client.take(read(await answers.next(), type=Event))
        assert client.text == "Your question has 4 words, and this is the answer to it."


@pytest.mark.parametrize("name", [STREAM, RESUME])
@pytest.mark.parametrize(
    "data", [b"", b"hello", b" {", b"[", b"{", b"\xc1", b'{"tenant":5}', b'{"tenant":"*","rid":"a","text":"x"}']
)
async def test_what_cannot_be_read_is_an_error_event_and_one_log_line(running: Site, name: str, data: bytes) -> None:
    with capture_logs() as lines:
        async with request_many(running.bus.link, entrance(running, name), data) as answers:  # type: ignore[attr-defined]
            event = msgspec.json.decode(await answers.next(), type=Event)
    assert isinstance(event, ErrorEvent)
    assert (event.code, event.is_resumable) == ("unreadable", False)
    assert [line["event"] for line in lines] == ["ask_refused"]


async def test_a_page_of_another_origin_may_not_open_a_socket(running: Site) -> None:
    host, port = address_of(running)
    for origin, status in (("https://elsewhere.example", b"403"), (f"http://{host}:{port}", b"101")):
        reader, writer = await asyncio.open_connection(host, port)
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        upgrade = f"Host: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: {origin}\r\n"
        upgrade += f"Authorization: Bearer {running.access_keys['kiosk']}\r\n"
        writer.write(f"GET /v1/streams/ws HTTP/1.1\r\n{upgrade}{key}\r\n".encode())
        assert (await reader.readline()).split()[1] == status
        writer.close()


async def test_a_socket_that_says_nothing_or_too_much_is_closed(running: Site) -> None:
    async with asyncio.timeout(5):
        client = Client()
        await SilentWs(*way_to(running)).ask(asked(), client)
        assert client.failed is not None
        assert client.failed.code == "body_too_slow"
        client = Client()
        await Ws(*way_to(running)).ask(asked("x" * 300_000), client)
        assert not client.is_done


class SilentWs(Ws):
    """Opens a socket and waits."""

    async def ask(self, _: Asked, client: Client, budget: int = WHOLE) -> int:
        return await self._read("/v1/streams/ws", b"", {}, client, budget)


@pytest.mark.parametrize("transport", [Sse, Ws])
async def test_a_stream_with_nothing_to_tell_shows_that_it_lives(running: Site, transport: Any) -> None:
    client, request = Client(), asked("wait here", rid=f"beat{transport.name}")
    telling = asyncio.create_task(transport(*way_to(running)).ask(request, client))
    await running.arrivals.get()
    await asyncio.sleep(0.2)
    running.may_answer.set()
    await telling
    assert isinstance(client.published, Published)
    assert transport is Sse or client.beats > 0  # a comment is no event, and the next test sees it


async def test_over_http_it_is_a_comment_that_says_so(running: Site, http: httpx.AsyncClient) -> None:
    async with http.stream("POST", "/v1/streams", content=encode_json(asked("wait here")), headers=JSON) as reply:
        text = ""
        async for piece in reply.aiter_text():
            text += piece
            if ": waiting\n\n" in text:
                running.may_answer.set()
    assert '"event":"end"' in text
    assert reply.headers["x-request-id"]
    assert reply.headers["cache-control"] == "no-cache"


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/v1/streams/never-asked", "unknown_request", 404),
        ("/v1/streams/a.b", "unreadable", 400),
        ("/v1/streams/never-asked?cursor=x", "bad_cursor", 400),
        ("/v1/streams/never-asked?tenant=stranger", "not_your_tenant", 403),
    ],
)
async def test_what_is_refused_at_once_has_its_http_status(
    http: httpx.AsyncClient, path: str, code: str, status: int
) -> None:
    reply = await http.get(path)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)


async def test_a_request_that_died_says_so_to_who_comes_back(running: Site) -> None:
    await ask(running, asked("die", rid="dead1"))
    client = Client()
    resume = Resume(rid="dead1", tenant="kiosk", asker="ada")
    async with request_many(running.bus.link, entrance(running, RESUME, resume), encode(resume)) as answers:  # type: ignore[attr-defined]
        client.take(msgspec.msgpack.decode(await answers.next(), type=Event))
    assert client.failed is not None
    assert (client.failed.code, client.failed.is_resumable) == ("dead", False)


async def test_the_number_of_streams_is_bounded_and_a_gateway_that_closes_ends_them(tmp_path: Path) -> None:
    async with site(tmp_path, http=True, max_streams=2) as running:
        running.ingress.settings = msgspec.structs.replace(running.settings, grace_s=0.05)
        clients = [Client(), Client()]
        telling = [
            asyncio.create_task(Sse(*way_to(running)).ask(asked("wait here", rid=f"r{n}"), client))
            for n, client in enumerate(clients)
        ]
        for _ in clients:
            await running.arrivals.get()
        with pytest.raises(ValueError, match=r"429.*busy"):
            await Sse(*way_to(running)).ask(asked(rid="r3"), Client())
        async with running.client() as http:
            assert (await http.post(CHAT, json=chat())).status_code == 429
        await running.ingress.close()
        await asyncio.gather(*telling)
        assert [(client.failed.code, client.failed.is_resumable) for client in clients if client.failed] == [
            ("closing", True)
        ] * 2
        assert len(running.ingress.streams) == 0
        running.may_answer.set()


async def test_an_answer_that_is_not_what_was_committed_is_never_sent(running: Site) -> None:
    await line(running, "lie1", "Something else. ", 0)
    client = Client()
    with capture_logs() as lines:
        await Ws(*way_to(running)).ask(asked(rid="lie1"), client)
    assert client.failed is not None
    assert client.failed.code == "internal"
    assert [line["error"] for line in lines if line["event"] == "ask_failed"] == ["CommitConflictError"]


async def test_a_log_whose_first_lines_are_gone_is_replaced_by_the_answer(running: Site) -> None:
    await line(running, "aged1", " has 4 words", 0, offset=13)
    client = Client()
    await Sse(*way_to(running)).ask(asked(rid="aged1"), client)
    assert client.text == "Your question has 4 words, and this is the answer to it."
    assert client.retractions == 0


def test_half_an_event_is_no_event() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b'id: 0.1.1\nevent: error\ndata: {"event":"error","id":"0.1.1","code":"late","reason":"r"}\n\n'
    parser = SseParser()
    raw = head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    events = [parser.feed(raw[n : n + 1]) for n in range(len(raw))]
    assert [n for n, found in enumerate(events) if found] == [len(head) + 4 + len(body) - 1]
    assert not isinstance(events[-1], EndEvent)
