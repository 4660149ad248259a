"""The NATS endpoints of a site are a micro service: found by `$SRV`, with subjects, requests and refusals."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests.load.many_replies import request_many
from tests.support.gateway_site import Site, asked, entrance, nats_site, site
from tidegate.schemas import Asked, encode, encode_json
from tidegate.schemas.subjects import ASK, RESUME, STREAM

pytestmark = pytest.mark.anyio
running = pytest.fixture(nats_site)


async def control(running: Site, verb: str) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.json.decode(await running.bus.request(f"$SRV.{verb}.tidegate", b"", timeout_s=5.0))
    return answer


async def test_the_site_is_found_under_its_name_with_the_version_of_the_package(running: Site) -> None:
    ping, info = await control(running, "PING"), await control(running, "INFO")
    assert (ping["name"], ping["version"], ping["metadata"]) == ("tidegate", version("tidegate"), {"site": "site1"})
    assert {each["name"]: each["subject"] for each in info["endpoints"]} == {
        "ask": "ask.*.*",
        "stream": "stream.*.*",
        "resume": "resume.*.*",
    }


@pytest.mark.parametrize("form", [encode, encode_json])
async def test_requests_and_refusals_are_counted_and_a_stream_is_one_request(tmp_path: Path, form: Any) -> None:
    async with site(tmp_path, server=True) as running:
        await ask_stream_and_count(running, form)


async def ask_stream_and_count(running: Site, form: Any) -> None:
    await running.bus.request(entrance(running, ASK, asked()), form(asked()), timeout_s=5.0)
    stranger = Asked(tenant="stranger", text="my card is 4111")
    await running.bus.request(entrance(running, ASK, stranger), form(stranger), timeout_s=5.0)
    last: dict[str, Any] = {}
    stream, resume = entrance(running, STREAM, asked()), entrance(running, RESUME)
    async with request_many(running.bus.link, stream, form(asked())) as events:  # type: ignore[attr-defined]
        while last.get("event") != "end":
            last = (
                msgspec.json.decode(data) if (data := await events.next())[:1] == b"{" else msgspec.msgpack.decode(data)
            )
    async with request_many(running.bus.link, resume, b"no cursor") as events:  # type: ignore[attr-defined]
        assert msgspec.json.decode(await events.next())["event"] == "error"
    counts = {each["name"]: each for each in (await control(running, "STATS"))["endpoints"]}
    assert {name: (each["num_requests"], each["num_errors"]) for name, each in counts.items()} == {
        "ask": (2, 1),
        "stream": (1, 0),
        "resume": (1, 1),
    }
    assert counts["ask"]["last_error"].endswith(":unknown_tenant")
    assert counts["resume"]["last_error"] == "400:unreadable"


async def test_a_refusal_is_marked_as_an_error_for_clients_of_the_protocol(tmp_path: Path) -> None:
    async with site(tmp_path, server=True) as running:
        nc = running.bus.link.client  # type: ignore[attr-defined]
        refused = await nc.request(entrance(running, ASK), b"hello", timeout=5)
        assert msgspec.json.decode(refused.data)["code"] == "unreadable"
        assert refused.headers == {"Nats-Service-Error": "unreadable", "Nats-Service-Error-Code": "400"}
        assert (await nc.request(entrance(running, ASK, asked()), encode(asked()), timeout=5)).headers is None
