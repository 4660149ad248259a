"""What is written is signed, counted and stored in one step; who may not write, or is a clone, writes nothing."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import msgspec
import pytest

from tests.support.sync_parts import NOTICES, NOW, Hub, Keys, Site, make_hub, make_site, text
from tidegate.schemas import Collection
from tidegate.sync.author import Author, AuthorFencedError, DocumentTooLargeError
from tidegate.sync.reader import CollectionUnknownError
from tidegate.sync.rules.counters import CounterWentBackError
from tidegate.sync.rules.ownership import NotOwnedError

OWN = Collection(tenant="kiosk", name="private", owner="site")


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return make_hub(tmp_path)


@pytest.fixture
def site(hub: Hub, tmp_path: Path) -> Site:
    return make_site(tmp_path, "site1", hub)


def pending(site: Site) -> int:
    with site.store.reading() as reader:
        return len(reader.pending())


def test_an_edit_replaces_what_was_seen_and_follows_the_operation_before(site: Site) -> None:
    first = site.author.write("notices", "hours", text("until six"), NOW)
    second = site.author.write("notices", "hours", text("until seven"), NOW)
    assert second.operation.previous == first.digest
    assert dict(second.operation.context.counters) == {"site1@1": 1}
    assert second.operation.time > first.operation.time
    assert second.operation.content is not None
    assert set(second.operation.content.stamps) == {"language", "title"}, "the text is the edit's own"
    with site.store.reading() as reader:
        assert [each.digest for each in reader.held("notices", "hours").siblings.versions] == [second.digest]
    assert pending(site) == 2


def test_deleting_leaves_a_tombstone_and_deleting_it_again_nothing(site: Site) -> None:
    site.author.write("notices", "hours", text("until six"), NOW)
    assert site.author.delete("notices", "hours", NOW) is not None
    assert site.author.delete("notices", "hours", NOW) is None
    assert site.author.delete("notices", "never", NOW) is None
    with site.store.reading() as reader:
        assert reader.held("notices", "hours").siblings.is_deleted
    assert pending(site) == 2


def test_a_document_that_fits_no_message_is_refused_and_counts_nothing(site: Site) -> None:
    with pytest.raises(DocumentTooLargeError):
        site.author.write("notices", "long", text("x" * 1_000_001), NOW)
    assert site.author.write("notices", "short", text("x"), NOW).operation.dot.counter == 1


def test_who_may_not_write_stores_nothing(hub: Hub, site: Site) -> None:
    hub.store.put_collection(OWN)
    site.store.put_collection(msgspec.structs.replace(NOTICES, sites_write=False))
    with pytest.raises(NotOwnedError):
        hub.author.write("private", "d", text("x"), NOW)
    with pytest.raises(NotOwnedError):
        site.author.write("notices", "d", text("x"), NOW)
    with pytest.raises(CollectionUnknownError):
        site.author.write("unknown", "d", text("x"), NOW)
    assert pending(site) == 0


def test_what_stays_at_its_site_is_in_no_outbox_and_breaks_no_chain(hub: Hub, site: Site) -> None:
    site.store.put_collection(OWN)
    site.author.write("notices", "a", text("x"), NOW)
    site.author.write("private", "b", text("secret"), NOW)
    site.author.write("notices", "c", text("y"), NOW)
    assert site.texts("private") == {"b": "secret"}
    assert asyncio.run(site.send(hub)) == "relayed"
    assert hub.store.record("notices").documents == 2


def test_a_restored_backup_writes_again_as_its_next_incarnation_and_loses_nothing(hub: Hub, tmp_path: Path) -> None:
    site, other = make_site(tmp_path, "site1", hub), make_site(tmp_path, "site2", hub)
    site.author.write("notices", "a", text("before the backup"), NOW)
    asyncio.run(site.send(hub))
    site.store.close()
    shutil.copytree(site.path, tmp_path / "backup")
    site = Site(site.path, "site1", site.origin, boot=1)
    site.author.write("notices", "b", text("lost with the disk, but relayed"), NOW)
    asyncio.run(site.send(hub))
    site.store.close()
    shutil.rmtree(site.path)
    shutil.copytree(tmp_path / "backup", site.path)

    site = Site(site.path, "site1", site.origin, boot=2)
    site.author.write("notices", "b", text("written offline"), NOW)
    site.author.write("notices", "b", text("written offline, better"), NOW)
    site.author.write("notices", "c", text("written too"), NOW)
    assert asyncio.run(site.send(hub)) == "fenced"
    with pytest.raises(CounterWentBackError):
        asyncio.run(site.follower.follow("notices"))
    with pytest.raises(AuthorFencedError):
        site.author.write("notices", "d", text("x"), NOW)
    granted = hub.relay.grant_incarnation("site1")
    again = site.author.readmit(granted, hub.relay.mark_of("site1@1"), NOW)
    assert [str(each.operation.dot) for each in again] == [f"site1@{granted}:{number}" for number in (1, 2, 3)]
    site.follower.note("notices", "readmitted")
    asyncio.run(hub.snapshot())
    asyncio.run(site.follower.follow("notices"))
    assert asyncio.run(site.send(hub)) == "relayed"
    for each in (site, other):
        asyncio.run(each.follower.follow("notices"))
    assert site.checksum() == other.checksum() == hub.store.record("notices").checksum.digest
    with other.store.reading() as reader:
        versions = reader.held("notices", "b").siblings.versions
    contents = {each.operation.content.text for each in versions if each.operation.content}
    assert contents == {"lost with the disk, but relayed", "written offline, better"}
    assert other.texts()["c"] == "written too"


def test_the_hub_s_mark_tells_a_disk_that_it_is_old(site: Site) -> None:
    version = site.author.write("notices", "a", text("x"), NOW)
    with site.store.reading() as reader:
        mark = reader.mark("notices", "site1@1")
    assert mark is not None
    site.author.learn(msgspec.structs.replace(mark, counter=7, digest=version.digest))
    with pytest.raises(CounterWentBackError):
        site.author.write("notices", "a", text("y"), NOW)
    with pytest.raises(AuthorFencedError):
        Author(site.store, Keys("site1")).write("notices", "a", text("y"), NOW)


def test_many_documents_are_written_together_or_not_at_all(site: Site) -> None:
    with pytest.raises(DocumentTooLargeError):
        site.author.write_all("notices", {"a": text("x"), "b": text("x" * 1_000_001)}, NOW)
    assert pending(site) == 0
    first, second = site.author.write_all("notices", {"a": text("x"), "b": text("y")}, NOW)
    assert (first.operation.dot.counter, second.operation.dot.counter) == (1, 2)
    assert second.operation.previous == first.digest


def test_a_restored_disk_that_joins_a_snapshot_is_fenced_by_its_marks(hub: Hub, tmp_path: Path) -> None:
    site = make_site(tmp_path, "site1", hub)
    site.author.write("notices", "a", text("x"), NOW)
    asyncio.run(site.send(hub))
    asyncio.run(hub.snapshot())
    old = make_site(tmp_path / "old", "site1", hub)
    asyncio.run(hub.relay.begin_epoch("notices", 1))
    asyncio.run(hub.snapshot())
    with pytest.raises(CounterWentBackError):
        asyncio.run(old.follower.follow("notices"))
    assert old.store.record("notices").replica.state == "fenced"
    with pytest.raises(AuthorFencedError):
        old.author.write("notices", "a", text("y"), NOW)
