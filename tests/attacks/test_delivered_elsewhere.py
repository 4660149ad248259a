"""No server looks at where a request wants its answer: a worker can have a message of its consumer delivered into any
stream. What comes there keeps the subject that it was stored under, and whoever reads the stream does not see it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.support.intruders import intruder
from tests.support.message_samples import SAMPLES
from tests.support.nats_fleet import Linked, arrived, count, linked, nats_of
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.history import first_messages
from tidegate.schemas import Verified, encode
from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, PIPE, inbox_of
from tidegate.services.evidence.entries import FOLLOWED
from tidegate.services.pipeline import WORKERS

pytestmark = pytest.mark.anyio

INBOXES = inbox_of("site1")
FACT = next(sample for sample in SAMPLES if isinstance(sample, Verified))
STORED = "pipe.kiosk.verified.r1"


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Linked]:
    async with linked(tmp_path_factory.mktemp("fleet"), ["site1"]) as all_:
        yield all_


async def deliver_into(fleet: Linked, stream: str, subject: str) -> None:
    """As the worker of `policy`, have a fact that it is given delivered to a subject of another stream."""
    site = fleet.sites["site1"]
    async with intruder(nats_of(fleet.fleet, "site1", "fast-lane"), INBOXES) as maker:
        before = await count(site, PIPE)
        await maker.client.publish(STORED, encode(FACT))
        await arrived(site, PIPE, before + 1)
    async with intruder(nats_of(fleet.fleet, "site1", "policy"), INBOXES) as attacker:
        before = await count(site, stream)
        asked = json.dumps({"batch": 1, "expires": 2_000_000_000}).encode()
        await attacker.client.publish("$JS.API.CONSUMER.MSG.NEXT.PIPE.policy", asked, reply=subject)
        await arrived(site, stream, before + 1)


@pytest.mark.parametrize(("stream", "subject"), [(ANSWERS, "answers.kiosk.r1"), (DEAD, "dead.policy.r1")])
async def test_what_is_delivered_into_a_stream_is_no_answer_and_no_dead_letter(
    fleet: Linked, stream: str, subject: str
) -> None:
    await deliver_into(fleet, stream, subject)
    stored = await first_messages(fleet.sites["site1"], stream, ">", 0, 10)
    assert {each.subject for each in stored} == {STORED}, "it came, under its own subject"
    assert await first_messages(fleet.sites["site1"], stream, FOLLOWED[stream], 0, 10) == []


async def test_no_stage_is_given_what_was_delivered_into_its_stream(fleet: Linked) -> None:
    await deliver_into(fleet, ASKS, "asks.kiosk.r1")
    login = nats_of(fleet.fleet, "site1", "prefilter")
    async with JetStreamBus.open(login, "site1") as bus, bus.subscribe(WORKERS["prefilter"]) as inbox:
        assert await inbox.next(wait_s=0.5) is None
