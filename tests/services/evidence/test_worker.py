"""Whatever a domain did is in its log once, whenever its worker ran; its heads are witnessed, a changed log is not."""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from tests.support.audit_worlds import bury, open_world, publish, published
from tests.support.message_parts import RECEIPT
from tests.support.nats_fleet import client_of, until
from tests.support.sync_parts import fast_directory
from tidegate.brokers.jetstream.api import put_stream
from tidegate.brokers.jetstream.repair import delete_stream
from tidegate.brokers.topology.streams import site_streams
from tidegate.schemas import HeadReply, decode, encode
from tidegate.schemas.audit import AuditedAct, AuditedAnswer, AuditedLetter
from tidegate.schemas.subjects import ANSWERS, HUB
from tidegate.services.evidence.entries import receipt_digest
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.verification import Expectation, verify_log
from tidegate.services.evidence.worker import open_audit_worker
from tidegate.services.fleet.audit_spool import EventSpool, act_event
from tidegate.services.fleet.paths import StatePaths
from tidegate.sync.trust.identity import IdentityFile, SiteIdentity
from tidegate.sync.trust.keys import KeyStore
from tidegate.sync.trust.site_records import SiteRecords

pytestmark = pytest.mark.anyio
REFUSED = "tidegate_audit_heads_refused_total"


@pytest.fixture
def path() -> Iterator[Path]:
    with fast_directory() as directory:
        yield Path(directory)


