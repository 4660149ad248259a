"""Who is erased from a site is in no byte of what it has written; the others are; and what is held is handed out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.erasing_world import ANN, SHOWN, World, erasing_world
from tests.support.gateway_site import EMAIL, ask, asked
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.process.background import running
from tidegate.brokers.settings import NatsSettings, RetentionSettings
from tidegate.schemas import Refused, replace
from tidegate.schemas.privacy import ErasureCertificate, PersonalExport
from tidegate.schemas.subjects import ANSWERS, ASKS, CLAIMS, DEAD, ESCALATIONS, PIPE, VERDICTS
from tidegate.services.fleet.asked_index import keep_noting, note_requests
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.erasing import certificate_bytes, erase_asker
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with erasing_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    def read(kind: type[Any]) -> Any:
        lines = capsys.readouterr().out.splitlines()  # what a stage logs comes before
        first = next(at for at, line in enumerate(lines) if line.startswith("{"))
        return msgspec.json.decode("\n".join(lines[first:]), type=kind)

    return read


def check_event(world: World, certificate: ErasureCertificate, digest: str) -> None:
    """The erasing is an event for the audit log, which names the certificate and nobody."""
    [event] = EventSpool(StatePaths(world.settings).audit_events).waiting(9)
    assert event.event is not None
    assert (event.event.kind, event.event.tenant) == ("erased", "kiosk")
    assert event.event.act.digest == digest
    assert event.event.act.epoch == certificate.key_epoch
    assert "ann" not in event.event.act.reason


async def test_who_is_erased_is_in_no_byte_any_more_and_the_others_are(world: World, printed: Any) -> None:
    for rid in ("r1", "r2"):
        await world.ask("ann", rid)
    assert (await world.ask("ben", "r3")).text.count(EMAIL) == 2
    refused = await ask(world.site, asked("die of it", asker="ann", rid="r4"))
    assert isinstance(refused, Refused)
    escalated = ("escalations.site1.kiosk.r1", "verdicts.site1.kiosk.r1", "claims.site1.kiosk.r1.0af7")
    for subject in escalated:  # as they come over the leaf, and as the hub's workers share the verdict
        await world.hub.request(subject, SHOWN + b" Ann's street")
    assert world.files_with(b"Ann's street")
    assert await world.stored("r4") == {ASKS, DEAD}
    backup = [stored.data for rid in ("r1", "r4") for stored in await messages(world.client, ASKS, f"asks.kiosk.{rid}")]

    out = world.state.parent / "certificate.json"
    assert await world.command("erase", "--asker", ANN, "--site", "site1", "--out", str(out)) == 0
    certificate = printed(ErasureCertificate)
    assert (certificate.values, certificate.unreadable, certificate.left) == (2, 3, {})
    assert set(certificate.requests) == {"r1", "r2", "r4"}
    hub = {f"hub/{stream}": 1 for stream in (ESCALATIONS, VERDICTS, CLAIMS)}
    here = {"site1/ASKS": 3, "site1/DEAD": 1, "site1/ANSWERS": 2}
    assert {**hub, **here}.items() <= certificate.deleted.items()
    assert world.files_with(b"Ann's street") == set()
    for rid in ("r1", "r2", "r4"):
        assert await world.stored(rid) == set()
    digest = certificate.asker.encode()
    await world.is_written()
    assert not {name for name in world.files_with(digest) if "audit" not in name}, "a digest is of somebody, too"
    assert {ANSWERS, ASKS, PIPE} <= await world.stored("r3")
    assert (await world.ask("ben", "r3")).text.count(EMAIL) == 2

    check_event(world, certificate, sha256(out.read_bytes()).hexdigest())
    with closing(open_vault(world.settings)) as vault:
        for data in backup:
            kept = msgspec.msgpack.decode(data)
            with pytest.raises(ValueError, match="cannot be decrypted"):
                vault.unseal("kiosk", certificate.asker, kept["rid"], kept["sealed"])


async def test_answers_are_found_when_their_requests_have_expired_and_when_the_stream_began_anew(world: World) -> None:
    await world.ask("ann", "r1")
    with closing(open_vault(world.settings)) as vault:
        async with (
            running(keep_noting(lambda: world.client, vault, RetentionSettings(), every_s=0.01)),
            asyncio.timeout(10),
        ):
            while not vault.noted_up_to(ASKS):  # noqa: ASYNC110 another task writes it
                await asyncio.sleep(0.01)
        await world.client.request("$JS.API.STREAM.PURGE.ASKS", b"")
        vault.note_asked([], ASKS, 1_000)
        await world.ask("ann", "r2")
        await note_requests(world.client, vault)
    certificate = await erase_asker(world.settings, "kiosk", ANN)
    assert set(certificate.requests) == {"r1", "r2"}
    assert await world.stored("r1") == set()


async def test_whose_a_request_was_is_kept_for_as_long_as_its_answer(world: World) -> None:
    await world.ask("ann", "r1")
    with closing(open_vault(world.settings)) as vault:
        await note_requests(world.client, vault)
        ann = vault.digest_of_asker("kiosk", ANN, "")
        assert vault.requests_of("kiosk", ann) == ["r1"]
        for after_s, left in ((3000, ["r1"]), (4000, [])):
            vault.clock = itertools.repeat(time.time() + after_s).__next__
            keeping = keep_noting(lambda: world.client, vault, RetentionSettings(answers_s=3600), every_s=0.01)
            async with running(keeping):
                await asyncio.sleep(0.3)
            assert vault.requests_of("kiosk", ann) == left


async def test_what_is_at_a_hub_that_is_elsewhere_is_named(world: World) -> None:
    await world.ask("ann", "r1", text="escalate it")
    elsewhere = replace(world.settings, nats=NatsSettings(url=world.client.connected_url.geturl()))
    StatePaths(world.settings).fleet.unlink()
    certificate = await erase_asker(elsewhere, "kiosk", ANN)
    assert certificate.deleted["site1/ESCALATIONS"] == 1
    assert certificate.left["hub"] > certificate.at_ms


async def test_the_hub_erases_by_the_certificate_of_a_site(world: World, printed: Any, tmp_path: Path) -> None:
    await world.ask("ann", "r1", text="escalate it")
    for subject in ("escalations.site1.kiosk.r1", "verdicts.site1.kiosk.r1", "verdicts.site1.kiosk.r2"):
        await world.hub.request(subject, SHOWN + b" Ann's street")
    elsewhere = replace(world.settings, nats=NatsSettings(url=world.client.connected_url.geturl()))
    endpoints = StatePaths(world.settings).fleet.rename(tmp_path / "fleet.json")
    certificate = await erase_asker(elsewhere, "kiosk", ANN)
    endpoints.rename(StatePaths(world.settings).fleet)
    file = tmp_path / "certificate.json"
    file.write_bytes(certificate_bytes(certificate))
    assert await world.command("erase-at-hub", str(file)) == 0
    assert printed(dict) == {"deleted": {"hub/ESCALATIONS": 1, "hub/VERDICTS": 1}}
    assert await messages(world.hub, VERDICTS, "verdicts.site1.kiosk.r2"), "somebody else's"
    [event] = EventSpool(StatePaths(replace(world.settings, site="hub")).audit_events).waiting(9)
    assert event.event is not None
    assert event.event.act.digest == sha256(file.read_bytes()).hexdigest()
    file.write_text("{}")
    assert await world.command("erase-at-hub", str(file)) == 1
    assert printed(dict)["error"]["code"] == "no_certificate"


async def test_an_erasure_that_is_cut_in_the_middle_is_ended_by_the_next(world: World) -> None:
    await world.ask("ann", "r1")
    with closing(open_vault(world.settings)) as vault:
        await note_requests(world.client, vault)
    await world.client.request("$JS.API.STREAM.PURGE.ASKS", b"")
    cut = replace(world.settings, nats=NatsSettings(url="nats://127.0.0.1:1"))
    with pytest.raises(UnreachableError):
        await erase_asker(cut, "kiosk", ANN)
    with closing(open_vault(world.settings)) as vault:
        vault.erase("kiosk", vault.digest_of_asker("kiosk", ANN, ""))  # and here it ends
    certificate = await erase_asker(world.settings, "kiosk", ANN)
    assert certificate.requests == ("r1",)
    assert await messages(world.client, ANSWERS, "answers.kiosk.r1") == []
    assert (await erase_asker(world.settings, "kiosk", ANN)).requests == ()


async def test_without_a_server_the_key_is_destroyed_and_the_messages_are_erased_later(
    world: World, printed: Any
) -> None:
    await world.ask("ann", "r1")
    with closing(open_vault(world.settings)) as vault:
        await note_requests(world.client, vault)
    assert await world.command("erase", "--asker", ANN, "--vault-only") == 0
    certificate = printed(ErasureCertificate)
    assert (certificate.values, certificate.requests, certificate.left) == (1, ("r1",), {"site1": 0})
    assert ANSWERS in await world.stored("r1")
    with closing(open_vault(world.settings)) as vault:
        assert vault.held("kiosk", certificate.asker) == []
    again = await erase_asker(world.settings, "kiosk", ANN)
    assert (again.values, again.requests, again.unreadable) == (0, ("r1",), 1)
    assert await world.stored("r1") == set()


async def test_another_tenants_request_of_the_same_id_stays(world: World) -> None:
    await world.ask("ann", "r1")
    await world.ask("ann", "r1", tenant="bank")
    for tenant in ("kiosk", "bank"):
        await ask(world.site, replace(asked("die of it", asker="ann", rid="r9"), tenant=tenant))
    await erase_asker(world.settings, "kiosk", ANN)
    assert await world.stored("r1") == set()
    left = await messages(world.client, DEAD, "dead.*.r9")
    assert [letter.headers["Dead-Subject"] for letter in left] == ["asks.bank.r9"]
    assert (await world.ask("ann", "r1", tenant="bank")).text.count(EMAIL) == 2


async def test_a_person_is_given_what_is_held_of_them(world: World, printed: Any) -> None:
    await world.ask("ann", "r1", text="personal data of mine", session="loan")
    await world.ask("ann", "r2", text="json please", instructions="Be brief.")
    await world.ask("ben", "r3")
    assert await world.command("export", "--asker", ANN) == 0
    exported = printed(PersonalExport)
    assert {(value.kind, value.value) for value in exported.values} == {("EMAIL", EMAIL)}
    first, second = exported.requests
    assert (first.rid, first.text, first.outcome) == ("r1", "personal data of mine", "answered")
    assert first.answer == f"We write to {EMAIL} today, and to {EMAIL} tomorrow."
    assert first.held_in[ANSWERS] == 1
    assert (second.instructions, msgspec.json.decode(second.answer)["email"]) == ("Be brief.", EMAIL)
    [event] = EventSpool(StatePaths(world.settings).audit_events).waiting(9)
    assert event.event is not None
    assert (event.event.kind, event.event.act.reason) == ("exported", "2 values and 2 requests of one asker")

    out = world.state.parent / "export.json"
    assert await world.command("export", "--asker", ANN, "--out", str(out)) == 0
    assert msgspec.json.decode(out.read_bytes(), type=PersonalExport).requests == exported.requests
    assert out.stat().st_mode & 0o777 == 0o600
    assert await world.command("erase", "--asker", ANN) == 0
    assert (await asyncio.to_thread(out.exists)) is True
    assert await world.command("export", "--asker", "nobody") == 0


async def test_keys_are_exchanged_and_a_restored_vault_taken_by_command(world: World, printed: Any) -> None:
    await world.ask("ann", "r1")
    assert await world.command("rotate") == 0
    assert printed(dict) == {"tenant": "kiosk", "epoch": 2}
    assert (await world.ask("ann", "r1")).text.count(EMAIL) == 2
    mark = StatePaths(world.settings).vault_mark
    mark.write_text("0" * 20)
    assert await world.command("rotate") == 1
    assert await world.command("accept", "--reason", "restored from the backup of Monday") == 0
    assert await world.command("rotate") == 0
    kinds = [
        event.event.kind for event in EventSpool(StatePaths(world.settings).audit_events).waiting(9) if event.event
    ]
    assert kinds == ["key_rotated", "vault_accepted", "key_rotated"]


async def test_a_site_that_was_never_asked_has_nothing_to_erase(world: World, printed: Any) -> None:
    StatePaths(world.settings).vault.unlink()
    assert await world.command("erase", "--asker", ANN) == 1
    assert printed(dict)["error"]["code"] == "vault_missing"
