"""The life of one request is read back whole, in order, without leaving a consumer behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, client_of, linked
from tidegate.brokers.base import TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream import api as jetstream_api
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.history import history, message, messages
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas.subjects import SITE_STREAMS

pytestmark = pytest.mark.anyio

LIFE = (
    "asks.kiosk.r1",
    "pipe.kiosk.screened.r1",
    "pipe.kiosk.routed.r1",
    "pipe.kiosk.retrieved.r1",
    "escalations.site1.kiosk.r1",
    "pipe.kiosk.verified.r1",
    "pipe.kiosk.approved.r1",
    "answers.kiosk.r1",
)


@pytest.fixture
async def nc(tmp_path: Path) -> AsyncIterator[Client]:
    """A client of a declared site."""
    async with Server("site1", tmp_path) as server, client_of(server) as client:
        await declare_site(client, "site1", STAGES)
        yield client


async def store(nc: Client, *subjects: str) -> None:
    for subject in subjects:
        await nc.jetstream().publish(subject, subject.encode(), headers={"Nats-Msg-Id": subject, "traceparent": "t"})


async def test_the_history_of_a_request_is_its_facts_in_the_order_in_which_they_were_stored(nc: Client) -> None:
    await store(nc, *(subject.replace("r1", "r0") for subject in LIFE))
    await store(nc, *LIFE)
    await store(nc, *(subject.replace("r1", "r11") for subject in LIFE), "asks.other.r1")
    found = await history(nc, "r1", "kiosk", "site1")
    assert [stored.subject for stored in found] == list(LIFE)
    assert [stored.data for stored in found] == [subject.encode() for subject in LIFE]
    assert [stored.stored_at_s for stored in found] == sorted(stored.stored_at_s for stored in found)
    assert (found[0].stream, found[0].sequence, found[1].stream, found[1].sequence) == ("ASKS", 2, "PIPE", 6)
    assert found[0].headers == {"Nats-Msg-Id": "asks.kiosk.r1", "traceparent": "t"}
    everyones = await history(nc, "r1")
    assert [stored.subject for stored in everyones] == [*LIFE, "asks.other.r1"]


async def test_reading_leaves_no_consumer_and_no_subscription(nc: Client) -> None:
    await store(nc, *LIFE)
    before = {stream: len(await jetstream_api.consumers(nc, stream)) for stream in SITE_STREAMS}
    subscriptions = len(nc._subs)
    await history(nc, "r1")
    assert {stream: len(await jetstream_api.consumers(nc, stream)) for stream in SITE_STREAMS} == before
    assert len(nc._subs) == subscriptions


async def test_a_request_that_was_never_seen_has_no_history(nc: Client) -> None:
    await store(nc, *LIFE)
    assert await history(nc, "r2") == []
    assert await history(nc, "r1", tenant="other") == []


@pytest.mark.parametrize("rid", ["", "*", ">", "a.b", "a b", "x" * 65])
async def test_a_rid_that_would_read_other_requests_is_refused(nc: Client, rid: str) -> None:
    with pytest.raises(ValueError, match="no request id"):
        await history(nc, rid)


@pytest.mark.parametrize("size", [255, 256, 257, 700])
async def test_every_page_of_a_long_read_comes_once(nc: Client, size: int) -> None:
    for n in range(size):
        await nc.publish("pipe.kiosk.screened.r1", str(n).encode())
        await nc.publish("pipe.kiosk.routed.r1", b"other")
    await nc.jetstream(timeout=60).publish("pipe.kiosk.routed.r1", b"end")  # acknowledged behind all that
    found = await messages(nc, "PIPE", "pipe.*.screened.*")
    assert [stored.data for stored in found] == [str(n).encode() for n in range(size)]


async def test_one_message_is_found_by_its_sequence(nc: Client) -> None:
    await store(nc, "asks.kiosk.r1", "asks.kiosk.r2")
    found = await message(nc, "ASKS", 1)
    assert found is not None
    assert found.subject == "asks.kiosk.r1"
    assert await message(nc, "ASKS", 3) is None


async def test_an_empty_message_is_a_message(nc: Client) -> None:
    await nc.jetstream().publish("asks.kiosk.r1", b"")
    assert [stored.data for stored in await messages(nc, "ASKS", "asks.>")] == [b""]


async def test_the_hub_has_its_part_and_a_bare_server_is_an_error_that_names_what_is_missing(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        await all_.hub.jetstream().publish("verdicts.site1.kiosk.r1", b"x")
        assert [stored.stream for stored in await history(all_.hub, "r1")] == ["VERDICTS"]
    async with Server("bare", tmp_path / "bare") as server, client_of(server) as client:
        with pytest.raises(TopologyMissingError, match="none of ASKS, PIPE, ESCALATIONS, VERDICTS, ANSWERS"):
            await history(client, "r1")


async def test_a_server_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    server = Server("site1", tmp_path)
    await server.start()
    async with client_of(server) as client:
        server.kill()
        with pytest.raises(UnreachableError):
            await messages(client, "ASKS", "asks.>")
