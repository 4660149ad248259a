"""Attacks on a site's NATS server by an application, which may ask and nothing else, with a real server in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import nats.errors
import pytest
from nats.aio.msg import Msg

from tests.support.gateway_site import NKEY, Site, asked, nats_site
from tests.support.intruders import Intruder, intruder
from tests.support.nats_fleet import Linked, count, linked, nats_of, until
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.applications import INBOX
from tidegate.brokers.servers.credentials import load_credential
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas import Asked, Published, Refused, decode, encode
from tidegate.schemas.access import Role
from tidegate.schemas.entries import entry
from tidegate.schemas.subjects import ANSWERS, ASK, ASKS, PIPE, RESUME, STREAM, inbox_of
from tidegate.schemas.verification_subjects import fast_lane
from tidegate.services.fleet.access import open_access_keys
from tidegate.services.fleet.nats_users import make_seed, take_up_applications
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
running = pytest.fixture(nats_site)
DAY_MS = 86_400_000


@dataclass
class Door:
    """A site's server, and a gateway that answers everything and keeps what it has heard."""

    fleet: Linked
    settings: Settings
    gateway: Intruder
    heard: list[Msg]

    def issue(self, tenant: str, name: str, **options: str) -> tuple[str, NatsSettings]:
        """A key that asks over NATS, known to the server: its id, and how it logs in."""
        file = Path(self.settings.state_dir) / f"{name}.nk"
        keys = open_access_keys(self.settings)
        key, _ = keys.issue(tenant, "app", DAY_MS, nkey=make_seed(file), **options)
        assert take_up_applications(self.settings) == ("site1",)
        return key.id, NatsSettings(url=self.fleet.fleet.sites["site1"].url, nkey_seed_file=str(file))

    async def counts(self) -> list[int]:
        """How much each stream holds that an attack would change."""
        return [await count(self.fleet.sites["site1"], stream) for stream in (ASKS, PIPE, ANSWERS)]


@pytest.fixture(scope="module")
async def door(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    state = tmp_path_factory.mktemp("fleet")
    async with (
        linked(state, ["site1"]) as fleet,
        intruder(nats_of(fleet.fleet, "site1", "gateway"), inbox_of("site1")) as gateway,
    ):
        heard: list[Msg] = []

        async def answer(msg: Msg) -> None:
            heard.append(msg)
            await msg.respond(b"an answer")

        for name in (ASK, STREAM, RESUME):
            await gateway.client.subscribe(entry(name), cb=answer)
        await gateway.client.flush()
        await fleet.sites["site1"].jetstream().publish("asks.kiosk.kept", b"kept")
        yield Door(fleet, Settings(state_dir=str(state), tenants=("kiosk", "bank")), gateway, heard)


async def test_a_key_asks_in_its_own_name_as_soon_as_it_is_issued_and_not_once_it_is_revoked(door: Door) -> None:
    key_id, login = door.issue("bank", "fresh")
    async with intruder(login, INBOX) as app:
        for name in (ASK, STREAM, RESUME):
            assert (await app.client.request(name, b"?", timeout=5.0)).data == b"an answer"
            assert door.heard[-1].subject == f"{name}.bank.{key_id}"
        open_access_keys(door.settings).revoke(key_id)
        take_up_applications(door.settings)

        async def is_cut() -> bool:
            return not app.client.is_connected

        await until(is_cut)
    with pytest.raises(nats.errors.Error):
        async with intruder(login, INBOX):
            pass


FORBIDDEN = [
    "asks.kiosk.r1",
    "pipe.kiosk.approved.r1",
    "answers.kiosk.r1",
    "tokens.kiosk.r1",
    "escalations.site1.kiosk.r1",
    "ask.bank.0123456789ab",
    "ask.kiosk.operator",
    "ask.kiosk",
    "$JS.API.INFO",
    "$JS.API.STREAM.PURGE.ASKS",
    "$JS.API.STREAM.DELETE.ASKS",
    "$JS.API.STREAM.MSG.GET.ANSWERS",
    "$JS.API.DIRECT.GET.ANSWERS.answers.bank.r1",
    "$JS.API.CONSUMER.CREATE.ANSWERS",
    "$SYS.REQ.SERVER.PING",
    "replica.write",
    fast_lane("site1", "kiosk"),
]


async def test_an_application_publishes_to_its_entries_alone(door: Door) -> None:
    _, login = door.issue("kiosk", "publishing")
    before = await door.counts()
    async with intruder(login, INBOX) as app:
        assert await app.not_refused(*FORBIDDEN) == []
    assert await door.counts() == before


async def test_an_application_hears_its_own_answers_and_nothing_else(door: Door) -> None:
    (_, ours), (_, theirs) = door.issue("kiosk", "ours"), door.issue("bank", "theirs")
    async with intruder(ours, INBOX) as app, intruder(theirs, INBOX) as spy:
        listens = ["answers.>", "live.answers.>", "live.tokens.>", "ask.>", "asks.>", f"{inbox_of('site1')}.>", ">"]
        for subject in listens:
            await spy.client.subscribe(subject)
        assert len(await spy.refusals(len(listens))) == len(listens)
        heard: list[Msg] = []

        async def hear(msg: Msg) -> None:
            heard.append(msg)

        await spy.client.subscribe(f"{INBOX}.>", cb=hear)
        await spy.client.flush()
        await app.client.request(ASK, b"?", timeout=5.0)
        await spy.client.request(ASK, b"?", timeout=5.0)  # what was sent before it would have come before it
        assert len(heard) == 1


async def test_a_reply_subject_leads_nowhere_but_to_the_account_of_who_named_it(door: Door) -> None:
    (_, login), (_, neighbour) = door.issue("kiosk", "weapon"), door.issue("kiosk", "neighbour")
    async with intruder(login, INBOX) as app, intruder(neighbour, INBOX) as other:
        waiting = await other.client.subscribe(other.client.new_inbox())
        await other.client.flush()
        before, asked_before = await door.counts(), len(door.heard)
        weapons = (
            "pipe.kiosk.approved.r1",
            "answers.kiosk.r1",
            "$JS.API.STREAM.PURGE.ASKS",
            "$JS.API.STREAM.DELETE.ASKS",
            f"{inbox_of('site1')}.x",
            waiting.subject,
        )
        for weapon in weapons:
            await app.client.publish(ASK, b"?", reply=weapon)

        async def all_answered() -> bool:
            return len(door.heard) == asked_before + len(weapons)

        await until(all_answered)
        await door.gateway.client.flush()
        assert {msg.reply.split(".")[0] for msg in door.heard[asked_before:]} == {"_R_"}
        assert await door.counts() == before
        with pytest.raises(nats.errors.TimeoutError):
            await waiting.next_msg(timeout=0.1)
        await app.client.publish(ASK, b"?", reply="_R_.x.y")
        assert "reply" in (await app.refusals(1))[0]


@pytest.mark.parametrize("whose", ["nobody's", "of another key", "an application's", "another site's"])
async def test_a_leaf_speaks_for_the_site_whose_nkey_it_shows_and_without_one_for_nobody(
    door: Door, tmp_path: Path, whose: str
) -> None:
    servers, name = door.fleet.fleet, "site2"
    seeds = {
        "nobody's": "",
        "of another key": load_credential(tmp_path / "mine.nk").seed(),
        "another site's": servers.leaf_credential("site1").seed(),
    }
    if whose == "an application's":
        seeds[whose] = load_credential(Path(door.issue("kiosk", "leaf")[1].nkey_seed_file)).seed()
    settings = conf.site(name, servers.operator_credential(name).public, servers.hub.leaf_url, seeds[whose])
    if whose == "nobody's":
        del settings["leafnodes"]["remotes"][0]["nkey"]
    heard: list[Msg] = []

    async def hear(msg: Msg) -> None:
        heard.append(msg)

    listening = await door.fleet.hub.subscribe("cloud.>", cb=hear)
    await door.fleet.hub.flush()
    seed_file = servers.operator_credential(name).seed_file
    async with (
        Server(name, tmp_path / "nats", settings, operator_seed=seed_file) as rogue,
        intruder(rogue.nats, inbox_of(name)) as client,
    ):
        give_up_s = time.monotonic() + 0.5
        while time.monotonic() < give_up_s:
            await client.client.publish(fast_lane("site2", "kiosk"), b"forged")
            await client.client.publish("sync.site2.up.ESCALATIONS", b"forged")
            await asyncio.sleep(0.02)
    await listening.unsubscribe()
    assert [msg.subject for msg in heard] == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Asked(tenant="bank", text="x"), "not_your_tenant"),
        (Asked(text="x", asker="eve"), "not_your_asker"),
        (Asked(text="x", asker="operator"), "not_your_asker"),
    ],
)
async def test_what_a_body_says_of_tenant_and_asker_is_held_against_the_subject(
    running: Site, request_: Asked, code: str
) -> None:
    refused = decode(await send(running, running.access_keys["kiosk"], request_), Refused)
    assert refused.code == code
    assert running.asked == []


