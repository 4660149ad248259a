"""Attacks on a domain's NATS server by whoever has no credential, or the credential of another role: all refused."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import nats.errors
import pytest
from nats.aio.client import Client

from tests.support.intruders import intruder
from tests.support.message_samples import SAMPLES
from tests.support.nats_fleet import Linked, arrived, count, linked, nats_of, until
from tidegate.brokers.jetstream.api import read_fills
from tidegate.brokers.jetstream.bus import JetStreamBus, may_answer_at
from tidegate.brokers.memory.consumer import matches
from tidegate.brokers.servers.credentials import load_credential, own_inbox
from tidegate.brokers.servers.permissions import UserRole
from tidegate.brokers.settings import NatsSettings
from tidegate.brokers.worker import settle
from tidegate.schemas import Message, Withheld, encode
from tidegate.schemas.hub_subjects import claimant
from tidegate.schemas.subjects import ANSWERS, ASKS, DEAD, ESCALATIONS, HUB, PIPE, inbox_of, ping
from tidegate.schemas.verification_subjects import fast_lane, verification_session
from tidegate.services.fleet.archiving import AnswerArchiver
from tidegate.services.fleet.roles import ALL, roles_of
from tidegate.services.pipeline import SITE_WORKERS, WORKERS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

FACTS = {
    "asked": "asks.kiosk.r1",
    **{
        fact: f"pipe.kiosk.{fact}.r1"
        for fact in ("screened", "routed", "retrieved", "drafted", "verified", "approved", "withheld", "replied")
    },
    "escalated": "escalations.site1.kiosk.r1",
    "published": "answers.kiosk.r1",
}
MAKERS = {"gateway": {"asked"}, "router": {"routed", "verified"}, "auditor": set(), "sync": set(), "audit": set()}
"""Who makes which facts beside the table of the pipeline: the router stores again what the link lost."""
MAKES = {stage.name: {kind.__name__.lower() for kind in stage.emits} for stage in SITE_WORKERS} | MAKERS
INBOXES = inbox_of("site1")
FORGED = next(sample for sample in SAMPLES if isinstance(sample, Withheld))
ROLES = [role for role in roles_of("site1") if role.name != ALL]


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Linked]:
    async with linked(tmp_path_factory.mktemp("fleet"), ["site1"]) as all_:
        yield all_


@pytest.mark.parametrize("domain", [HUB, "site1"])
@pytest.mark.parametrize("shows", ["nothing", "an nkey of its own", "the nkey of another domain", "a leaf's nkey"])
async def test_nobody_comes_in_without_a_credential_of_this_domain(
    fleet: Linked, tmp_path: Path, domain: str, shows: str
) -> None:
    other = "site1" if domain == HUB else HUB
    seeds = {
        "nothing": "",
        "an nkey of its own": str(load_credential(tmp_path / "mine.nk").seed_file),
        "the nkey of another domain": nats_of(fleet.fleet, other, "operator").nkey_seed_file,
        "a leaf's nkey": str(fleet.fleet.leaf_credential("site2" if domain == HUB else "site1").seed_file),
    }
    login = NatsSettings(url=nats_of(fleet.fleet, domain, "operator").url, nkey_seed_file=seeds[shows])
    turned_away = r"(?i)authorization violation|authentication|nats: no servers|closed the connection"
    with pytest.raises(nats.errors.Error, match=turned_away):
        async with intruder(login, inbox_of(domain)):
            pass


def may_store(role: UserRole, subject: str) -> bool:
    return any(matches(pattern, subject) for pattern in role.publish)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_may_store_exactly_the_facts_that_it_makes(role: UserRole) -> None:
    assert {fact for fact, subject in FACTS.items() if may_store(role, subject)} == MAKES[role.name]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
async def test_what_a_role_does_not_make_is_refused_by_the_server(fleet: Linked, role: UserRole) -> None:
    site = fleet.sites["site1"]
    before = [await count(site, stream) for stream in (ASKS, PIPE, ESCALATIONS, ANSWERS)]
    forged = [subject for fact, subject in FACTS.items() if fact not in MAKES[role.name]]
    async with intruder(nats_of(fleet.fleet, "site1", role.name), INBOXES) as attacker:
        assert await attacker.not_refused(*forged) == []
    assert [await count(site, stream) for stream in (ASKS, PIPE, ESCALATIONS, ANSWERS)] == before


DESTRUCTION = [
    *(f"$JS.API.STREAM.{verb}.{stream}" for stream in (ASKS, PIPE, ANSWERS) for verb in ("PURGE", "DELETE", "UPDATE")),
    "$JS.API.STREAM.CREATE.COPY",
    "$JS.API.CONSUMER.CREATE.ANSWERS.mine",
    "$JS.API.CONSUMER.DELETE.PIPE.policy",
    "$JS.API.CONSUMER.RESET.PIPE.policy",
    "$JS.API.ACCOUNT.PURGE.TIDEGATE",
]


@pytest.mark.parametrize("role", roles_of("site1"), ids=lambda role: role.name)
async def test_no_role_but_the_operator_purges_deletes_or_changes_what_is_stored(fleet: Linked, role: UserRole) -> None:
    async with intruder(nats_of(fleet.fleet, "site1", role.name), INBOXES) as attacker:
        assert await attacker.not_refused(*DESTRUCTION) == []


NEEDS = [
    ("site1", "drafter", "$JS.API.DIRECT.GET.PIPE.pipe.kiosk.retrieved.r1"),
    ("site1", "drafter", verification_session("site1", "kiosk")),
    ("site1", "drafter", verification_session("site1", "kiosk", "w1")),
    ("site1", "policy", "$JS.API.DIRECT.GET.PIPE.pipe.kiosk.retrieved.r1"),
    ("site1", "policy", "$JS.API.DIRECT.GET.ESCALATIONS.escalations.site1.kiosk.r1"),
    ("site1", "gateway", "$JS.API.DIRECT.GET.ASKS"),
    ("site1", "gateway", "$JS.API.STREAM.LIST"),
    (HUB, "cloud-verifier", "$JS.API.STREAM.LIST"),
    ("site1", "sync", "$JS.API.STREAM.MSG.DELETE.ANSWERS"),
    ("site1", "sync", "$JS.API.DIRECT.GET.ANSWERS"),
    ("site1", "sync", "$JS.API.STREAM.INFO.ANSWERS"),
    ("site1", "fast-lane", fast_lane("site1", "kiosk")),
    (HUB, "cloud-verifier", "$JS.API.STREAM.MSG.DELETE.ESCALATIONS"),
    (HUB, "cloud-verifier", "dead.cloud-verifier.r1"),
    (HUB, "cloud-verifier", "claims.site1.kiosk.r1.0af7"),
    (HUB, "cloud-verifier", "$JS.API.DIRECT.GET.CLAIMS"),
    (HUB, "cloud-verifier", "$JS.API.STREAM.CREATE.CLAIMS"),
    (HUB, "cloud-verifier", claimant("w1")),
]


@pytest.mark.parametrize(("domain", "role", "subject"), NEEDS, ids=str)
async def test_a_role_may_ask_for_what_its_worker_asks_for(fleet: Linked, domain: str, role: str, subject: str) -> None:
    async with intruder(nats_of(fleet.fleet, domain, role), inbox_of(domain)) as worker:
        await worker.client.publish(subject, b"{}")
        await worker.client.publish("nobody.may", b"")  # refused, so that a refusal of the other has come before it
        [refused] = await worker.refusals(1)
        assert "nobody.may" in refused


async def test_the_sync_worker_may_archive_answers_and_those_who_look_may_see_how_full_streams_are(
    fleet: Linked, tmp_path: Path
) -> None:
    before = await count(fleet.sites["site1"], ANSWERS)
    await fleet.sites["site1"].jetstream().publish("answers.kiosk.old", b"an answer")
    async with JetStreamBus.open(nats_of(fleet.fleet, "site1", "sync"), "site1") as bus:
        in_a_month_s = time.time() + 31 * 86_400
        archiver = AnswerArchiver(Settings(state_dir=str(tmp_path)), bus, lambda: in_a_month_s)
        assert await archiver.work() == before + 1
    assert await count(fleet.sites["site1"], ANSWERS) == 0
    for domain, role in (("site1", "gateway"), (HUB, "cloud-verifier")):
        async with JetStreamBus.open(nats_of(fleet.fleet, domain, role), domain) as bus:
            assert ESCALATIONS in {each.stream for each in await read_fills(bus.link.client)}


async def test_an_auditor_reads_answers_and_hears_and_says_nothing_else(fleet: Linked) -> None:
    await fleet.sites["site1"].jetstream().publish("answers.kiosk.seen", b"an answer")
    async with intruder(nats_of(fleet.fleet, "site1", "auditor"), INBOXES) as auditor:
        read = await auditor.client.request("$JS.API.DIRECT.GET.ANSWERS.answers.kiosk.seen", timeout=5.0)
        assert read.data == b"an answer"
        for subject in ("pipe.>", "live.answers.>", "asks.>", "ask", ">"):
            await auditor.client.subscribe(subject)
        await auditor.client.publish("$JS.API.DIRECT.GET.PIPE", b"{}")
        assert len(await auditor.refusals(6)) == 6


async def test_nobody_listens_to_the_inbox_of_another(fleet: Linked) -> None:
    gateway = own_inbox(inbox_of("site1"), nats_of(fleet.fleet, "site1", "gateway").nkey_seed_file)
    async with intruder(nats_of(fleet.fleet, "site1", "policy"), INBOXES) as attacker:
        for subject in (f"{gateway}.>", f"{inbox_of('site1')}.>", "_INBOX.>"):
            await attacker.client.subscribe(subject)
        assert len(await attacker.refusals(3)) == 3


async def test_a_fact_that_the_server_was_made_to_copy_is_buried_and_not_believed(fleet: Linked) -> None:
    """A worker stores what it may, and asks for it with the subject of another's fact as its reply subject."""
    site, stage = fleet.sites["site1"], WORKERS["publisher"]
    before = await count(site, PIPE)
    async with intruder(nats_of(fleet.fleet, "site1", "fast-lane"), INBOXES) as attacker:
        await attacker.client.publish("pipe.kiosk.verified.forged", encode(FORGED))
        await arrived(site, PIPE, before + 1)
        last = {"last_by_subj": "pipe.kiosk.verified.forged"}
        await attacker.client.publish(
            "$JS.API.DIRECT.GET.PIPE", json.dumps(last).encode(), reply="pipe.kiosk.withheld.forged"
        )
        await arrived(site, PIPE, before + 2)
    believed: list[Message] = []

    async def publish(message: Message) -> list[Message]:
        believed.append(message)
        return []

    login = nats_of(fleet.fleet, "site1", "publisher")
    async with JetStreamBus.open(login, "site1") as bus, bus.subscribe(stage) as inbox:
        delivery = await inbox.next(wait_s=5.0)
        assert delivery is not None
        assert delivery.subject == "pipe.kiosk.withheld.forged"
        await settle(stage, publish, delivery, bus)
    assert believed == []
    dead = await site.jetstream().get_last_msg(DEAD, "dead.publisher.forged")
    assert "a copy of a stored message" in (dead.headers or {})["Dead-Reason"]


