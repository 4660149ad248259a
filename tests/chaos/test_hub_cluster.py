"""A hub of three servers, one of which is killed under load: nothing is lost, and it goes on within seconds."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtests.hub_workers import escalation
from tests.support.hub_cluster import SITE, HubCluster, hub_cluster
from tests.support.nats_fleet import until
from tests.support.working_hub import working_hub
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.process.background import running
from tidegate.schemas import Escalated, UnreadableError, Verified, decode, encode
from tidegate.schemas.subjects import CLAIMS, ESCALATIONS, HUB, VERDICTS, verdicts_of
from tidegate.schemas.verification_subjects import fast_lane
from tidegate.services.settings import Settings
from tidegate.services.uplink.stream_check import open_stream_guard

pytestmark = [pytest.mark.anyio, pytest.mark.system]

ESCALATED = 240
EVERY_S = 0.04
KILL_AFTER = 60
WAIT_S = 60.0
PAUSE_S = 5.0
"""The longest that no question may be answered: the fast lane needs no leader of a stream."""
ELECTION_S = 15.0
"""The longest that no verdict may be stored at the site. nats-server elects a leader after 4 to 9 s of silence: no
setting changes that, and each stream on the way has one."""


class Answers:
    """What has been answered at the site, by which lane, and when."""

    def __init__(self, site: JetStreamBus, round_: str) -> None:
        self._site = site
        self._rids = [f"{round_}-{number}" for number in range(ESCALATED)]
        self.stored_s: dict[str, float] = {}
        self.asked_s: dict[str, float] = {}

    async def ask(self, number: int) -> None:
        """Escalate once, by both lanes, as a site does."""
        rid = self._rids[number]
        escalated = escalation(rid, "What does it cost?")
        await asyncio.gather(self._site.publish(escalated, id=rid, headers={}), self._ask_at_once(escalated))

    async def _ask_at_once(self, escalated: Escalated) -> None:
        async with asyncio.timeout(WAIT_S):
            while escalated.rid not in self.asked_s:
                try:
                    data = await self._site.request(fast_lane(SITE, escalated.tenant), encode(escalated), timeout_s=1.0)
                    decode(data, Verified)
                    self.asked_s[escalated.rid] = time.monotonic()
                except (UnreachableError, UnreadableError):
                    await asyncio.sleep(0.1)

    async def watch(self) -> None:
        """Look for the verdicts of the stream."""
        while True:
            for rid in [each for each in self._rids if each not in self.stored_s]:
                if await self._site.last(VERDICTS, verdicts_of(SITE, f"kiosk.{rid}")) is not None:
                    self.stored_s[rid] = time.monotonic()
            await asyncio.sleep(0.05)

    async def are_all_stored(self) -> bool:
        return len(self.stored_s) == ESCALATED


def longest_pause_s(*lanes: dict[str, float]) -> float:
    """The longest time in which no lane brought anything that the other had not brought before."""
    firsts = sorted(min(lane[rid] for lane in lanes) for rid in lanes[0])
    return max(later - earlier for earlier, later in itertools.pairwise(firsts))


async def escalate_and_kill(cluster: HubCluster, answers: Answers, victim: str) -> None:
    async with asyncio.TaskGroup() as asking:
        for number in range(ESCALATED):
            if number == KILL_AFTER:
                cluster.servers[victim].kill()
            asking.create_task(answers.ask(number))
            await asyncio.sleep(EVERY_S)


async def test_a_hub_goes_on_with_two_of_three_servers_and_loses_nothing(tmp_path: Path) -> None:
    async with (
        hub_cluster(tmp_path) as cluster,
        JetStreamBus.open(cluster.hub_login, HUB) as hub,
        JetStreamBus.open(cluster.site.nats, SITE) as site,
    ):
        for stream in (ESCALATIONS, VERDICTS, CLAIMS):
            assert await cluster.replicas_of(stream) == 3
        async with without_a_leader(), working_hub(hub), open_stream_guard(Settings(site=SITE), site):
            for stream in (CLAIMS, ESCALATIONS):  # the worst for the fast lane, and for the durable one
                await while_its_leader_is_killed(cluster, site, stream)


async def while_its_leader_is_killed(cluster: HubCluster, site: JetStreamBus, stream: str) -> None:
    victim, answers = await cluster.leader_of(stream), Answers(site, stream)
    async with running(answers.watch()):
        await escalate_and_kill(cluster, answers, victim)
        await until(answers.are_all_stored)
    by_either, by_stream = longest_pause_s(answers.asked_s, answers.stored_s), longest_pause_s(answers.stored_s)
    print(f"{stream}: killed {victim}; no answer for {by_either:.2f} s, none stored for {by_stream:.2f} s")
    assert by_either <= PAUSE_S
    assert by_stream <= ELECTION_S
    assert await cluster.leader_of(stream) != victim
    await cluster.servers[victim].start(30.0)

    async def is_whole() -> bool:
        return [await cluster.replicas_of(each) for each in (ESCALATIONS, VERDICTS, CLAIMS)] == [3, 3, 3]

    await until(is_whole)


@asynccontextmanager
async def without_a_leader() -> AsyncIterator[None]:
    """While a stream has no leader the hub cannot say what it holds: that is reported, and nothing else is."""
    loop, reported = asyncio.get_running_loop(), list[dict[str, Any]]()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    try:
        yield
    finally:
        loop.set_exception_handler(before)
    assert all(isinstance(each.get("exception"), UnreachableError) for each in reported), reported
