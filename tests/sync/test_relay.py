"""The hub takes operations in each author's order, once, and refuses, by name, what is not to be relayed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from tests.support.sync_parts import NOTICES, NOW, RING, Hub, Keys, MemoryLog, Site, make_hub, make_site, text
from tidegate.schemas import Collection, CollectionDelta, HeldDocuments, LogPosition, RelayReceipt, SignedOperation
from tidegate.sync import relay
from tidegate.sync.author import Author
from tidegate.sync.records import document_of
from tidegate.sync.relay import LogConflictError, Relay
from tidegate.sync.rules.merge import version_of
from tidegate.sync.rules.plan import OriginRolledBackError
from tidegate.sync.signing import UntrustedOperationError
from tidegate.sync.store import ReplicaStore

FEES = Collection(tenant="kiosk", name="fees", sites_write=True)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return make_hub(tmp_path, NOTICES, FEES)


@pytest.fixture
def site(hub: Hub, tmp_path: Path) -> Site:
    return make_site(tmp_path, "site1", hub).join(FEES)


def outbox(site: Site) -> list[SignedOperation]:
    with site.store.reading() as reader:
        return [entry.operation for entry in reader.pending()]


def take(hub: Hub, operations: list[SignedOperation], site: str = "site1", now_ms: int = NOW) -> RelayReceipt:
    return asyncio.run(hub.relay.take(site, operations, now_ms))


def log(hub: Hub, collection: str = "notices") -> list[str]:
    return [str(version_of(each.operation).operation.dot) for each in hub.log.deltas.get(collection, [])]


def test_operations_are_in_the_log_once_and_in_order_however_often_they_come(hub: Hub, site: Site) -> None:
    for number in range(4):
        site.author.write("notices" if number != 1 else "fees", f"d{number}", text("x"), NOW)
    sent = outbox(site)
    assert take(hub, sent[:2]).outcome == "relayed"
    again = take(hub, sent)
    assert (again.outcome, again.taken) == ("relayed", 4)
    assert again.mark is not None
    assert again.mark.counter == 4
    assert take(hub, sent).outcome == "known"
    assert log(hub) == ["site1@1:1", "site1@1:3", "site1@1:4"]
    assert log(hub, "fees") == ["site1@1:2"]
    assert [each.position.index for each in hub.log.deltas["notices"]] == [1, 2, 3]


def test_a_hole_says_from_where_to_send(hub: Hub, site: Site) -> None:
    for number in range(3):
        site.author.write("notices", f"d{number}", text("x"), NOW)
    take(hub, outbox(site)[:1])
    receipt = take(hub, outbox(site)[2:])
    assert (receipt.outcome, receipt.taken) == ("hole", 0)
    assert receipt.mark is not None
    assert receipt.mark.counter == 1


def test_a_time_too_far_ahead_waits_and_is_relayed_when_it_has_come(hub: Hub, site: Site) -> None:
    site.author.write("notices", "d", text("x"), NOW + 61_000)
    assert take(hub, outbox(site)).outcome == "ahead"
    assert take(hub, outbox(site), now_ms=NOW + 2_000).outcome == "relayed"


def test_what_is_not_signed_or_not_the_site_s_to_share_is_refused(hub: Hub, site: Site) -> None:
    site.author.write("notices", "d", text("x"), NOW)
    [signed] = outbox(site)
    forged = msgspec.structs.replace(signed, payload=signed.payload.replace(b"Hours", b"Tours"))
    assert take(hub, [forged]).outcome == "refused"
    assert take(hub, [signed], site="site2").outcome == "refused"
    hub.store.put_collection(msgspec.structs.replace(NOTICES, sites_write=False))
    assert take(hub, [signed]).outcome == "refused"
    hub.store.put_collection(msgspec.structs.replace(NOTICES, owner="site"))
    assert take(hub, [signed]).outcome == "refused"
    assert log(hub) == []


def test_a_clone_is_fenced_and_stays_so(hub: Hub, site: Site, tmp_path: Path) -> None:
    clone = Author(ReplicaStore(tmp_path / "clone.db", "site1", "c" * 16), Keys("site1"))
    clone_store = clone._store
    clone_store.put_collection(NOTICES)
    site.author.write("notices", "d", text("x"), NOW)
    clone.write("notices", "e", text("y"), NOW)
    take(hub, outbox(site))
    with clone_store.reading() as reader:
        [entry] = reader.pending()
    assert take(hub, [entry.operation]).outcome == "fenced"
    site.author.write("notices", "d", text("z"), NOW)
    receipt = take(hub, outbox(site))
    assert receipt.outcome == "fenced"
    assert "backup or a clone" in receipt.reason
    assert log(hub) == ["site1@1:1"]


def test_two_relays_on_one_log_number_it_without_a_hole(hub: Hub, site: Site, tmp_path: Path) -> None:
    other_store = ReplicaStore(tmp_path / "other.db", "hub", "d" * 16)
    for each in (NOTICES, FEES):
        other_store.put_collection(each)
    other = Relay(other_store, hub.log, RING)
    for number in range(4):
        site.author.write("notices", f"d{number}", text("x"), NOW)
        turn = (hub.relay, other)[number % 2]
        assert asyncio.run(turn.take("site1", outbox(site), NOW)).outcome == "relayed"
    assert log(hub) == [f"site1@1:{number}" for number in range(1, 5)]
    assert asyncio.run(hub.relay.recover()) == 1, "the last, which the other wrote"
    assert hub.store.record("notices").checksum == other_store.record("notices").checksum


@pytest.mark.parametrize("part", [1, 2, 100])
@pytest.mark.parametrize("stored", range(4))
def test_a_hub_that_died_behind_the_log_goes_on_from_the_log(
    hub: Hub, site: Site, monkeypatch: pytest.MonkeyPatch, stored: int, part: int
) -> None:
    monkeypatch.setattr(relay, "PART", part)
    for number in range(3):
        site.author.write("notices", f"d{number}", text("x"), NOW)
    hub.log.crash_after = stored
    if stored < 3:
        with pytest.raises(ConnectionError):
            take(hub, outbox(site))
    hub.log.crash_after = None
    applied = 3 if stored == 3 else stored // part * part
    hub.store.close()
    again = Hub(hub.path, hub.log, hub.blobs, boot=1)
    assert asyncio.run(again.relay.recover()) == stored - applied
    receipt = take(again, outbox(site))
    assert receipt.taken == 3
    assert log(again) == ["site1@1:1", "site1@1:2", "site1@1:3"]
    assert again.store.record("notices").checksum.digest == site.checksum()


class BusyVerifier:
    """Checks for as long, where it is asked in a thread, as the log does not store what comes next."""

    def __init__(self) -> None:
        self.went_on = threading.Event()

    def is_signed(self, author: str, key_id: str, signed: SignedOperation, at_ms: int) -> bool:
        if threading.current_thread() is not threading.main_thread():
            assert self.went_on.wait(5.0), "nothing was stored meanwhile"
        return RING.is_signed(author, key_id, signed, at_ms)


class WatchedLog(MemoryLog):
    """Says when a second part is to be stored, and does not store it where it is to fail."""

    def __init__(self, went_on: threading.Event, fault: Exception | None = None) -> None:
        super().__init__()
        self._went_on = went_on
        self._fault = fault

    async def append(self, deltas: Sequence[CollectionDelta]) -> None:
        if deltas[0].position.index > 1:
            self._went_on.set()
            if self._fault is not None:
                raise self._fault
        await super().append(deltas)


@pytest.fixture
def in_two_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site has four operations to send, which the relay takes two by two."""
    monkeypatch.setattr(relay, "PART", 2)
    for number in range(4):
        site.author.write("notices", f"d{number}", text("x"), NOW)


