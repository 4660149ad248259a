"""The HTTP door: OpenAI's own client works unchanged, and what is wrong is said at once, clearly, and costs nothing."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from gateway_site import EMAIL, Site, site
from structlog.testing import capture_logs

from brokers.memory import MemoryHouse
from brokers.settings import Gateway, Settings
from schemas import Published
from schemas.subjects import ASKS
from services import gateway
from services.gateway.http_door import GatewayAddress, listening, open_http_door, url_of
from services.places import Places

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
async def open_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    state = tmp_path_factory.mktemp("site")
    async with site(state, http=True, grace_s=0.2, heartbeat_s=0.05, body_timeout_s=0.3) as running:
        yield running


@pytest.fixture
def running(open_site: Site) -> Site:
    """The module's site, with nobody asking and nothing asked yet."""
    open_site.may_answer.clear()
    open_site.arrivals = asyncio.Queue()
    return open_site


@pytest.fixture
def rid() -> str:
    return uuid.uuid4().hex


@pytest.fixture
async def http(running: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=running.url, timeout=10) as http:
        yield http


@pytest.fixture
async def client(running: Site) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client:
        yield client


def turn(text: str = "When do you open?") -> Any:
    return [{"role": "user", "content": text}]


def body(text: str = "When do you open?", **fields: Any) -> dict[str, Any]:
    return {"model": "tidegate", "messages": turn(text), **fields}


async def test_the_openai_client_gets_an_answer_in_one_piece(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="tidegate", messages=turn(), user="ada", temperature=0)
    [choice] = whole.choices
    assert choice.message.content == "Your question has 4 words, and this is the answer to it."
    assert (choice.message.role, choice.finish_reason, whole.object) == ("assistant", "stop", "chat.completion")
    assert whole.usage is not None
    assert whole.usage.total_tokens == 16
    published = msgspec.convert(whole.model_extra["tidegate"], Published)  # type: ignore[index]
    assert whole.id == f"chatcmpl-{published.rid}"
    assert published.receipt.site == "site1"
    assert whole._request_id == published.rid


async def test_the_openai_client_gets_the_same_answer_as_a_stream(client: openai.AsyncOpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn(), stream=True, stream_options=options
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert said == "Your question has 4 words, and this is the answer to it."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert msgspec.convert(chunks[-2].model_extra["tidegate"], Published).text == said  # type: ignore[index]
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_openai_client_finds_the_model(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["tidegate"]
    assert (await client.models.retrieve("tidegate")).id == "tidegate"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-4o")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("change", "headers", "error"),
    [
        ({"model": "gpt-4o"}, {}, openai.NotFoundError),
        ({"messages": []}, {}, openai.BadRequestError),
        ({"messages": turn("")}, {}, openai.BadRequestError),
        ({"messages": turn("Restore <EMAIL_0123456789ab>")}, {}, openai.BadRequestError),
        ({"messages": turn("x" * 9000)}, {}, openai.BadRequestError),
        ({}, {"X-Tidegate-Budget-Ms": "-1"}, openai.BadRequestError),
        ({}, {"X-Tidegate-Deadline-At-Ms": "1"}, openai.BadRequestError),
        ({}, {"X-Tidegate-Workload": "sing"}, openai.BadRequestError),
        ({}, {"X-Tidegate-Tenant": "stranger"}, openai.PermissionDeniedError),
    ],
)
async def test_errors_map_to_the_openai_clients_exceptions_with_one_log_line(
    client: openai.AsyncOpenAI, change: Any, headers: Any, error: type[openai.APIStatusError], stream: bool
) -> None:
    request: Any = {"model": "tidegate", "messages": turn(), **change}
    with capture_logs() as lines, pytest.raises(error) as caught:
        await client.chat.completions.create(**request, stream=stream, extra_headers=headers)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["hint"]
    assert "Traceback" not in caught.value.message
    assert [line["event"] for line in lines] == ["ask_refused"]


async def test_too_many_waiting_is_429_with_retry_after_and_late_is_504(tmp_path: Path) -> None:
    async with (
        site(tmp_path, http=True, max_waiting=1, grace_s=0.1) as running,
        openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as client,
    ):
        budget = {"X-Tidegate-Budget-Ms": "600", "X-Request-Id": "r1"}
        chat = client.chat.completions.create(model="tidegate", messages=turn("wait here"), extra_headers=budget)
        waiting = asyncio.create_task(chat)
        await running.arrivals.get()
        with pytest.raises(openai.RateLimitError) as busy:
            await client.chat.completions.create(model="tidegate", messages=turn())
        assert busy.value.response.headers["retry-after"] == "1"
        with pytest.raises(openai.InternalServerError) as late:
            await waiting
        assert late.value.status_code == 504
        assert late.value.code == "late"
        assert late.value.response.headers["x-request-id"] == "r1"
        assert late.value.response.headers["x-should-retry"] == "false"


async def test_a_stream_that_ends_without_an_answer_ends_with_an_error_event(client: openai.AsyncOpenAI) -> None:
    headers = {"X-Tidegate-Budget-Ms": "50"}
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn("vanish"), stream=True, extra_headers=headers
    )
    with capture_logs() as lines, pytest.raises(openai.APIError, match="deadline"):
        [chunk async for chunk in stream]
    assert [line["code"] for line in lines] == ["late"]


