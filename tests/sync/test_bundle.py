"""A site without a link is filled by a file; a file that was cut or changed fills nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.sync_parts import NOW, RING, Hub, Site, make_hub, make_site, text
from tidegate.schemas import DocumentsRequest, LogPosition, encode
from tidegate.sync.bundle import BundleAloneError, BundleClient, BundleRefusedError, write_bundle
from tidegate.sync.follower import Follower


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return make_hub(tmp_path)


def export(hub: Hub, path: Path) -> Path:
    """30 documents in the snapshot, 5 behind it."""
    for number in range(30):
        hub.author.write("notices", f"d{number}", text("x" * 100), NOW)
    manifest = asyncio.run(hub.snapshot(chunk_bytes=2048))
    for number in range(25, 35):
        hub.author.write("notices", f"d{number}", text("y" * 100), NOW)
    asyncio.run(hub.relay.take_own(NOW))
    head = hub.state.head("site1", "notices", NOW, first=31, tail_bytes=5000)
    chunks = [hub.blobs.chunks["notices", each.digest] for each in manifest.chunks]
    write_bundle(path, head, encode(manifest), chunks, hub.log.deltas["notices"][30:])
    return path


def follow(site: Site, path: Path) -> LogPosition:
    return asyncio.run(Follower(site.store, BundleClient(path), RING).follow("notices"))


def test_a_file_fills_a_site_and_the_link_goes_on_from_there(hub: Hub, tmp_path: Path) -> None:
    path, site = export(hub, tmp_path / "notices.bundle"), make_site(tmp_path, "site1", hub)
    assert follow(site, path) == LogPosition(1, 40)
    assert site.checksum() == hub.store.record("notices").checksum.digest
    assert follow(site, path) == LogPosition(1, 40)
    hub.author.write("notices", "later", text("over the link"), NOW)
    asyncio.run(hub.relay.take_own(NOW))
    asyncio.run(site.follower.follow("notices"))
    assert site.texts()["later"] == "over the link"
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_a_file_that_was_cut_is_refused(hub: Hub, tmp_path: Path, share: float) -> None:
    path = export(hub, tmp_path / "notices.bundle")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(BundleRefusedError):
        BundleClient(path)


def test_a_file_with_one_changed_bit_is_refused(hub: Hub, tmp_path: Path) -> None:
    path = export(hub, tmp_path / "notices.bundle")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleRefusedError):
        BundleClient(path)


def test_a_file_is_of_one_collection_and_answers_no_comparison(hub: Hub, tmp_path: Path) -> None:
    client = BundleClient(export(hub, tmp_path / "notices.bundle"))
    with pytest.raises(BundleRefusedError):
        asyncio.run(client.head("fees"))
    with pytest.raises(BundleAloneError):
        asyncio.run(client.documents(DocumentsRequest(tenant="kiosk", collection="notices", document_ids=("d1",))))
