"""What crosses the leaf, what never does, and what a broken link costs: nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from tests.support.nats_fleet import arrived, client_of, count, linked, publish, until
from tests.support.stream_guards import Guarded, comparing, guarded
from tidegate.brokers.jetstream.history import history, messages
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import subjects
from tidegate.schemas.verification_subjects import (
    ANY_WORKER,
    fast_lane,
    older_fast_lane,
    older_verification_session,
    verification_session,
)

CONTROL = "100"
"""The status of what keeps a consumer's connection alive, without data: on a slow machine it comes in between."""

pytestmark = pytest.mark.anyio


async def worker(nc: Client) -> None:
    """Answer the fast lane and the ping of every site."""

    async def answer(request: Msg) -> None:
        await request.respond(request.subject.encode() + b" " + request.data)

    await nc.subscribe(older_fast_lane("*"), "hub", cb=answer)
    await nc.subscribe(fast_lane("*", "*"), "hub", cb=answer)
    await nc.subscribe("cloud.*.ping", "hub", cb=answer)
    for who in (ANY_WORKER, "0a1b2c3d"):
        for session in (verification_session("*", "*", who), older_verification_session("*", who)):
            await nc.subscribe(session, "hub", cb=answer)
    await nc.flush()


async def answered(nc: Client, subject: str) -> bytes:
    """The answer, as soon as the hub's interest has crossed the leaf."""
    async with asyncio.timeout(5):
        while True:
            try:
                return bytes((await nc.request(subject, b"x", timeout=5)).data)
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.005)


async def test_escalations_of_every_site_reach_the_hub_and_a_verdict_its_own_site_only(tmp_path: Path) -> None:
    async with linked(tmp_path) as all_:
        for site, nc in all_.sites.items():
            await publish(nc, f"escalations.{site}.kiosk.r1", site.encode())
        await arrived(all_.hub, "ESCALATIONS", 2)
        stored = await messages(all_.hub, "ESCALATIONS", "escalations.>")
        assert {(message.subject, message.data) for message in stored} == {
            ("escalations.site1.kiosk.r1", b"site1"),
            ("escalations.site2.kiosk.r1", b"site2"),
        }
        await publish(all_.hub, "verdicts.site2.kiosk.r2")
        await publish(all_.hub, "verdicts.site1.kiosk.r1")
        await arrived(all_.sites["site1"], "VERDICTS", 1)
        await arrived(all_.sites["site2"], "VERDICTS", 1)
        for site, rid in (("site1", "r1"), ("site2", "r2")):
            mirrored = await messages(all_.sites[site], "VERDICTS", ">")
            assert [message.subject for message in mirrored] == [f"verdicts.{site}.kiosk.{rid}"]