@pytest.mark.parametrize(("text", "finish"), [("withhold", "content_filter"), ("abstain", "stop")])
async def test_what_is_not_answered_is_said_politely(client: openai.AsyncOpenAI, text: str, finish: str) -> None:
    whole = await client.chat.completions.create(model="tidegate", messages=turn(text))
    assert whole.choices[0].finish_reason == finish
    assert whole.choices[0].message.content == "I would rather not say."


async def test_the_asker_sees_their_own_words_on_every_path(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="tidegate", messages=turn("personal data"), user="ada")
    assert whole.choices[0].message.content == f"We write to {EMAIL} today, and to {EMAIL} tomorrow."
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn("personal data"), user="ada", stream=True
    )
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert said == whole.choices[0].message.content


async def test_a_request_id_is_the_clients_or_the_sites_and_always_told(http: httpx.AsyncClient, rid: str) -> None:
    ours = await http.post(CHAT, json=body())
    assert len(ours.headers["x-request-id"]) == 32
    first = await http.post(CHAT, json=body(user="ada"), headers={"X-Request-Id": rid})
    again = await http.post(CHAT, json=body(user="ada"), headers={"X-Request-Id": rid})
    taken = await http.post(CHAT, json=body(user="bob"), headers={"X-Request-Id": rid})
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


