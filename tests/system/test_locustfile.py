"""The Locust users ask a site and time the answer; the other party here is a responder that answers at once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from nats.aio.msg import Msg

from loadtests.bench import chain
from tests.support.paths import ROOT
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Asked, Published, Refused, decode, encode
from tidegate.schemas.subjects import ASK

pytestmark = pytest.mark.anyio


async def published() -> Published:
    message: Any = chain.question("r1")
    for handle in chain.HANDLERS:
        (message,) = await handle(message)
    return msgspec.convert(message, Published, from_attributes=True)


@asynccontextmanager
async def responder(url: str, heard: list[Asked], at_s: list[float] | None = None) -> AsyncIterator[None]:
    """A site's NATS endpoint that answers every second question and refuses the others; `at_s`: when it heard each."""
    client = await nats.connect(url, max_reconnect_attempts=0)
    answer = await published()

    async def reply(msg: Msg) -> None:
        heard.append(decode(msg.data, Asked))
        if at_s is not None:
            at_s.append(time.monotonic())
        refused = Refused(code="busy", reason="too many requests are waiting")
        await msg.respond(encode(answer if len(heard) % 2 else refused))

    await client.subscribe(ASK, cb=reply)
    await client.flush()
    try:
        yield
    finally:
        await client.close()


@asynccontextmanager
async def streaming_site(heard: list[dict[str, Any]]) -> AsyncIterator[str]:
    """A site's HTTP endpoint: one chunk of content, then the answer with its evidence."""
    evidence = msgspec.to_builtins(await published())
    events = [
        {"choices": [{"delta": {"content": "A valid"}}]},
        {"choices": [{"delta": {}, "finish_reason": "stop"}], "tidegate": evidence},
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the load ends when it ends
            request = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", request)
            assert length is not None
            heard.append(json.loads(await reader.readexactly(int(length[1]))))
            writer.write((head + body).encode())
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def locust(directory: Path, *arguments: str, expect: int = 0) -> dict[str, Any]:
    """Run Locust for two seconds; its statistics by name."""
    questions = directory / "questions.txt"
    questions.write_text("When do you open?\nWhat does a card cost?\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests/load/locustfile.py"), "--headless", "--json"),
        *("-t", "2s", "-u", "4", "-r", "100", "--questions", str(questions), *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(directory)},
    )
    try:
        async with asyncio.timeout(30):
            output, errors = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    assert process.returncode == expect, errors.decode()
    return {entry["name"]: entry for entry in json.loads(output)}


async def test_the_nats_user_asks_over_a_real_server_and_counts_refusals_as_failures(tmp_path: Path) -> None:
    heard: list[Asked] = []
    async with Server("site1", tmp_path / "server") as server, responder(server.url, heard):
        statistics = await locust(tmp_path, "NatsSiteUser", "--nats-url", server.url, expect=1)

    seen = statistics["e2e"]
    assert seen["method"] == "NATS"
    assert seen["num_requests"] > 20
    assert 0 <= len(heard) - seen["num_requests"] <= 4, "what is under way at the end is not counted"
    assert abs(seen["num_failures"] - seen["num_requests"] / 2) <= 3
    assert {asked.text for asked in heard} == {"When do you open?", "What does a card cost?"}
    assert len({asked.rid for asked in heard}) == len(heard)


async def test_an_open_loop_asks_at_its_rate_whatever_the_answers_do(tmp_path: Path) -> None:
    heard: list[Asked] = []
    at_s: list[float] = []
    async with Server("site1", tmp_path / "server") as server, responder(server.url, heard, at_s):
        await locust(tmp_path, "NatsSiteUser", "--nats-url", server.url, "--rate", "40", expect=1)

    assert 20 <= len(heard) <= 100, "two seconds at 40 a second, give or take the start"
    together = [later - earlier < 0.004 for earlier, later in itertools.pairwise(at_s)]
    assert sum(together) < 0.6 * len(together), "four users at equal intervals ask together: three gaps in four"


async def test_the_http_user_records_the_first_content_and_the_whole_answer(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    async with streaming_site(heard) as url:
        statistics = await locust(tmp_path, "HttpSiteUser", "--host", url)

    assert all(body["stream"] for body in heard)
    assert statistics["ttft"]["num_requests"] == statistics["e2e"]["num_requests"] > 20
    assert statistics["ttft"]["num_failures"] == statistics["e2e"]["num_failures"] == 0
    assert 0 < statistics["ttft"]["total_response_time"] <= statistics["e2e"]["total_response_time"]
