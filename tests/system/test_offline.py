"""A site whose hub is gone, by a link that swallows everything or by a power cut, and what happens when it is back."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.dead_letters import list_dead_letters
from tidegate.brokers.jetstream.declare import declare_fleet
from tidegate.brokers.jetstream.history import history
from tidegate.brokers.servers.fleet import Fleet as Servers
from tidegate.brokers.servers.fleet import open_fleet
from tidegate.brokers.topology.streams import UP_CONSUMER
from tidegate.schemas import Asked, Published, Where
from tidegate.schemas.pack import LabelledQuestion
from tidegate.schemas.subjects import ANSWERS, ESCALATIONS, HUB, PIPE, VERDICTS
from tidegate.services.evaluation.client import ask_over_nats
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.fleet.roles import roles_of
from tidegate.services.fleet.supervisor import Supervisor
from tidegate.services.packs.correctness import judge
from tidegate.services.packs.load import load_pack
from tidegate.services.pipeline import WORKERS
from tidegate.services.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system]

BUDGET_MS = 1500
SLACK_MS = 500
"""What a busy machine may add between the site and the client."""
BACK_WITHIN_S = 20.0
SAMPLE = 16


class Reply(NamedTuple):
    published: Published
    e2e_ms: float
    correct: bool


class Site:
    """One site and its hub, without the guard that starts a dead server again: the test is the one who does."""

    def __init__(self, servers: Servers, supervisor: Supervisor, bus: JetStreamBus) -> None:
        self.servers = servers
        self.bus = bus
        self.hub_worker = supervisor.children[f"{HUB}/all"]
        self.rids: list[str] = []

    async def ask(self, question: LabelledQuestion, budget_ms: int = BUDGET_MS) -> Reply:
        asked = Asked(tenant="kiosk", text=question.text, rid=uuid.uuid4().hex, budget_ms=budget_ms)
        started = time.perf_counter()
        reply = await ask_over_nats(asked, self.bus, as_json=False)
        e2e_ms = (time.perf_counter() - started) * 1000
        assert isinstance(reply, Published), (question.text, reply)
        self.rids.append(asked.rid)
        cited = [citation.document_id for citation in reply.citations]
        return Reply(reply, e2e_ms, judge(question, reply.outcome, reply.text, cited))

    def signal_hub(self, number: signal.Signals) -> None:
        """Signal the hub's server and its worker, by the ids of the processes that this test started."""
        for pid in (self.servers.hub.pid, self.hub_worker.pid):
            assert pid
            os.kill(pid, number)

    async def stored(self, rid: str) -> Counter[str]:
        """How many facts of the request lie in each stream, and under each word of PIPE."""
        facts = await history(self.bus.link.client, rid, "kiosk", "site1")
        return Counter(fact.subject.split(".")[2] if fact.stream == PIPE else fact.stream for fact in facts)


@asynccontextmanager
async def unguarded(settings: Settings) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        servers = await stack.enter_async_context(open_fleet(Path(settings.state_dir), ["site1"], roles_of))
        await declare_fleet(servers, tuple(WORKERS.values()))
        url = servers.sites["site1"].url
        children = plan_programs(settings, {HUB: servers.hub.url, "site1": url}, per_stage=False)
        supervisor = await stack.enter_async_context(Supervisor(children, grace_s=5.0))
        bus = await stack.enter_async_context(JetStreamBus.open(servers.sites["site1"].nats, "site1"))
        yield Site(servers, supervisor, bus)


async def answered(site: Site, questions: Sequence[LabelledQuestion], route: Where) -> dict[str, Reply]:
    """The replies, by the questions' text, that are answers and were made there."""
    replies = {question.text: await site.ask(question) for question in questions}
    return {
        text: reply
        for text, reply in replies.items()
        if reply.published.outcome == "answered" and reply.published.receipt.route == route
    }


async def check_the_edge(site: Site, questions: Sequence[LabelledQuestion], before: dict[str, Reply]) -> None:
    """The edge's answers are the same, word by word, and about as fast."""
    now = await answered(site, [question for question in questions if question.text in before], "edge")
    assert {text: reply.published.text for text, reply in now.items()} == {
        text: reply.published.text for text, reply in before.items()
    }
    assert sum(reply.correct for reply in now.values()) == sum(reply.correct for reply in before.values())
    usual_ms, now_ms = (statistics.median(reply.e2e_ms for reply in each.values()) for each in (before, now))
    print(f"at the edge: {usual_ms:.0f} ms with the hub, {now_ms:.0f} ms without")
    assert now_ms < 3 * usual_ms + SLACK_MS


