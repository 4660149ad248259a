"""What a site is granted may change while it runs: nothing is lost or doubled, and nothing kept that is not granted."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.support.nats_fleet import STAGES, Linked, arrived, linked
from tidegate.brokers.jetstream.declare import plan_hub
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.jetstream.regrant import purge_ungranted, regrant
from tidegate.brokers.topology.downlink import Downlink, is_granted
from tidegate.brokers.topology.plan import FilterChange, filter_changes

pytestmark = pytest.mark.anyio

SEED = 310


def granted(*collections: str) -> Downlink:
    return Downlink(tenants=("kiosk",), collections=tuple(("kiosk", collection) for collection in collections))


async def store(nc: Client, *subjects: str) -> None:
    for subject in subjects:
        await nc.jetstream().publish(subject, bytes(400))


async def at_site(all_: Linked, stream: str = "CORPUS") -> list[tuple[int, str]]:
    return [(stored.sequence, stored.subject) for stored in await messages(all_.sites["site1"], stream, ">")]


async def at_hub(all_: Linked, downlink: Downlink, stream: str = "CORPUS") -> list[tuple[int, str]]:
    """What the site is to have."""
    stored = [(each.sequence, each.subject) for each in await messages(all_.hub, stream, ">")]
    return [each for each in stored if is_granted(each[1], downlink.filters(stream))]


async def test_a_change_of_filters_is_planned_as_data(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"], {"site1": granted("faq", "old")}) as all_:
        todo = await plan_hub(all_.hub, ["site1"], STAGES, {"site1": granted("faq", "rates")})
        assert FilterChange("CORPUS", ("corpus.kiosk.rates.>",), ("corpus.kiosk.old.>",)) in filter_changes(
            todo, "to-site1"
        )
        assert filter_changes(todo, "to-site2") == ()


async def test_what_is_granted_later_comes_whole_and_in_order_and_what_is_taken_away_goes(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"], {"site1": granted("faq")}) as all_:
        for number in range(5):
            await store(all_.hub, f"corpus.kiosk.faq.d{number}", f"corpus.kiosk.rates.d{number}")
            await store(all_.hub, f"$O.index.C.kiosk.rates.s{number}.u1")
        await arrived(all_.sites["site1"], "CORPUS", 5)
        for downlink in (granted("faq", "rates"), granted("rates"), Downlink(), granted("rates", "faq")):
            await regrant(all_.hub, all_.sites["site1"], "site1", STAGES, downlink)
            for stream in ("CORPUS", "OBJ_index"):
                expected = await at_hub(all_, downlink, stream)
                await arrived(all_.sites["site1"], stream, len(expected))
                assert await at_site(all_, stream) == expected


async def test_a_grant_in_the_middle_of_what_is_published_loses_and_doubles_nothing(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    random_ = random.Random(SEED)
    subjects = [f"corpus.kiosk.{random_.choice(('faq', 'rates', 'new'))}.d{number}" for number in range(200)]
    async with linked(tmp_path, ["site1"], {"site1": granted("faq")}) as all_:
        await store(all_.hub, *subjects[:30])
        publishing = asyncio.create_task(store(all_.hub, *subjects[30:]))
        for downlink in (granted("faq", "rates"), granted("faq", "rates", "new")):
            await regrant(all_.hub, all_.sites["site1"], "site1", STAGES, downlink)
        await publishing
        await arrived(all_.sites["site1"], "CORPUS", len(subjects))
        assert [subject for _, subject in await at_site(all_)] == subjects


async def test_only_what_is_not_granted_is_purged(tmp_path: Path) -> None:
    async with linked(tmp_path, [], {}) as all_:
        await store(all_.hub, "corpus.kiosk.faq.d1", "corpus.kiosk.faqs.d1", "corpus.kiosk.rates.d1")
        assert await purge_ungranted(all_.hub, "CORPUS", granted("faq")) == 2
        assert [stored.subject for stored in await messages(all_.hub, "CORPUS", ">")] == ["corpus.kiosk.faq.d1"]