@pytest.mark.parametrize(
    ("subject", "reply", "is_sent"),
    [
        ("cloud.site1.ping", "_INBOX_site1.UA.x", True),
        ("cloud.site1.ping", "_INBOX_hub.UA.x", True),
        ("cloud.site1.ping", "_INBOX_site2.UA.x", False),
        ("cloud.site1.ping", "_INBOX_site11.UA.x", False),
        ("cloud.site1.lease", "_INBOX_site1", False),
        ("cloud.site1.lease", "_INBOX.x", False),
        ("cloud.site1.session.any", "verdicts.site1.kiosk.r1", False),
        ("cloud.site1.verify", "$JS.API.STREAM.PURGE.VERDICTS", False),
        ("ask.kiosk.0123456789ab", "_R_.x.y", True),
    ],
)
def test_a_site_is_answered_at_its_own_inboxes(subject: str, reply: str, is_sent: bool) -> None:
    assert may_answer_at(subject, reply, HUB) is is_sent


async def test_a_site_has_nothing_of_the_hub_s_sent_to_another_site(tmp_path: Path) -> None:
    async with linked(tmp_path) as all_, JetStreamBus.open(nats_of(all_.fleet, HUB, "cloud-verifier"), HUB) as hub:
        asked: asyncio.Queue[bytes] = asyncio.Queue()

        async def answer(_: str, data: bytes) -> bytes:
            asked.put_nowait(data)
            return data

        await hub.respond_by_subject(ping("*"), answer)
        attacker, victim = all_.sites["site1"], all_.sites["site2"]
        heard = await victim.subscribe(victim.new_inbox())
        await victim.flush()
        await until(lambda: answers(attacker, "site1"))
        await until(lambda: answers(victim, "site2"))
        while not asked.empty():
            asked.get_nowait()
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: reported.append(str(fault["exception"])))
        await attacker.publish(ping("site1"), b"forged", reply=heard.subject)
        assert await asyncio.wait_for(asked.get(), 5.0) == b"forged"
        with pytest.raises(nats.errors.TimeoutError):
            await heard.next_msg(timeout=0.5)
        assert await answers(victim, "site2")
    asyncio.get_running_loop().set_exception_handler(None)
    assert reported == [f"cloud.site1.ping is not answered at {heard.subject}: another site's, or no inbox"]


async def answers(client: Client, site: str) -> bool:
    try:
        return (await client.request(ping(site), b"?", timeout=0.5)).data == b"?"
    except nats.errors.Error:
        return False