async def check_the_hubs(site: Site, questions: Sequence[LabelledQuestion]) -> None:
    """What only the hub knows is abstained from in time, whether or not the site has noticed yet."""
    for question in questions:
        reply = await site.ask(question)
        print(f"hub's: {reply.published.reason} after {reply.e2e_ms:.0f} ms of {BUDGET_MS}")
        assert reply.published.outcome == "abstained"
        assert reply.published.reason in {"cloud_unreachable", "abstained"}
        assert reply.published.receipt.route == "edge"
        assert reply.e2e_ms <= BUDGET_MS + SLACK_MS


async def check_it_is_back(site: Site, questions: Sequence[LabelledQuestion]) -> None:
    started = time.monotonic()
    while (await site.ask(questions[0])).published.receipt.route != "cloud":
        assert time.monotonic() - started < BACK_WITHIN_S, "the hub is back, and is not asked"
        await asyncio.sleep(0.1)
    print(f"the hub answers again {time.monotonic() - started:.1f} s after it is back")
    for question in questions:
        reply = await site.ask(question, budget_ms=8000)
        assert (reply.published.outcome, reply.published.receipt.route) == ("answered", "cloud"), question.text


async def check_late_verdicts(site: Site, rids: Sequence[str]) -> None:
    """The durable lane brings the verdict after the abstention; it is judged like any other, and changes nothing."""
    late = [rid for rid in rids if (await site.stored(rid))[ESCALATIONS]]
    assert late, "nothing was on its way to the hub when it went"
    give_up = time.monotonic() + BACK_WITHIN_S
    while not all([has_late_verdict(await site.stored(rid)) for rid in late]):
        assert time.monotonic() < give_up, f"an escalation was lost: {[await site.stored(rid) for rid in late]}"
        await asyncio.sleep(0.1)
    while await site.bus.pending(WORKERS["publisher"]):
        assert time.monotonic() < give_up, "the late verdict is still in the publisher's hands"
        await asyncio.sleep(0.1)


def has_late_verdict(stored: Counter[str]) -> bool:
    """By the stream, or where the server lost it there, by the comparison of streams."""
    return bool((stored[VERDICTS] or stored["verified"]) and stored["approved"])


async def acknowledge_what_waits(site: Site) -> None:
    """Make the site's server take everything that waits for the hub for stored there, as a lost race does."""
    client = site.bus.link.client
    last = (await api.call(client, f"STREAM.INFO.{ESCALATIONS}"))["state"]["last_seq"]
    await api.rewind(client, ESCALATIONS, UP_CONSUMER, last + 1)


async def test_a_site_without_its_hub_answers_what_it_can_and_nothing_is_lost(settings: Settings) -> None:
    pack = load_pack(Path(settings.pack_dir))
    ours = [question for question in pack.questions if question.kind == "answerable"][:SAMPLE]
    hubs = [question for question in pack.questions if question.kind == "hub"]
    async with unguarded(settings) as site:
        await check_it_is_back(site, hubs[:1])
        before = await answered(site, ours, "edge")
        assert sum(reply.correct for reply in before.values()) >= SAMPLE / 2
        of_the_hub = await answered(site, hubs, "cloud")
        hubs = [question for question in hubs if question.text in of_the_hub]
        for outage in ("swallowed", "killed", "killed, and what waited acknowledged"):
            print(outage)
            began = len(site.rids)
            if outage == "swallowed":
                site.signal_hub(signal.SIGSTOP)
            else:
                site.servers.hub.kill()
            await check_the_hubs(site, hubs[:1])
            await check_the_edge(site, ours, before)
            await check_the_hubs(site, hubs[1:3])
            without = site.rids[began:]
            if outage.endswith("acknowledged"):
                await acknowledge_what_waits(site)
            if outage == "swallowed":
                site.signal_hub(signal.SIGCONT)
            else:
                await site.servers.hub.start()
            await check_it_is_back(site, hubs[3:5])
            await check_late_verdicts(site, without)
        assert await list_dead_letters(site.bus.link.client) == []
        assert [(await site.stored(rid))[ANSWERS] for rid in site.rids] == [1] * len(site.rids)
