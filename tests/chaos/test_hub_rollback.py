"""A hub whose streams are restored from an older copy, while the stream is the only lane: verdicts go on arriving."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.hub_workers import SITE, TENANT, escalation
from tests.support.hub_rollback import keep_copy, roll_back
from tests.support.nats_fleet import until
from tests.support.working_hub import working_hub
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.schemas import Verified
from tidegate.schemas.subjects import ESCALATIONS, HUB, PIPE, VERDICTS, escalations_of, fact_subject, verdicts_of
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings
from tidegate.services.uplink.stream_check import open_stream_guard

pytestmark = [pytest.mark.anyio, pytest.mark.system]


async def escalate(site: JetStreamBus, round_: str, count: int) -> list[str]:
    """The ids of so many new escalations, by the stream alone, once the site has a verdict of each."""
    rids = [f"{round_}-{number}" for number in range(count)]
    for rid in rids:
        await site.publish(escalation(rid, "What does it cost?"), id=rid, headers={})

    async def are_answered() -> bool:
        return all([await has_verdict(site, rid) for rid in rids])

    await until(are_answered)
    return rids


async def has_verdict(site: JetStreamBus, rid: str) -> bool:
    """Whether the mirror has one, or the pipeline, where a verdict is stored that the mirror cannot take."""
    here = ((VERDICTS, verdicts_of(SITE, f"{TENANT}.{rid}")), (PIPE, fact_subject(Verified, TENANT, rid)))
    return any([await site.last(stream, subject) is not None for stream, subject in here])


async def test_verdicts_arrive_after_a_rollback_and_the_hub_has_again_what_it_lost(tmp_path: Path) -> None:
    async with open_fleet(tmp_path, [SITE]) as fleet:
        await declare_fleet(fleet, tuple(WORKERS.values()))
        async with (
            JetStreamBus.open(fleet.hub.nats, HUB) as hub,
            JetStreamBus.open(fleet.sites[SITE].nats, SITE) as site,
            working_hub(hub),
            open_stream_guard(Settings(site=SITE), site),
        ):
            await escalate(site, "before-the-copy", 5)
            await keep_copy(fleet)
            lost = await escalate(site, "after-it", 20)
            await roll_back(fleet)
            after = await escalate(site, "after-the-rollback", 5)  # fewer than the site is ahead of the hub by
            after += await escalate(site, "later", 30)

            async def has_all() -> bool:
                found = [await hub.last(ESCALATIONS, escalations_of(SITE, f"{TENANT}.{rid}")) for rid in lost + after]
                return None not in found

            await until(has_all)
