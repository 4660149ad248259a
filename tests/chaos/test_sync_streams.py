"""The streams of sync under a seeded driver that kills either end and stores things twice: nothing lost, all in order.

What nats-server has acknowledged and lost (decision 0025) is found and stored again first. The seed is printed;
CHAOS_SEED replays it, CHAOS_ROUNDS makes it longer.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import acknowledged, arrived, client_of, count, linked, send_lost
from tidegate.brokers.jetstream.granting import delete_mirror, make_mirror, rewind_carrier
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import RetentionSettings
from tidegate.brokers.topology.downlink import Downlink
from tidegate.brokers.topology.streams import UP_CONSUMER

pytestmark = pytest.mark.anyio

ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "12"))
GRANTED = Downlink(tenants=("kiosk",), collections=(("kiosk", "faq"),))


class Published:
    """What was stored under one prefix, by one server, and is to be at the other end once and in this order."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.subjects: list[str] = []

    async def store(self, server: Server, new: int, again: int) -> None:
        """Store `new` more, behind the last `again` ones a second time."""
        repeated = self.subjects[len(self.subjects) - min(again, len(self.subjects)) :]
        added = [f"{self.prefix}.d{number}" for number in range(len(self.subjects), len(self.subjects) + new)]
        async with client_of(server) as nc:
            for subject in (*repeated, *added):
                await nc.jetstream().publish(subject, bytes(400), headers={"Nats-Msg-Id": subject})
        self.subjects += added


async def test_what_either_end_stores_is_at_the_other_once_and_in_order_whatever_is_killed(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", time.time_ns() % 1_000_000))
    print(f"CHAOS_SEED={seed}")
    random_ = random.Random(seed)
    down, up, elsewhere = (
        Published(prefix) for prefix in ("corpus.kiosk.faq", "edits.site1.kiosk.faq", "corpus.kiosk.rates")
    )
    async with linked(tmp_path, ["site1"], {"site1": GRANTED}) as all_:
        hub, site = all_.fleet.hub, all_.fleet.sites["site1"]
        for _ in range(ROUNDS):
            killed = random_.choice((hub, site, None))
            writing = [(down, hub), (up, site), (elsewhere, hub)]
            random_.shuffle(writing)
            if killed:
                killed.kill()
            for published, server in writing:
                if server is not killed:
                    await published.store(server, random_.randrange(1, 60), random_.randrange(20))
            if killed:
                await killed.start()
        async with client_of(hub) as at_hub, client_of(site) as at_site:
            await acknowledged(at_site, "EDITS", UP_CONSUMER, await last_of(at_site, "EDITS", "edits.>"))
            if lost := await send_lost(at_site, at_hub, "site1"):
                print(f"{lost} edits were acknowledged and lost (decision 0025)")
            edits = [stored.subject for stored in await messages(at_hub, "EDITS", ">")]
            assert (edits if not lost else sorted(edits)) == (up.subjects if not lost else sorted(up.subjects))
            await acknowledged(at_hub, "CORPUS", "to-site1", await last_of(at_hub, "CORPUS", "corpus.kiosk.faq.>"))
            if await count(at_site, "CORPUS") < len(down.subjects):
                print("deltas were acknowledged and lost (decision 0025)")
                await delete_mirror(at_site, "CORPUS")
                await rewind_carrier(at_hub, "site1", "CORPUS")
                await make_mirror(at_site, "site1", "CORPUS", RetentionSettings())
                await arrived(at_site, "CORPUS", len(down.subjects))
            assert [stored.subject for stored in await messages(at_site, "CORPUS", ">")] == down.subjects


async def last_of(nc: Client, stream: str, subject: str) -> int:
    """The sequence of the last message under a subject."""
    return (await messages(nc, stream, subject))[-1].sequence
