"""Whoever may store messages cannot keep another's out of a stream by storing one first under its id."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.escalation_site import escalated
from tests.support.nats_fleet import arrived, client_of, linked
from tests.support.scripted_stage import AFTER, STAGE, Script, asked
from tidegate.brokers.base import Delivery
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.message_ids import NAMES, MessageIds
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.worker import settle
from tidegate.schemas import Escalated, Withheld, decode
from tidegate.schemas.subjects import ESCALATIONS, PIPE

pytestmark = pytest.mark.anyio
IDS = MessageIds(b"k" * 32)
FORGED = b"not a fact of anybody's"
SUBJECT = "pipe.kiosk.withheld.r1"


@asynccontextmanager
async def one_delivery(directory: Path, ids: MessageIds) -> AsyncIterator[tuple[JetStreamBus, Delivery]]:
    """A request that a stage has in hand, at a site whose ids are made so."""
    async with Server("site1", directory) as server:
        async with client_of(server) as client:
            await declare_site(client, "site1", (STAGE, AFTER))
        async with JetStreamBus.open(server.nats, "site1", ids) as bus:
            await bus.publish(asked("r1"), id="kiosk.r1", headers={})
            async with bus.subscribe(STAGE) as inbox:
                delivery = await inbox.next(wait_s=10.0)
                assert delivery is not None
                yield bus, delivery


def guesses(delivery_id: str) -> list[str]:
    """What the id of the stage's output may be, by all that a neighbour knows: also the id of what it reads."""
    begins = ("kiosk.r1", "r1", delivery_id, "ASKS:1", NAMES.of("kiosk.r1"))
    names = [f"{begin}.{STAGE.name}.{n}" for begin, n in itertools.product(begins, range(3))]
    own = MessageIds(b"\0" * 32)
    return [*names, *map(own.of, names), *begins]


async def store_first(bus: JetStreamBus, subject: str, ids: Sequence[str]) -> None:
    for each in ids:
        await bus.publisher.publish(subject, FORGED, {"Nats-Msg-Id": each})


async def stored(bus: JetStreamBus) -> list[bytes]:
    return [each.data for each in await messages(bus.link.client, PIPE, SUBJECT)]


async def test_the_next_hop_is_stored_whatever_was_stored_under_the_ids_that_it_could_have(tmp_path: Path) -> None:
    async with one_delivery(tmp_path, IDS) as (bus, delivery):
        await store_first(bus, SUBJECT, guesses(delivery.id))
        await settle(STAGE, Script(), delivery, bus)
        *forged, own = await stored(bus)
        assert set(forged) == {FORGED}
        assert decode(own, Withheld).rid == "r1"


async def test_the_attempt_would_succeed_where_ids_are_names(tmp_path: Path) -> None:
    async with one_delivery(tmp_path, NAMES) as (bus, delivery):
        await store_first(bus, SUBJECT, guesses(delivery.id))
        await settle(STAGE, Script(), delivery, bus)
        assert set(await stored(bus)) == {FORGED}


async def test_a_stage_that_died_before_its_acknowledgement_makes_the_same_ids_again(tmp_path: Path) -> None:
    async with one_delivery(tmp_path, IDS) as (bus, delivery):
        for _ in range(2):
            await settle(STAGE, Script(), delivery, bus)
        assert len(await stored(bus)) == 1


async def test_a_site_cannot_keep_the_escalation_of_another_one_out_of_the_hub(tmp_path: Path) -> None:
    """The hub has the escalations of all sites in one stream, and drops an id that is there."""
    ids = {name: MessageIds(name.encode() * 8) for name in ("site1", "site2")}
    guessed = [f"kiosk.r1.drafter.{n}" for n in range(3)]
    async with linked(tmp_path) as fleet:
        for name, server in fleet.fleet.sites.items():
            async with JetStreamBus.open(server.nats, name, ids[name]) as bus:
                if name == "site1":
                    forged = [*guessed, *map(ids["site1"].of, guessed)]
                    for number, each in enumerate(forged):
                        subject = f"escalations.site1.kiosk.x{number}"
                        await bus.publisher.publish(subject, FORGED, {"Nats-Msg-Id": each})
                    await arrived(fleet.hub, ESCALATIONS, len(forged))
                else:
                    await bus.publish(escalated("Q?", site="site2"), id=guessed[0], headers={})
        await arrived(fleet.hub, ESCALATIONS, len(forged) + 1)
        [own] = await messages(fleet.hub, ESCALATIONS, "escalations.site2.>")
        assert decode(own.data, Escalated).site == "site2"
