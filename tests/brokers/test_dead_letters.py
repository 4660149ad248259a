"""What a stage dead-lettered can be listed, shown, and published again, byte for byte."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, count
from tidegate.brokers.base import Delivery, TopologyMissingError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.dead_letters import (
    DeadLetterNotFoundError,
    get_dead_letter,
    list_dead_letters,
    replay_dead_letter,
)
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.stage import Stage
from tidegate.schemas import Asked, RejectError
from tidegate.services.pipeline import WORKERS

pytestmark = pytest.mark.anyio
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

PREFILTER = WORKERS["prefilter"]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[JetStreamBus]:
    """A declared site."""
    async with (
        Server("site1", tmp_path) as server,
        JetStreamBus.open(server.nats, "site1") as opened,
    ):
        await declare_site(opened.link.client, "site1", STAGES)
        yield opened


async def ask(bus: JetStreamBus, rid: str) -> None:
    await bus.publish(Asked(tenant="kiosk", rid=rid, sealed=b"\x00sealed"), id=rid, headers={"traceparent": PARENT})


async def taken(bus: JetStreamBus, stage: Stage) -> Delivery:
    async with bus.subscribe(stage) as inbox:
        delivery = await inbox.next(wait_s=5)
    assert delivery is not None
    return delivery


async def make_dead_letter(bus: JetStreamBus, rid: str) -> Delivery:
    """An ask that the prefilter could not settle."""
    await ask(bus, rid)
    async with bus.subscribe(PREFILTER) as inbox:
        delivery = await inbox.next(wait_s=5)
        assert delivery is not None
        await bus.dead_letter(delivery, "prefilter", RejectError("no key"))
    return delivery


async def put(nc: Client, subject: str, data: bytes, **headers: str) -> int:
    """A letter as another worker, or another version, may have written it."""
    stored = await nc.jetstream().publish(subject, data, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return int(stored.seq)


async def test_a_dead_letter_states_who_where_why_and_holds_the_original_bytes(bus: JetStreamBus) -> None:
    began_s = time.time()
    delivery = await make_dead_letter(bus, "r1")
    (letter,) = await list_dead_letters(bus.link.client)
    assert letter == await get_dead_letter(bus.link.client, letter.seq)
    assert (letter.stage, letter.site, letter.reason) == ("prefilter", "site1", "RejectError: no key")
    assert (letter.subject, letter.attempt, letter.id) == ("asks.kiosk.r1", 1, delivery.id)
    assert (letter.data, letter.size_bytes) == (delivery.data, len(delivery.data))
    assert letter.stored_at_s == pytest.approx(delivery.stored_at_s, abs=0.001)
    assert began_s - 1 < letter.stored_at_s <= letter.dead_at_s + 0.001 <= time.time() + 1
    assert letter.traceparent == PARENT


async def test_letters_are_listed_oldest_first_over_every_page_and_by_stage(bus: JetStreamBus) -> None:
    nc = bus.link.client
    assert await list_dead_letters(nc) == []
    for n in range(600):
        await nc.publish(f"dead.{'router' if n % 3 else 'policy'}.r{n}", b"x")
    await nc.flush()
    await put(nc, "dead.policy.last", b"x")
    everything = await list_dead_letters(nc)
    assert [letter.seq for letter in everything] == list(range(1, 602))
    of_policy = await list_dead_letters(nc, "policy")
    assert [letter.seq for letter in of_policy] == [*range(1, 601, 3), 601]
    assert {letter.stage for letter in of_policy} == {"policy"}
    assert await list_dead_letters(nc, "drafter") == []


async def test_a_replayed_letter_is_delivered_again_as_a_message_of_its_own(bus: JetStreamBus) -> None:
    dead = await make_dead_letter(bus, "r1")
    nc = bus.link.client
    (letter,) = await list_dead_letters(nc)
    done = await replay_dead_letter(nc, letter.seq)
    assert (done.subject, done.stream, done.sequence, done.is_duplicate) == ("asks.kiosk.r1", "ASKS", 2, False)
    again = await taken(bus, PREFILTER)
    assert (again.data, again.subject, again.attempt) == (dead.data, dead.subject, 1)
    assert again.id == f"{dead.id}.replay.{letter.seq}"
    assert again.headers["traceparent"] == PARENT
    assert again.headers["Tidegate-Cause"] == f"DEAD:{letter.seq}"
    assert await list_dead_letters(nc) == [letter]


async def test_a_letter_replayed_twice_is_stored_once(bus: JetStreamBus) -> None:
    await make_dead_letter(bus, "r1")
    nc = bus.link.client
    assert [(await replay_dead_letter(nc, 1)).is_duplicate for _ in range(2)] == [False, True]
    assert await count(nc, "ASKS") == 2


async def test_a_verdict_that_died_at_a_site_is_replayed_where_the_site_can_store_it(bus: JetStreamBus) -> None:
    nc = bus.link.client
    subject = "verdicts.site1.kiosk.r1"
    seq = await put(nc, "dead.policy.r1", b"v", Dead_Subject=subject, Dead_Site="site1", Dead_Id="r1.x")
    assert (await replay_dead_letter(nc, seq)).subject == "pipe.kiosk.verified.r1"
    assert [stored.data for stored in await messages(nc, "PIPE", "pipe.kiosk.verified.r1")] == [b"v"]


async def test_a_letter_can_be_replayed_to_another_subject_and_to_one_that_nobody_stores_it_cannot(
    bus: JetStreamBus,
) -> None:
    nc = bus.link.client
    seq = await put(nc, "dead.router.r1", b"v", Dead_Subject="gone.kiosk.r1", Dead_Site="site1", Dead_Id="r1.x")
    with pytest.raises(TopologyMissingError, match=r"takes gone\.kiosk\.r1"):
        await replay_dead_letter(nc, seq)
    assert (await replay_dead_letter(nc, seq, to="pipe.kiosk.routed.r1")).stream == "PIPE"


@pytest.mark.parametrize("seq", [-1, 0, 1, 99])
async def test_a_dead_letter_that_is_not_there_is_an_error(bus: JetStreamBus, seq: int) -> None:
    with pytest.raises(DeadLetterNotFoundError, match=f"no dead letter {seq}"):
        await replay_dead_letter(bus.link.client, seq)


async def test_a_domain_without_the_stream_of_dead_letters_is_an_error(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server, JetStreamBus.open(server.nats, "site1") as bare:
        with pytest.raises(TopologyMissingError, match="no stream DEAD"):
            await list_dead_letters(bare.link.client)