@pytest.mark.usefixtures("in_two_parts")
def test_a_part_is_stored_while_the_one_before_it_is_applied(hub: Hub, site: Site) -> None:
    verifier = BusyVerifier()
    busy = Relay(hub.store, WatchedLog(verifier.went_on), verifier)
    assert asyncio.run(busy.take("site1", outbox(site), NOW)).taken == 4
    assert hub.store.record("notices").replica.position == LogPosition(1, 4)


@pytest.mark.usefixtures("in_two_parts")
def test_what_is_being_applied_is_whole_where_the_log_fails_meanwhile(hub: Hub, site: Site) -> None:
    verifier = BusyVerifier()
    failing = WatchedLog(verifier.went_on, ConnectionError("the server is gone"))

    async def fail() -> LogPosition | None:
        with pytest.raises(ConnectionError):
            await Relay(hub.store, failing, verifier).take("site1", outbox(site), NOW)
        return hub.store.record("notices").replica.position

    assert asyncio.run(fail()) == LogPosition(1, 2)
    hub.log.deltas = failing.deltas
    assert take(hub, outbox(site)).taken == 4
    assert log(hub) == [f"site1@1:{number}" for number in range(1, 5)]


def test_the_hub_s_own_edits_go_the_same_way(hub: Hub) -> None:
    hub.author.write("notices", "a", text("x"), NOW)
    assert asyncio.run(hub.relay.take_own(NOW)) == 1
    assert asyncio.run(hub.relay.take_own(NOW)) == 0
    assert log(hub) == ["hub@1:1"]
    with hub.store.reading() as reader:
        assert reader.pending() == ()


