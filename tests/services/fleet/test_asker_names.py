"""A site exchanges the key by which it names askers, while it works: what was stored before is still theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.erasing_world import ANN, World, erasing_world
from tests.support.gateway_site import EMAIL, ask, asked
from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import Asked, Refused, decode
from tidegate.schemas.subjects import ASKS
from tidegate.services.cli import main
from tidegate.services.fleet.asked_index import note_requests
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.erasing import erase_asker
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.personal_export import export_asker
from tidegate.services.fleet.vault import open_vault
from tidegate.services.privacy.faults import VaultDamagedError
from tidegate.services.privacy.vault import Vault

pytestmark = pytest.mark.anyio
KEY = bytes(range(32))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with erasing_world(tmp_path) as opened:
        yield opened


async def rotate(world: World) -> None:
    """As an operator does, in a process of its own as far as the site can tell."""

    def run() -> None:
        with pytest.raises(SystemExit) as ended:
            main(["keys", "rotate", "askers", "--site", "site1", "--state", str(world.state), "--json"])
        assert not ended.value.code

    await asyncio.to_thread(run)


async def asker_of(world: World, rid: str) -> str:
    [stored] = await messages(world.client, ASKS, f"asks.kiosk.{rid}")
    return decode(stored.data, Asked).asker


@pytest.mark.parametrize("session", ["", "morning"])
async def test_an_answer_whose_request_has_expired_keeps_the_words_of_its_asker(world: World, session: str) -> None:
    first = await world.ask("ann", "r1", session=session)
    with closing(open_vault(world.settings)) as vault:
        await note_requests(world.client, vault)
    await rotate(world)
    await world.client.request(f"$JS.API.STREAM.PURGE.{ASKS}", b"")
    assert first.text.count(EMAIL) == 2
    assert await world.ask("ann", "r1", session=session) == first
    stranger = await ask(world.site, asked("personal data", asker="ben", rid="r1"))
    assert isinstance(stranger, Refused)


async def test_an_asker_has_another_digest_and_keeps_everything(world: World) -> None:
    first = await world.ask("ann", "r1")
    await rotate(world)
    second = await world.ask("ann", "r2")
    before, now = [await asker_of(world, rid) for rid in ("r1", "r2")]
    assert before != now
    assert first.text.count(EMAIL) == second.text.count(EMAIL) == 2
    assert (await world.ask("ann", "r1")).text == first.text, "asked again under its id"
    stranger = await ask(world.site, asked("personal data", asker="ben", rid="r1"))
    assert isinstance(stranger, Refused)
    assert stranger.code == "rid_taken"
    assert [await world.site.ingress.is_asker("kiosk", "r1", name) for name in (ANN, "operator/ben")] == [True, False]
    assert (await (await world.site.ingress.resume("kiosk", "r1", ANN)).reply()).rid == "r1"

    exported = await export_asker(world.settings, "kiosk", ANN)
    assert {request.rid for request in exported.requests} == {"r1", "r2"}
    assert [value.value for value in exported.values] == [EMAIL, EMAIL]
    certificate = await erase_asker(world.settings, "kiosk", ANN)
    assert (certificate.asker, certificate.former_askers) == (now, (before,))
    assert (certificate.values, len(certificate.former_key_ids), certificate.unreadable) == (2, 1, 2)
    assert set(certificate.requests) == {"r1", "r2"}
    assert await world.stored("r1") == await world.stored("r2") == set()
    await world.is_written()
    for digest in (before, now):
        assert not {name for name in world.files_with(digest.encode()) if "audit" not in name}


async def test_the_audit_log_has_the_certificate_of_an_exchange(world: World) -> None:
    await world.ask("ann", "r1")
    for epoch in (1, 2):
        await rotate(world)
        event = EventSpool(StatePaths(world.settings).audit_events).waiting(9)[-1].event
        assert event is not None
        assert (event.kind, event.act.about, event.act.epoch, len(event.act.digest)) == (
            "key_rotated",
            "askers",
            epoch,
            64,
        )


async def test_a_site_that_lost_the_keys_says_so_and_finds_nobody_less(world: World) -> None:
    await world.ask("ann", "r1")
    await rotate(world)
    file = StatePaths(world.settings).vault_keys.with_suffix(".askers")
    kept = file.read_bytes()
    await rotate(world)
    for left in (None, kept, b"{", b'["AAAA"]'):
        file.unlink()
        if left is not None:
            file.write_bytes(left)
        with pytest.raises(VaultDamagedError, match="askers"), closing(open_vault(world.settings)):
            pass
        if left is None:
            file.touch()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["ann", "ben", ""]), min_size=1, max_size=8))
def test_what_was_put_under_any_key_is_the_asker_s_and_nobody_else_s(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    """An empty name exchanges the key."""
    path = tmp_path_factory.mktemp("vault") / "vault.sqlite"
    put: dict[str, set[str]] = {"ann": set(), "ben": set()}
    with closing(Vault.open(path, KEY)) as vault, closing(Vault.open(path, KEY)) as peer:
        for number, name in enumerate(names):
            if not name:
                before = vault.digest_of_asker("kiosk", "ann", "")
                peer.rotate_names()
                assert vault.digest_of_asker("kiosk", "ann", "") != before
                continue
            vault.put_all("kiosk", vault.digest_of_asker("kiosk", name, ""), [("NAME", f"{name}{number}")])
            put[name].add(f"{name}{number}")
        digests = {name: peer.digests_of_asker("kiosk", name, "") for name in put}
        assert not set(digests["ann"]) & set(digests["ben"])
        for name, values in put.items():
            held = {each.value for digest in digests[name] for each in peer.held("kiosk", digest)}
            assert held == values
        assert peer.erase("kiosk", *digests["ann"]).values == len(put["ann"])
        assert {each.value for digest in digests["ben"] for each in vault.held("kiosk", digest)} == put["ben"]