async def test_an_escalation_in_the_name_of_another_site_arrives_in_the_name_of_its_own(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        await publish(all_.sites["site1"], "escalations.site2.kiosk.forged")
        await publish(all_.sites["site1"], "escalations.site1.kiosk.own")
        await arrived(all_.hub, "ESCALATIONS", 2)
        found = [stored.subject for stored in await messages(all_.hub, "ESCALATIONS", "escalations.>")]
        assert found == ["escalations.site1.kiosk.forged", "escalations.site1.kiosk.own"]


async def test_the_fast_lane_answers_and_without_a_worker_fails_at_once(tmp_path: Path) -> None:
    async with linked(tmp_path) as all_:
        site = all_.sites["site1"]
        with pytest.raises(nats.errors.NoRespondersError):
            await site.request(fast_lane("site1", "kiosk"), b"x", timeout=60)
        await worker(all_.hub)
        assert await answered(site, fast_lane("site1", "kiosk")) == b"cloud.site1.verify.kiosk x"
        assert await answered(site, older_fast_lane("site1")) == b"cloud.site1.verify x"
        assert await answered(site, subjects.ping("site1")) == b"cloud.site1.ping x"
        for who in (ANY_WORKER, "0a1b2c3d"):
            for ours in (verification_session("site1", "kiosk", who), older_verification_session("site1", who)):
                assert await answered(site, ours) == ours.encode() + b" x"
        theirs = (fast_lane("site2", "kiosk"), subjects.ping("site2"), verification_session("site2", "kiosk"))
        for foreign in (*theirs, "cloud.site1.other", "cloud.site1.loop"):
            with pytest.raises(nats.errors.NoRespondersError):
                await site.request(foreign, b"x", timeout=60)


async def test_a_site_receives_what_the_hub_sends_to_it_and_nothing_that_is_sent_to_another(tmp_path: Path) -> None:
    async with linked(tmp_path) as all_:
        received: list[tuple[str, str, str]] = []
        await worker(all_.hub)
        for name, nc in all_.sites.items():
            for pattern in (
                subjects.cloud_partial(name),
                subjects.all_cloud_partials(name),
                "cloud.>",
                "cloud.*.partial.>",
                ">",
            ):
                await listen(nc, pattern, name, received)
            for other in all_.sites.keys() - {name}:
                await listen(nc, subjects.cloud_partial(other), name, received)
            await answered(nc, subjects.ping(name))

        async def has_crossed() -> bool:  # until the interest has crossed the leaf
            await all_.hub.publish(subjects.cloud_partial("site1", "kiosk", "r1"), b"x")
            await all_.hub.flush()
            return any(pattern == subjects.cloud_partial("site1") for _, pattern, _ in received)

        await until(has_crossed)
        for stays in ("partial.drafted.kiosk.r1", "tokens.kiosk.r1", "live.tokens.kiosk.r1", "stream", "resume"):
            await all_.hub.publish(stays, b"x")
        await all_.sites["site2"].publish(subjects.cloud_partial("site1", "kiosk", "r2"), b"a forgery of another site")
        for name, nc in all_.sites.items():
            await answered(nc, subjects.ping(name))  # what was sent before it would have come before it
        ours = {news for news in received if not news[2].startswith(("$JS", "_INBOX", "sync.", "cloud.site1.ping"))}
        local = {
            ("site2", pattern) for pattern in ("cloud.>", "cloud.*.partial.>", ">", subjects.cloud_partial("site1"))
        }
        assert {news[0:2] for news in ours if news[2].endswith(".r2")} <= local  # and no further than its own server
        assert {(site, subject) for site, _, subject in ours if not subject.endswith((".r2", ".ping"))} == {
            ("site1", "cloud.site1.partial.kiosk.r1")
        }


async def test_what_stays_at_a_site_is_received_nowhere_else(tmp_path: Path) -> None:
    async with linked(tmp_path) as all_:
        site = all_.sites["site1"]
        received: list[tuple[str, str, str]] = []
        await worker(all_.hub)
        await answered(site, subjects.ping("site1"))
        for domain, nc in (("hub", all_.hub), ("site2", all_.sites["site2"])):
            for pattern in (*subjects.SITE_ONLY, "$SRV.>", "anything.>", ">"):
                await listen(nc, pattern, domain, received)
        for subject in ("asks.kiosk.r1", "pipe.kiosk.screened.r1", "answers.kiosk.r1", "dead.router.r1"):
            await publish(site, subject)
        for subject in (
            "ask.kiosk.operator",
            "$SRV.PING",
            "$SRV.STATS.tidegate",
            "live.tokens.r1",
            "anything.else",
            "verdicts.site1.kiosk.r1",
        ):
            await site.publish(subject, b"x")
        await publish(site, "escalations.site1.kiosk.r1")
        await arrived(all_.hub, "ESCALATIONS", 1)
        await answered(site, subjects.ping("site1"))  # what was sent before it would have come before it
        ours = [news for news in received if not news[2].startswith(("$JS", "_INBOX"))]
        # JetStream shows the original subject to whoever listens under the subject that carries it, here sync.site1.up
        assert ours == [("hub", ">", "escalations.site1.kiosk.r1"), ("hub", ">", subjects.ping("site1"))]
        assert await count(all_.hub, "VERDICTS") == 0
        assert await count(all_.hub, "DEAD") == 0


async def listen(nc: Client, pattern: str, domain: str, received: list[tuple[str, str, str]]) -> None:
    async def receive(message: Msg) -> None:
        if (message.headers or {}).get("Status") != CONTROL:
            received.append((domain, pattern, message.subject))

    await nc.subscribe(pattern, cb=receive)
    await nc.flush()


async def test_a_site_cannot_read_or_change_what_the_hub_has(tmp_path: Path) -> None:
    async with linked(tmp_path) as all_:
        site = all_.sites["site1"]
        for call in (
            "STREAM.LIST",
            "STREAM.INFO.VERDICTS",
            "STREAM.DELETE.VERDICTS",
            "CONSUMER.CREATE.VERDICTS.spy",
            "CONSUMER.RESET.VERDICTS.to-site2",
            "DIRECT.GET.ESCALATIONS",
        ):
            with pytest.raises((nats.errors.NoRespondersError, nats.errors.TimeoutError)):
                await site.request(f"$JS.hub.API.{call}", b"{}", timeout=0.2)
        assert await count(all_.hub, "VERDICTS") == 0


async def test_a_leaf_without_the_sites_nkey_is_not_admitted(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        remote = {"urls": [all_.fleet.hub.leaf_url]}
        nameless = {**conf.plain("thief"), "leafnodes": {"reconnect": "100ms", "remotes": [remote]}}
        async with Server("thief", tmp_path / "thief", nameless) as thief:

            async def refused() -> bool:
                return "Authorization Violation" in thief.log.read_text()

            await until(refused)
            assert [leaf["name"] for leaf in all_.fleet.hub.monitor("/leafz")["leafs"]] == ["site1"]


async def test_after_the_hub_was_killed_everything_that_waited_arrives_once(tmp_path: Path) -> None:
    async with linked(tmp_path) as all_, guarded(all_) as ends, comparing(ends):
        await ends.escalate(0)
        await arrived(all_.hub, "ESCALATIONS", 1)
        all_.fleet.hub.kill()
        await ends.escalate(*range(1, 21))
        await all_.fleet.hub.start()
        async with client_of(all_.fleet.hub) as hub:
            await arrived(hub, "ESCALATIONS", 21)
            await ends.give_verdicts(1)
            await until(lambda: has_verdicts(ends, "r1"))
            stored = await messages(hub, "ESCALATIONS", ">")
            expected = {f"escalations.site1.kiosk.r{n}" for n in range(21)}
            assert sorted(message.subject for message in stored) == sorted(expected)


async def has_verdicts(ends: Guarded, *rids: str) -> bool:
    return await ends.at_site() == list(rids)


async def test_after_a_site_was_killed_both_directions_flow_again(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_, guarded(all_) as ends, comparing(ends):
        server = all_.fleet.sites["site1"]
        server.kill()
        await ends.give_verdicts(1)
        await server.start()
        await ends.escalate(1)
        await arrived(all_.hub, "ESCALATIONS", 1)
        await until(lambda: has_verdicts(ends, "r1"))


async def test_a_site_serves_itself_while_there_is_no_hub(tmp_path: Path) -> None:
    async with linked(tmp_path, ["site1"]) as all_:
        all_.fleet.hub.stop()
        server = all_.fleet.sites["site1"]
        server.stop()
        await server.start()
        async with client_of(server) as site:
            await publish(site, "asks.kiosk.r1")
            assert [stored.subject for stored in await history(site, "r1")] == ["asks.kiosk.r1"]
            with pytest.raises(nats.errors.NoRespondersError):
                await site.request(fast_lane("site1", "kiosk"), b"x", timeout=60)
