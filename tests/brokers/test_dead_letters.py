"""What a stage buried can be listed, shown, and sent on its way again, byte for byte."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, count
from tidegate.brokers import dead_letters as dead
from tidegate.brokers.base import Delivery, TopologyMissing
from tidegate.brokers.jetstream.bus import JetStreamHouse
from tidegate.brokers.jetstream.history import last
from tidegate.brokers.servers.fleet import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.stage import Stage
from tidegate.brokers.topology.plan import declare_site
from tidegate.schemas import Asked, RejectError
from tidegate.services.pipeline import WORKERS

pytestmark = pytest.mark.anyio

PREFILTER = WORKERS["prefilter"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[JetStreamHouse]:
    """A declared site."""
    async with (
        Server("site1", tmp_path) as server,
        JetStreamHouse.open(NatsSettings(url=server.url), "site1") as opened,
    ):
        await declare_site(opened.link.client, "site1", STAGES)
        yield opened


async def ask(house: JetStreamHouse, rid: str) -> None:
    await house.publish(
        Asked(tenant="kiosk", rid=rid, sealed=b"\x00sealed"), id=rid, headers={"traceparent": "00-a-b-01"}
    )


async def taken(house: JetStreamHouse, stage: Stage) -> Delivery:
    async with house.subscribe(stage) as inbox:
        delivery = await inbox.next(wait_s=5)
    assert delivery is not None
    return delivery


async def bury(house: JetStreamHouse, rid: str) -> Delivery:
    """An ask that the prefilter could not settle."""
    await ask(house, rid)
    async with house.subscribe(PREFILTER) as inbox:
        delivery = await inbox.next(wait_s=5)
        assert delivery is not None
        await house.bury(delivery, "prefilter", RejectError("no key"))
    return delivery


async def put(nc: Client, subject: str, data: bytes, **headers: str) -> int:
    """A letter as another worker, or another version, may have written it."""
    stored = await nc.jetstream().publish(subject, data, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return int(stored.seq)


async def test_a_letter_says_who_where_why_and_holds_the_original_bytes(house: JetStreamHouse) -> None:
    began_s = time.time()
    delivery = await bury(house, "r1")
    (letter,) = await dead.letters(house.link.client)
    assert letter == await dead.show(house.link.client, letter.seq)
    assert (letter.stage, letter.site, letter.reason) == ("prefilter", "site1", "RejectError: no key")
    assert (letter.subject, letter.attempt, letter.id) == ("asks.kiosk.r1", 1, delivery.id)
    assert (letter.data, letter.size_bytes) == (delivery.data, len(delivery.data))
    assert letter.stored_at_s == pytest.approx(delivery.stored_at_s, abs=0.001)
    assert began_s - 1 < letter.stored_at_s <= letter.buried_at_s + 0.001 <= time.time() + 1
    assert letter.traceparent == "00-a-b-01"


async def test_letters_are_listed_oldest_first_over_every_page_and_by_stage(house: JetStreamHouse) -> None:
    nc = house.link.client
    assert await dead.letters(nc) == []
    for n in range(600):
        await nc.publish(f"dead.{'router' if n % 3 else 'policy'}.r{n}", b"x")
    await nc.flush()
    await put(nc, "dead.policy.last", b"x")
    everything = await dead.letters(nc)
    assert [letter.seq for letter in everything] == list(range(1, 602))
    of_policy = await dead.letters(nc, "policy")
    assert [letter.seq for letter in of_policy] == [*range(1, 601, 3), 601]
    assert {letter.stage for letter in of_policy} == {"policy"}
    assert await dead.letters(nc, "drafter") == []


async def test_a_replayed_letter_is_delivered_again_as_a_message_of_its_own(house: JetStreamHouse) -> None:
    buried = await bury(house, "r1")
    nc = house.link.client
    (letter,) = await dead.letters(nc)
    done = await dead.replay(nc, letter.seq)
    assert (done.subject, done.stream, done.sequence, done.is_duplicate) == ("asks.kiosk.r1", "ASKS", 2, False)
    again = await taken(house, PREFILTER)
    assert (again.data, again.subject, again.attempt) == (buried.data, buried.subject, 1)
    assert again.id == f"{buried.id}.replay.{letter.seq}"
    assert again.headers["traceparent"] == "00-a-b-01"
    assert again.headers["Tidegate-Cause"] == f"DEAD:{letter.seq}"
    assert await dead.letters(nc) == [letter]


async def test_a_letter_replayed_twice_is_stored_once(house: JetStreamHouse) -> None:
    await bury(house, "r1")
    nc = house.link.client
    assert [(await dead.replay(nc, 1)).is_duplicate for _ in range(2)] == [False, True]
    assert await count(nc, "ASKS") == 2


async def test_a_verdict_that_died_at_a_site_is_replayed_where_the_site_can_store_it(house: JetStreamHouse) -> None:
    nc = house.link.client
    subject = "verdicts.site1.kiosk.r1"
    seq = await put(nc, "dead.policy.r1", b"v", Dead_Subject=subject, Dead_Site="site1", Dead_Id="r1.x")
    assert (await dead.replay(nc, seq)).subject == "pipe.kiosk.verified.r1"
    stored = await last(nc, "PIPE", "pipe.kiosk.verified.r1")
    assert stored is not None
    assert stored.data == b"v"


async def test_a_letter_can_be_replayed_to_another_subject_and_to_one_that_nobody_stores_it_cannot(
    house: JetStreamHouse,
) -> None:
    nc = house.link.client
    seq = await put(nc, "dead.router.r1", b"v", Dead_Subject="gone.kiosk.r1", Dead_Site="site1", Dead_Id="r1.x")
    with pytest.raises(TopologyMissing, match=r"takes gone\.kiosk\.r1; replay letter 1 to another subject"):
        await dead.replay(nc, seq)
    assert (await dead.replay(nc, seq, to="pipe.kiosk.routed.r1")).stream == "PIPE"


@pytest.mark.parametrize("seq", [-1, 0, 1, 99])
async def test_a_letter_that_is_not_there_is_said(house: JetStreamHouse, seq: int) -> None:
    with pytest.raises(dead.NoSuchLetter, match=f"no dead letter {seq}; list them"):
        await dead.replay(house.link.client, seq)


async def test_a_domain_without_dead_letters_stream_says_so(tmp_path: Path) -> None:
    async with Server("site1", tmp_path) as server, JetStreamHouse.open(NatsSettings(url=server.url), "site1") as bare:
        with pytest.raises(TopologyMissing, match="no stream DEAD"):
            await dead.letters(bare.link.client)