async def test_ten_megabytes_are_refused_before_they_are_sent(running: Site) -> None:
    reader, writer = await asyncio.open_connection(*address_of(running))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: 10485760\r\n\r\n{")
    assert (await reader.readline()).split()[1] == b"413"
    assert b"body_too_large" in await reader.readuntil(b"}}")
    writer.close()


async def test_a_chunked_body_is_refused_as_soon_as_it_is_too_large(running: Site) -> None:
    reader, writer = await asyncio.open_connection(*address_of(running))
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
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
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
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
async def test_a_client_that_leaves_frees_its_place(running: Site, http: httpx.AsyncClient, stream: bool) -> None:
    leaving = asyncio.create_task(http.post(CHAT, json=body("wait here", stream=stream)))
    await running.arrivals.get()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    async with asyncio.timeout(2):
        while len(running.door.waiting):  # noqa: ASYNC110 what it waits for happens inside the server
            await asyncio.sleep(0.01)
    running.may_answer.set()


async def test_a_client_that_leaves_amid_its_body_is_no_failure_of_the_site(running: Site) -> None:
    with capture_logs() as lines:
        _, writer = await asyncio.open_connection(*address_of(running))
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: 100\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.close()
        await asyncio.sleep(0.05)
    assert lines == []


async def test_a_door_that_closes_ends_the_streams_of_those_who_watch(tmp_path: Path) -> None:
    async with httpx.AsyncClient(timeout=10) as http, site(tmp_path) as running:
        watching = asyncio.Event()

        async def watch(url: str) -> str:
            seen = ""
            async with http.stream("GET", f"{url}/v1/requests/r1/events") as reply:
                async for piece in reply.aiter_text():
                    seen += piece
                    watching.set()
            return seen

        async with open_http_door(running.door) as address:
            watcher = asyncio.create_task(watch(address.url))
            await watching.wait()
        assert (await watcher).endswith("event: end\ndata: {}\n\n")


async def test_the_trace_of_a_client_goes_on(tmp_path: Path) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    async with site(tmp_path, http=True) as running, httpx.AsyncClient(base_url=running.url) as http:
        assert isinstance(running.house, MemoryHouse)
        for header in (f"00-{trace_id}-b7ad6b7169203331-01", "nonsense"):
            assert (await http.post(CHAT, json=body(), headers={"traceparent": header})).status_code == 200
        with_trace, with_nonsense = (kept.headers["traceparent"] for kept in running.house.stored(ASKS))
    assert with_trace.startswith(f"00-{trace_id}-")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", with_nonsense)


def events_in(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event: ")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


@pytest.fixture
async def on_server(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The HTTP door of a site on a real server, where what is stored is heard as well."""
    async with (
        site(tmp_path, http=True, server=True, heartbeat_s=0.05) as running,
        httpx.AsyncClient(base_url=running.url, timeout=10) as http,
    ):
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


async def test_another_tenant_sees_nothing_of_a_request(http: httpx.AsyncClient, rid: str) -> None:
    await http.post(CHAT, json=body(), headers={"X-Request-Id": rid})
    seen = ""
    async with http.stream("GET", f"/v1/requests/{rid}/events?tenant=bank") as reply:
        async for piece in reply.aiter_text():
            seen += piece
            if ": waiting" in seen:
                break
    assert events_in(seen) == []
    assert (await http.get("/v1/requests/a.b/events")).status_code == 400


async def test_health_readiness_metrics_and_unknown_paths(http: httpx.AsyncClient) -> None:
    assert (await http.get("/healthz")).json() == {"alive": True}
    assert (await http.get("/readyz")).json() == {"ready": True}
    metrics = await http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "# HELP" in metrics.text
    for reply in (await http.get("/nowhere"), await http.get(CHAT)):
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "no_such_path")


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
        path = Places(settings).gateway
        async with gateway.open(settings, running.house, lambda: b"tidegate_up 1\n"):
            address = msgspec.json.decode(path.read_bytes(), type=GatewayAddress)
            async with httpx.AsyncClient(base_url=address.url) as http:
                assert (await http.post(CHAT, json=body())).status_code == 200
                assert (await http.get("/metrics")).text == "tidegate_up 1\n"
        assert not path.exists()
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", int(address.url.rsplit(":", 1)[1]))


async def test_an_address_that_is_taken_is_an_error_that_names_it(tmp_path: Path) -> None:
    taken = listening("127.0.0.1", 0)
    port = taken.getsockname()[1]
    async with site(tmp_path) as running:
        settings = Settings(state_dir=str(tmp_path), gateway=Gateway(port=port))
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with gateway.open(settings, running.house):
                pass
    taken.close()


def test_the_address_is_one_that_a_client_here_can_reach() -> None:
    with listening("0.0.0.0", 0) as everywhere:
        assert url_of(everywhere, "0.0.0.0").startswith("http://127.0.0.1:")


def address_of(running: Site) -> tuple[str, int]:
    host, port = running.url.removeprefix("http://").split(":")
    return host, int(port)