def test_what_a_site_offers_is_checked_like_everything_else(hub: Hub, site: Site) -> None:
    site.author.write("notices", "a", text("x"), NOW)
    with site.store.reading() as reader:
        document = document_of("a", reader.held("notices", "a"))
    [signed] = document.operations
    forged = type(document)("a", document.context, (msgspec.structs.replace(signed, signature=bytes(64)),))
    with pytest.raises(UntrustedOperationError):
        offer(hub, forged)
    assert offer(hub, document) == 1
    assert offer(hub, document) == 0
    assert take(hub, outbox(site)).outcome == "known"


def offer(hub: Hub, document: object) -> int:
    offered = HeldDocuments(tenant="kiosk", collection="notices", documents=(document,))  # type: ignore[arg-type]
    return asyncio.run(hub.relay.absorb(offered, NOW))


def test_a_hub_that_lost_log_and_disk_gets_back_what_its_sites_hold(hub: Hub, tmp_path: Path) -> None:
    first, second = (make_site(tmp_path, name, hub) for name in ("site1", "site2"))
    for number in range(6):
        (first, second)[number % 2].author.write("notices", f"d{number}", text(f"x{number}"), NOW)
        for site in (first, second):
            asyncio.run(site.send(hub))
    for site in (first, second):
        asyncio.run(site.follower.follow("notices"))
    new = make_hub(tmp_path / "new")
    for site in (first, second):
        site.origin.hub = new
        with pytest.raises(OriginRolledBackError):
            asyncio.run(site.follower.follow("notices"))
    assert asyncio.run(new.relay.begin_epoch("notices", above=1)) == LogPosition(2)
    asyncio.run(new.snapshot())
    for site in (first, second, first):
        asyncio.run(site.follower.follow("notices"))
        asyncio.run(site.repairer.repair("notices"))
    for site in (first, second):
        site.author.write("notices", site.name, text("and on it goes"), NOW)
        assert asyncio.run(site.send(new)) == "relayed"
    for site in (first, second):
        asyncio.run(site.follower.follow("notices"))
        assert site.checksum() == new.store.record("notices").checksum.digest
        assert len(site.texts()) == 8


def test_the_log_is_asked_where_it_ends_and_not_believed_blindly(hub: Hub, site: Site) -> None:
    site.author.write("notices", "a", text("x"), NOW)
    take(hub, outbox(site))
    [delta] = hub.log.deltas["notices"]
    with pytest.raises(LogConflictError):
        asyncio.run(hub.log.append([delta]))


def test_a_forgotten_tombstone_resurrects_nothing_and_its_name_can_be_used_again(hub: Hub, tmp_path: Path) -> None:
    first, late = (make_site(tmp_path, name, hub) for name in ("site1", "site2"))
    for name in ("gone", "kept"):
        first.author.write("notices", name, text("x"), NOW)
    asyncio.run(first.send(hub))
    asyncio.run(late.follower.follow("notices"))
    first.author.delete("notices", "gone", NOW)
    asyncio.run(first.send(hub))
    with hub.store.reading() as reader:
        stable = reader.held("notices", "gone").siblings.clock
    asyncio.run(hub.relay.begin_epoch("notices", above=1, stable=stable))
    asyncio.run(hub.snapshot())
    assert hub.store.record("notices").documents == 1
    before = late.store.record("notices").generation
    for site in (first, late):
        asyncio.run(site.follower.follow("notices"))
        assert site.texts() == {"kept": "x"}
        assert site.checksum() == hub.store.record("notices").checksum.digest
    assert late.store.changes_since("notices", before).is_complete, "what went is named nowhere"
    late.author.write("notices", "gone", text("new"), NOW)
    assert asyncio.run(late.send(hub)) == "relayed"
    asyncio.run(first.follower.follow("notices"))
    [document] = [each for each in first.store.changes_since("notices", 0).documents if each.document_id == "gone"]
    assert document.resolved.content is not None
    assert document.resolved.conflict is None