async def test_answers_dead_letters_and_acts_become_entries_that_quote_nobody(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus:
        await publish(bus, "r1")
        await bury(bus, "r2")
        EventSpool(StatePaths(world.settings("site1")).audit_events).report(
            act_event("key_rotated", "author", reason="yearly")
        )
        async with world.worker("site1"):
            await world.logged("site1", 4)
        opened, act, answer, letter = world.entries("site1")
    assert opened.kind == "log_opened"
    assert isinstance(act.body, AuditedAct)
    assert (act.kind, act.body.about, act.body.reason, act.tenant) == ("key_rotated", "author", "yearly", "")
    assert isinstance(answer.body, AuditedAnswer)
    assert (answer.kind, answer.tenant, answer.body.rid, answer.domain) == ("answered", "kiosk", "r1", "site1")
    assert answer.body.receipt.lineage == RECEIPT.lineage
    assert answer.body.receipt_digest == receipt_digest(RECEIPT)
    assert answer.body.text_digest == sha256(published("r1").text.encode()).hexdigest()
    assert answer.body.receipt.citations[0].quote == sha256(RECEIPT.citations[0].quote.encode()).hexdigest()
    assert isinstance(letter.body, AuditedLetter)
    assert (letter.kind, letter.tenant, letter.body.stage, letter.body.attempt) == (
        "dead_lettered",
        "kiosk",
        "router",
        5,
    )
    assert letter.body.data_digest == sha256(b"the original bytes").hexdigest()
    assert b"berweisung" not in (path / "site1" / "audit" / "log.sqlite").read_bytes()


async def test_what_was_stored_while_no_worker_ran_is_logged_once_when_one_does(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus:
        await publish(bus, "r1", "r2")
        async with world.worker("site1"):
            await world.logged("site1", 3)
        await publish(bus, "r3", "r4")
        for _ in range(2):
            async with world.worker("site1"):
                await world.logged("site1", 5)
        rids = [entry.body.rid for entry in world.entries("site1") if isinstance(entry.body, AuditedAnswer)]
    assert rids == ["r1", "r2", "r3", "r4"]


async def test_a_stream_that_is_made_anew_is_read_from_its_start_and_nothing_is_logged_twice(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus, client_of(world.fleet.sites["site1"]) as client:
        async with world.worker("site1"):
            await publish(bus, "r1", "r2", "r3")
            await world.logged("site1", 4)
            await delete_stream(client, ANSWERS)
            await put_stream(client, site_streams("site1")[ANSWERS], is_new=True)
            await publish(bus, "r2", "r9")
            await world.logged("site1", 5)
        rids = [entry.body.rid for entry in world.entries("site1") if isinstance(entry.body, AuditedAnswer)]
    assert rids == ["r1", "r2", "r3", "r9"]


async def test_an_answer_that_is_none_or_another_tenant_s_is_logged_as_a_violation(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus:
        await bus.publisher.publish("answers.kiosk.forged", b"no answer", {"Nats-Msg-Id": "a"})
        stolen = published("r1", tenant="bank")
        await bus.publisher.publish("answers.kiosk.r1", encode(stolen), {"Nats-Msg-Id": "b"})
        async with world.worker("site1"):
            entries = await world.logged("site1", 3)
    assert [entry.kind for entry in entries[1:]] == ["violated", "violated"]
    assert [entry.body.about for entry in entries[1:] if isinstance(entry.body, AuditedAct)] == [
        "answers.kiosk.forged", "answers.kiosk.r1",
    ]  # fmt: skip
    assert {entry.tenant for entry in entries[1:]} == {"kiosk"}


async def test_an_event_that_cannot_be_read_is_logged_as_that(path: Path) -> None:
    async with open_world(path) as world:
        spool = EventSpool(StatePaths(world.settings("site1")).audit_events)
        spool.open()
        file = path / "site1" / "audit" / "events" / "00000000000000000001-aa.event.json"
        file.write_bytes(b"\xffnothing")
        async with world.worker("site1"):
            entries = await world.logged("site1", 2)

            async def is_gone() -> bool:
                return not file.exists()

            await until(is_gone)
    assert entries[1].kind == "violated"


async def test_the_hub_witnesses_and_passes_heads_on_and_a_cut_link_is_caught_up(path: Path) -> None:
    async with open_world(path, ("site1", "site2")) as world, world.bus("site1") as bus:
        async with world.worker("site1"), world.worker("site2"):
            await publish(bus, "r1")
            await world.logged("site1", 2)
            assert world.status("site1").witnessed == 0, "no hub has answered yet"
            await publish(bus, "r2", "r3")
            async with world.worker(HUB):
                status = await world.witnessed("site1", 4)
                await world.witnessed("site2", 1)
                assert not status.faults

                async def has_heard() -> bool:
                    return {"site2", HUB} <= set(world.status("site1").heads) and "site1" in world.status("site2").heads

                await publish(bus, "r4")  # a site whose log stands still asks once a minute only
                EventSpool(StatePaths(world.settings("site2")).audit_events).report(act_event("erased", "vault"))
                await until(has_heard)
                assert not world.status(HUB).faults
        keys = KeyStore(path / "keys").published().keys
        with AuditReader.open(world.directory(HUB)) as hub, AuditReader.open(world.directory("site1")) as reader:
            seen = hub.heads()["tidegate.audit/site1"]
            report = verify_log(reader, Expectation(domain="site1", keys=keys, witnessed={"the hub": seen}))
        assert report.is_good
        assert report.witnessed >= 4


async def test_a_site_that_was_provisioned_anew_begins_another_log_and_no_other_site_does(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus, world.worker(HUB):
        async with world.worker("site1"):
            await publish(bus, "r1", "r2")
            await world.witnessed("site1", 3)
        shutil.rmtree(world.directory("site1"))  # its disk is lost
        paths = StatePaths(world.settings("site1"))
        IdentityFile(paths.trust).store(SiteIdentity(site="site1", incarnation=2))
        async with world.worker("site1"):
            await world.faulty("site1", "foreign: site1 was provisioned 1 times")
        records = SiteRecords(StatePaths(world.settings(HUB)).site_records)
        records.provision("site1", 2, "11" * 32, ("kiosk",))
        async with world.worker("site1"):
            status = await world.witnessed("site1", 3)

            async def is_good() -> bool:
                return not world.status("site1").faults and not world.status(HUB).faults

            await until(is_good)
        assert status.size >= 3
        with AuditReader.open(world.directory(HUB)) as hub:
            assert {"tidegate.audit/site1", "tidegate.audit/site1@2"} == set(hub.heads())


async def test_a_person_can_accept_another_log_and_that_is_logged(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus, world.worker(HUB):
        async with world.worker("site1"):
            await publish(bus, "r1", "r2")
            await world.witnessed("site1", 3)
        shutil.rmtree(world.directory("site1"))
        async with world.worker("site1"):
            await world.faulty("site1", "forked")
            spool = EventSpool(StatePaths(world.settings(HUB)).audit_events)
            spool.report(act_event("head_accepted", "site1", reason="its disk was lost"))
            await world.witnessed("site1", 3)

            async def is_good() -> bool:
                return not world.status("site1").faults and not world.status(HUB).faults

            await until(is_good)
    [accepted] = [entry for entry in world.entries(HUB) if entry.kind == "head_accepted"]
    assert isinstance(accepted.body, AuditedAct)
    assert (accepted.body.about, accepted.body.reason) == ("site1", "its disk was lost")


async def test_a_worker_that_ends_finishes_the_step_in_hand_and_does_no_other(path: Path) -> None:
    async with open_world(path) as world, world.bus(HUB) as bus:
        ended: list[str] = []

        begun = threading.Event()

        def slow() -> None:
            begun.set()
            time.sleep(0.3)
            ended.append(worker._log.reader.head().origin)

        async with open_audit_worker(world.settings(HUB), bus) as worker:
            step = asyncio.create_task(worker._write(slow))
            await asyncio.to_thread(begun.wait)
            step.cancel()
        assert ended == ["tidegate.audit/hub"]
        reply = decode(await worker.answer("cloud.site1.heads", b""), HeadReply)
        assert reply.fault == "unavailable"


@pytest.mark.parametrize("fault", ["forked", "truncated"])
async def test_the_hub_refuses_a_log_that_was_changed_until_it_is_put_back(path: Path, fault: str) -> None:
    async with open_world(path) as world, world.bus("site1") as bus, world.worker(HUB):
        log = world.directory("site1")
        async with world.worker("site1"):
            await publish(bus, "r1")
            await world.witnessed("site1", 2)
        shutil.copytree(log, path / "older")
        async with world.worker("site1"):
            await publish(bus, "r2", "r3")
            await world.witnessed("site1", 4)
        log.rename(path / "good")
        shutil.copytree(path / "older", log)
        if fault == "truncated":  # and what it was logged from is gone as well
            async with client_of(world.fleet.sites["site1"]) as client:
                await delete_stream(client, ANSWERS)
                await put_stream(client, site_streams("site1")[ANSWERS], is_new=True)
        refused = REGISTRY.get_sample_value(REFUSED, {"domain": "site1", "fault": fault}) or 0.0
        async with world.worker("site1"):
            assert "the hub refuses the head" in await world.faulty("site1", fault)
            assert "site1" in await world.faulty(HUB, "the log of site1")
            entries = [entry for entry in world.entries(HUB) if entry.kind == "head_refused"]
            assert {entry.body.about for entry in entries if isinstance(entry.body, AuditedAct)} == {"site1"}
            assert len({entry.source for entry in entries}) == len(entries)
            now = REGISTRY.get_sample_value(REFUSED, {"domain": "site1", "fault": fault})
            assert now is not None
            assert now > refused
        shutil.rmtree(log)
        (path / "good").rename(log)
        async with world.worker("site1"):
            await publish(bus, "r9")
            await world.witnessed("site1", 5)

            async def is_mended() -> bool:
                return not world.status("site1").faults and not world.status(HUB).faults

            await until(is_mended)