async def test_a_text_is_all_that_a_request_needs(running: Site) -> None:
    subject = entry(ASK, "kiosk", running.access_keys["kiosk"].split("_")[1])
    reply = decode(await running.bus.request(subject, b'{"text":"When do you open?"}', timeout_s=5.0), Published)
    assert reply.tenant == "kiosk"


async def test_the_asker_is_the_key_s_and_a_user_that_an_application_names_is_its_own(running: Site) -> None:
    keys = open_access_keys(running.settings)
    mine, other = (keys.issue("kiosk", "app", DAY_MS, nkey=NKEY)[1] for _ in range(2))
    request = asked(rid="r1")
    assert isinstance(decode(await send(running, mine, request), Published), Published)
    for text, asker in ((other, "ada"), (mine, ""), (mine, "bob")):
        again = msgspec.structs.replace(request, asker=asker)
        assert decode(await send(running, text, again), Refused).code == "rid_taken"
    assert isinstance(decode(await send(running, mine, request), Published), Published)


@pytest.mark.parametrize("fault", ["unknown", "revoked", "of another role", "of another tenant", "without an nkey"])
async def test_a_key_that_a_server_still_knows_is_refused_by_the_gateway(running: Site, fault: str) -> None:
    keys = open_access_keys(running.settings)
    role: Role = "auditor" if fault == "of another role" else "app"
    key, text = keys.issue("kiosk", role, DAY_MS, nkey="" if fault == "without an nkey" else NKEY)
    if fault == "revoked":
        keys.revoke(key.id)
    tenant = "bank" if fault == "of another tenant" else "kiosk"
    subject = entry(ASK, tenant, "0" * 12 if fault == "unknown" else key.id)
    refused = decode(await running.bus.request(subject, encode(Asked(text="x")), timeout_s=5.0), Refused)
    codes = {"of another role": "not_your_role", "of another tenant": "not_your_tenant"}
    assert refused.code == codes.get(fault, "unauthenticated")
    assert text not in refused.reason
    assert running.asked == []


async def send(running: Site, access_key: str, request: Asked) -> bytes:
    """What the site replies to this key's request."""
    subject = entry(ASK, "kiosk", access_key.split("_")[1])
    return await running.bus.request(subject, encode(request), timeout_s=5.0)
