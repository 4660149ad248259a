"""Edits of sites on their way to the hub, repeated, reordered, lost, forged: each is in the log once, or named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import count
from tests.support.sync_fleet import NOTICES, SyncFleet, eventually, sync_fleet, until
from tests.support.sync_parts import Keys, text
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.dead_letters import list_dead_letters
from tidegate.schemas import CollectionHead, LogPosition, SignedOperation, encode, replace
from tidegate.schemas.following import FollowReply, FollowRequest, HeadRequest, SendOperations
from tidegate.schemas.replica import CollectionRequest, ReplicaStatus
from tidegate.schemas.replication import RelayReceipt
from tidegate.schemas.subjects import EDITS, HUB
from tidegate.sync.author import Author
from tidegate.sync.reader import CollectionUnknownError
from tidegate.sync.rules.merge import version_of
from tidegate.sync.rules.ownership import NotOwnedError
from tidegate.sync.shells import hub_shell, site_shell
from tidegate.sync.shells.hub_requests import HubRequests
from tidegate.sync.store import ReplicaStore

pytestmark = pytest.mark.anyio


def written_by(path: Path, author: str, *ids: str, boot: str = "ab" * 8) -> list[SignedOperation]:
    """Operations of an author, in order, on a disk of its own."""
    store = ReplicaStore(path / f"{author}-{boot}.sqlite", author, boot)
    store.put_collection(NOTICES)
    for each in ids:
        Author(store, Keys(author)).write("notices", each, text(f"by {author}"), 1_790_000_000_000)
    with store.reading() as reader:
        made = [entry.operation for entry in reader.pending()]
    store.close()
    return made


async def send(fleet: SyncFleet, site: str, operation: SignedOperation, id: str) -> None:
    bus = await fleet.bus(site)
    await bus.publisher.store(f"edits.{site}.kiosk.notices.d", encode(operation), {"Nats-Msg-Id": id})


def log_of(fleet: SyncFleet) -> dict[str, str]:
    return fleet.texts(HUB)


async def test_what_comes_twice_and_in_any_order_is_in_the_log_once_and_in_order(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        await fleet.stop("site1")  # the test is the site
        made = written_by(tmp_path, "site1", "a", "b", "c", "d")
        for number, operation in enumerate((made[2], made[1], made[1], made[3], made[0], made[2])):
            await send(fleet, "site1", operation, f"copy{number}")
        await fleet.agree(dict.fromkeys("abcd", "by site1"))
        assert fleet.hub.tenants["kiosk"].store.record("notices").replica.position == LogPosition(1, 4)


async def test_an_edit_that_the_stream_lost_is_sent_again_past_it(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        await fleet.write("site1", {"a": "one"})
        await fleet.agree({"a": "one"})
        bus = await fleet.bus("site1")
        # What the site stores from here on goes nowhere, though it is acknowledged: the link loses it.
        await api.call(bus.link.client, f"CONSUMER.DELETE.{EDITS}.to-hub")
        fleet.changed.clear()
        await fleet.write("site1", {"b": "two", "c": "three"})
        await fleet.agree({"a": "one", "b": "two", "c": "three"})
        async with asyncio.timeout(2.0):  # its index follows at once, and not when the hub looks next by itself
            await until(lambda: (HUB, "kiosk", "notices") in fleet.changed)
        await until(lambda: not fleet.site("site1").tenants["kiosk"].outbox.settle(None))


async def test_what_is_not_the_site_s_to_write_is_refused_by_name_and_kept_as_a_dead_letter(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.agree({})
        await fleet.stop("site1")
        [foreign] = written_by(tmp_path, "site2", "x")
        [own] = written_by(tmp_path, "site1", "y")
        forged = msgspec.structs.replace(own, payload=own.payload.replace(b"Hours", b"Tours"))
        await send(fleet, "site1", foreign, "foreign")
        await send(fleet, "site1", forged, "forged")
        bus = await fleet.bus("site1")
        await bus.publisher.store("edits.site1.kiosk.notices.z", b"no operation", {"Nats-Msg-Id": "garbage"})
        at_hub = await fleet.bus(HUB)
        reasons: list[str] = []

        async def are_there() -> bool:
            reasons[:] = [each.reason for each in await list_dead_letters(at_hub.link.client, "sync")]
            return len(reasons) == 3

        await eventually(are_there)
        assert "site1 sent an operation of site2" in " ".join(reasons)
        assert "is not signed by site1" in " ".join(reasons)
        assert log_of(fleet) == {}
        status = await fleet.ask(HUB, "status", CollectionRequest(), ReplicaStatus)
        assert any("refused" in fault for fault in status.faults)
        await send(fleet, "site1", own, "own")  # and what is its own goes through
        await until(lambda: log_of(fleet) == {"y": "by site1"})


async def test_an_edit_that_the_hub_s_rule_forbids_by_now_stays_and_is_shown_until_it_may_be_shared(
    tmp_path: Path,
) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        await fleet.agree({})
        fleet.servers.hub.kill()
        await fleet.write("site1", {"a": "one"})
        await fleet.stop(HUB)
        await fleet.servers.hub.start()
        store = ReplicaStore(tmp_path / HUB / "replicas" / "kiosk.sqlite", HUB, "cd" * 8)
        store.put_collection(replace(NOTICES, sites_write=False))
        store.close()
        await fleet.start(HUB)
        outbox = fleet.site("site1").faults
        await until(lambda: "may not share" in " ".join(outbox.all()), outbox.all)
        assert log_of(fleet) == {}
        await fleet.put(NOTICES)
        await fleet.agree({"a": "one"})
        await until(lambda: "may not share" not in " ".join(outbox.all()), outbox.all)


async def test_a_site_asks_under_its_own_name_only_and_is_told_nothing_of_what_it_may_not_hold(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path) as fleet:
        await fleet.put(replace(NOTICES, name="only-two", sites=("site2",)))
        await fleet.put(replace(NOTICES, name="prices", owner="hub"))
        await fleet.write(HUB, {"p": "secret"}, collection="prices")
        site1 = HubRequests(await fleet.bus("site1"), "site1")
        listed = await site1.ask(FollowRequest(tenant="kiosk", actor="site1@1"), FollowReply)
        assert [each.name for each in listed.collections] == ["notices"]
        for name in ("only-two", "prices"):
            with pytest.raises(NotOwnedError):
                await site1.ask(HeadRequest(tenant="kiosk", collection=name), CollectionHead)
        with pytest.raises(CollectionUnknownError):
            await site1.ask(HeadRequest(tenant="kiosk", collection="nothing"), CollectionHead)
        with pytest.raises(NotOwnedError):
            await site1.ask(HeadRequest(tenant="bank", collection="notices"), CollectionHead)
        with pytest.raises(NotOwnedError):
            await site1.ask(SendOperations(tenant="kiosk", actor="site2@1"), RelayReceipt)
        as_other = HubRequests(await fleet.bus("site1"), "site2")  # its own server lets it, the hub's does not
        with pytest.raises(ConnectionError):
            await as_other.ask(FollowRequest(tenant="kiosk", actor="site2@1"), FollowReply)
        [operation] = written_by(tmp_path, "site1", "a")
        sent = SendOperations(tenant="kiosk", actor="site1@1", operations=(operation,))
        first, again = await site1.ask(sent, RelayReceipt), await site1.ask(sent, RelayReceipt)
        assert (first.outcome, again.outcome) == ("relayed", "known")
        assert first.mark is not None
        assert version_of(operation).digest == first.mark.digest


async def test_what_is_relayed_need_not_stay_in_the_streams_and_nothing_that_follows_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_shell, "KEPT_EDITS", 1)
    monkeypatch.setattr(site_shell, "KEPT_EDITS", 1)
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        for number in range(5):
            await fleet.write("site1", {"a": str(number)})
        await fleet.agree({"a": "4"})
        hub, site = (await fleet.bus(HUB)).link.client, (await fleet.bus("site1")).link.client

        async def is_trimmed() -> bool:  # acknowledgements come a little later
            await fleet.hub._trim()
            await fleet.site("site1")._trim()
            return [await count(each, EDITS) for each in (hub, site)] == [1, 1]

        await eventually(is_trimmed)
        fleet.servers.hub.kill()
        await fleet.write("site1", {"a": "5"})
        await fleet.servers.hub.start()
        await fleet.agree({"a": "5"})
        fleet.servers.sites["site1"].kill()
        await fleet.servers.sites["site1"].start()
        await fleet.write("site1", {"a": "6"})
        await fleet.agree({"a": "6"})
