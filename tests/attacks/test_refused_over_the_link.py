"""Over a real link: what a site may not send up is nowhere at the hub, and its site hears so and is not asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.hub_intakes import NOWHERE
from tests.support.intake_attacks import GOOD
from tests.support.nats_fleet import Linked, arrived, linked, until
from tests.support.taking_hub import serve_lanes
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.message_ids import MessageIds
from tidegate.brokers.worker import run
from tidegate.schemas import Escalated, Verified, decode, replace
from tidegate.schemas.subjects import DEAD, ESCALATIONS, HUB, VERDICTS
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.pipeline import WORKERS
from tidegate.services.uplink.stream_check import StreamGuard

pytestmark = pytest.mark.anyio
STAGE = WORKERS["cloud-verifier"]
ADDRESS = "ada.lovelace@example.org"
LEAKING = replace(GOOD, rid="leak", question=replace(GOOD.question, text=f"Write to {ADDRESS}."))


@asynccontextmanager
async def working_hub(fleet: Linked, calls: list[Escalated]) -> AsyncIterator[JetStreamBus]:
    """The hub's worker, and a bus of the site."""
    stop = asyncio.Event()
    urls = fleet.fleet.hub.nats, fleet.fleet.sites["site1"].nats
    async with (
        JetStreamBus.open(urls[0], HUB, MessageIds(b"h" * 32)) as hub,
        JetStreamBus.open(urls[1], "site1", MessageIds(b"s" * 32)) as site,
    ):
        handler = await serve_lanes(hub, NOWHERE, calls, RefusalCounts())
        working = asyncio.create_task(run(STAGE, handler, hub, stop))
        try:
            yield site
        finally:
            stop.set()
            await working


async def test_a_violation_ends_at_its_site_and_is_not_restored_by_the_comparison_of_streams(tmp_path: Path) -> None:
    calls: list[Escalated] = []
    async with linked(tmp_path, ["site1"]) as fleet, working_hub(fleet, calls) as site:
        await site.publish(LEAKING, id="r.leak", headers={})
        await site.publish(replace(GOOD, site="site1"), id="r.good", headers={})
        await site.publish(replace(GOOD, site="site2", rid="lie"), id="r.lie", headers={})
        await arrived(fleet.sites["site1"], VERDICTS, 3)
        found = [decode(stored.data, Verified) for stored in await messages(fleet.sites["site1"], VERDICTS, ">")]
        assert {(each.site, each.rid, each.refusal) for each in found} == {
            ("site1", "leak", "personal_data"),
            ("site1", "r1", ""),
            ("site1", "lie", "wrong_site"),
        }
        guard = StreamGuard(site, "site1")

        async def compared() -> bool:
            while await guard.check():
                pass
            return guard._escalations_to == 3

        await until(compared)
        assert [stored.subject for stored in await messages(fleet.hub, ESCALATIONS, ">")] == [
            "escalations.site1.kiosk.r1"
        ]
        assert len(await messages(fleet.hub, DEAD, ">")) == 2
        assert len(await messages(fleet.hub, VERDICTS, ">")) == 3, "no verdict is given twice"
        assert [fact.rid for fact in calls] == ["r1"]
    kept = [path for path in (tmp_path / HUB).rglob("*") if path.is_file() and ADDRESS.encode() in path.read_bytes()]
    assert kept == []
