"""Drift is found with kilobytes, repaired where it is and nowhere else, and its cause is named."""

from __future__ import annotations

import asyncio
import sqlite3
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.sync_parts import NOW, RING, DirectClient, Hub, Site, make_hub, make_site, text
from tidegate.schemas import RangeReply, RangeRequest
from tidegate.schemas.comparison import MOST_RANGES
from tidegate.sync.records import DocumentDamagedError
from tidegate.sync.repair import ComparisonMovedError, Repairer, ResyncCheaperError
from tidegate.sync.rules.drift import RepairReport

COUNT = 300


class CountingClient(DirectClient):
    """Remembers how many ranges each request asked for."""

    def __init__(self, hub: Hub, site: str) -> None:
        super().__init__(hub, site)
        self.asked: list[int] = []

    async def ranges(self, request: RangeRequest) -> RangeReply:
        self.asked.append(len(request.ranges))
        return await super().ranges(request)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Hub, Site]:
    path = tmp_path_factory.mktemp("pair")
    hub = make_hub(path)
    for number in range(COUNT):
        hub.author.write("notices", f"d{number}", text(f"text of {number}"), NOW)
    asyncio.run(hub.relay.take_own(NOW))
    site = make_site(path, "site1", hub)
    asyncio.run(site.follower.follow("notices"))
    return hub, site


def damage(site: Site, statement: str, *values: object) -> None:
    """What the disk, or somebody, does to the file behind the store's back."""
    with sqlite3.connect(site.path / "sync.db") as disk:
        disk.execute(statement, values)
    disk.close()


def stored(site: Site, document_id: str) -> bytes:
    with sqlite3.connect(site.path / "sync.db") as disk:
        [(content,)] = disk.execute("SELECT content FROM documents WHERE document_id = ?", (document_id,)).fetchall()
    disk.close()
    return bytes(content)


def repair(pair: tuple[Hub, Site]) -> RepairReport:
    hub, site = pair
    site.store.scrub("notices")
    report = asyncio.run(site.repairer.repair("notices"))
    assert site.checksum() == hub.store.record("notices").checksum.digest
    assert site.texts()["d7"] == "text of 7"
    assert site.store.record("notices").replica.state in ("following", "lagging")
    return report


def test_nothing_differs_and_one_exchange_says_so(pair: tuple[Hub, Site]) -> None:
    report = repair(pair)
    assert report.documents == {}
    assert report.bytes_on_wire < 1000


def test_a_flipped_byte_is_the_disk_s_doing(pair: tuple[Hub, Site]) -> None:
    _, site = pair
    content = stored(site, "d7").replace(b"text of 7", b"test of 7")
    damage(site, "UPDATE documents SET content = ? WHERE document_id = 'd7'", content)
    with pytest.raises(DocumentDamagedError):
        site.store.changes_since("notices", 0)
    report = repair(pair)
    assert report.documents == {"disk": ("d7",)}
    assert report.bytes_on_wire < 8192
    assert repair(pair).documents == {}


def test_what_somebody_wrote_with_its_checksum_is_named_a_tampering(pair: tuple[Hub, Site]) -> None:
    _, site = pair
    content = stored(site, "d7").replace(b"text of 7", b"test of 7")
    damage(
        site,
        "UPDATE documents SET content = ?, checksum = ? WHERE document_id = 'd7'",
        content,
        sha256(content).digest(),
    )
    assert repair(pair).documents == {"tamper": ("d7",)}


def test_documents_that_are_gone_were_lost_on_their_way(pair: tuple[Hub, Site]) -> None:
    _, site = pair
    damage(site, "DELETE FROM documents WHERE document_id IN ('d7', 'd8')")
    assert repair(pair).documents == {"lost-delta": ("d7", "d8")}


def test_a_damaged_document_is_not_edited_before_it_is_repaired(pair: tuple[Hub, Site]) -> None:
    hub, site = pair
    damage(site, "UPDATE documents SET content = ? WHERE document_id = 'd9'", b"\x00")
    with pytest.raises(DocumentDamagedError):
        site.author.write("notices", "d9", text("x"), NOW)
    hub.author.write("notices", "d9", text("y"), NOW)
    asyncio.run(hub.relay.take_own(NOW))
    asyncio.run(site.follower.follow("notices"))
    # Readable again, but perhaps not all of it: an edit would cover unseen what its author had written before.
    with pytest.raises(DocumentDamagedError):
        site.author.write("notices", "d9", text("x"), NOW)
    with pytest.raises(DocumentDamagedError):
        site.author.delete("notices", "d9", NOW)
    repair(pair)


def test_many_differences_are_asked_for_in_requests_of_a_bounded_size(pair: tuple[Hub, Site]) -> None:
    hub, site = pair
    client = CountingClient(hub, "site1")
    damage(site, "DELETE FROM documents")
    site.store.scrub("notices")
    report = asyncio.run(Repairer(site.store, client, RING).repair("notices"))
    assert len(report.documents["lost-delta"]) == hub.store.record("notices").documents
    assert max(client.asked) == MOST_RANGES
    assert repair(pair).documents == {}


def test_where_a_snapshot_is_cheaper_the_replica_is_restored(pair: tuple[Hub, Site]) -> None:
    hub, site = pair
    manifest = asyncio.run(hub.snapshot())
    asyncio.run(site.follower.follow("notices"))
    damage(site, "UPDATE documents SET content = ?", b"\x00")
    site.store.scrub("notices")
    with pytest.raises(ResyncCheaperError):
        asyncio.run(site.repairer.repair("notices", manifest))
    assert site.store.record("notices").replica.state == "restoring"
    asyncio.run(site.follower.follow("notices"))
    assert repair(pair).documents == {}


def test_what_holds_nothing_yet_is_compared_like_anything_else(tmp_path: Path) -> None:
    site = make_site(tmp_path, "site1", make_hub(tmp_path))
    asyncio.run(site.follower.follow("notices"))
    assert asyncio.run(site.repairer.repair("notices")).documents == {}


def test_two_positions_are_not_compared(pair: tuple[Hub, Site]) -> None:
    hub, site = pair
    hub.author.write("notices", "d300", text("new"), NOW)
    asyncio.run(hub.relay.take_own(NOW))
    with pytest.raises(ComparisonMovedError):
        asyncio.run(site.repairer.repair("notices"))
    asyncio.run(site.follower.follow("notices"))
    repair(pair)
