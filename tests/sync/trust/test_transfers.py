"""A transfer that was cut or damaged goes on behind its last good chunk, and nothing else is used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.trust_hub import NOW, POLICY, TrustHub, at
from tidegate.schemas import SnapshotManifest
from tidegate.sync.trust.client import NotProvisionedError, RepositoryClient
from tidegate.sync.trust.faults import (
    BlobMissingError,
    MalformedMetadataError,
    SourceUnavailableError,
    TamperedChunkError,
    UnknownTargetError,
)
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.sources import DirectorySource

pytestmark = pytest.mark.anyio
KEPT = b"policy: strict\n"
SNAPSHOT = "snapshots/kiosk/branch-notices"


class CutSource:
    """A directory that can be read until `left` reads are used up."""

    def __init__(self, directory: Path, left: int) -> None:
        self._whole = DirectorySource(directory)
        self.left = left
        self.names: list[str] = []

    async def read(self, name: str, offset: int, size: int) -> bytes:
        if self.left <= 0:
            raise SourceUnavailableError("the link is down")
        self.left -= 1
        self.names.append(name)
        return await self._whole.read(name, offset, size)


@pytest.fixture
def hub(tmp_path: Path) -> TrustHub:
    return TrustHub(tmp_path / "hub")


async def test_bytes_that_a_disk_changed_are_not_used_and_are_fetched_anew(hub: TrustHub, tmp_path: Path) -> None:
    hub.publish(KEPT)
    client = hub.client(tmp_path / "site")
    holdings = Holdings(tmp_path / "site", client.blobs)
    generation = await client.refresh(at(NOW))
    file = (await client.fetch(POLICY)).file
    assert file is not None
    holdings.activate(POLICY, generation)
    file.write_bytes(b"policy: lenien\n")
    with pytest.raises(TamperedChunkError, match="changed after"):
        holdings.file(POLICY)
    with pytest.raises(UnknownTargetError):
        holdings.file("artefacts/kiosk/policy/other")
    await client.fetch(POLICY)
    assert holdings.file(POLICY).read_bytes() == KEPT
    (tmp_path / "site" / "generation.msgpack").write_bytes(b"\x90")
    with pytest.raises(MalformedMetadataError, match="damaged"):
        client.generation()
    assert await client.refresh(at(NOW)) == generation


@pytest.mark.parametrize("cut_after", range(1, 11))
async def test_a_transfer_that_was_cut_goes_on_behind_its_last_good_chunk(
    hub: TrustHub, tmp_path: Path, cut_after: int
) -> None:
    data = os.urandom(1000)
    hub.publish_snapshot(data, index=7, chunk_bytes=100)
    source = CutSource(hub.files, left=100)
    client = RepositoryClient(tmp_path / "site", source)
    client.provision(hub.root)
    await client.refresh(at(NOW))
    source.left, source.names = cut_after, []
    with pytest.raises(SourceUnavailableError):
        await client.fetch(SNAPSHOT)
    assert not [path for path in client.blobs.glob("*") if path.suffix != ".part"] or cut_after == 11
    source.left = 100
    fetched = await client.fetch(SNAPSHOT)
    assert isinstance(fetched.manifest, SnapshotManifest)
    assert fetched.file is not None
    assert fetched.file.read_bytes() == data
    chunks = [name for name in source.names if name.startswith("chunks/")]
    assert len(chunks) == len(set(chunks)) == 10
    source.names = []
    await client.fetch(SNAPSHOT)
    assert not [name for name in source.names if name.startswith("chunks/")]


async def test_a_part_that_was_damaged_is_kept_up_to_its_first_wrong_chunk(hub: TrustHub, tmp_path: Path) -> None:
    data = os.urandom(1000)
    hub.publish_snapshot(data, index=7, chunk_bytes=100)
    source = CutSource(hub.files, left=100)
    client = RepositoryClient(tmp_path / "site", source)
    client.provision(hub.root)
    await client.refresh(at(NOW))
    source.left = 8
    with pytest.raises(SourceUnavailableError):
        await client.fetch(SNAPSHOT)
    (part,) = client.blobs.glob("*.part")
    held = bytearray(part.read_bytes())
    held[350] ^= 1
    part.write_bytes(bytes(held))
    source.left, source.names = 100, []
    fetched = await client.fetch(SNAPSHOT)
    assert fetched.file is not None
    assert fetched.file.read_bytes() == data
    assert len([name for name in source.names if name.startswith("chunks/")]) == 7


async def test_a_source_that_does_not_answer_is_given_up(hub: TrustHub, tmp_path: Path) -> None:
    client = RepositoryClient(tmp_path / "site", CutSource(hub.files, left=2))
    client.provision(hub.root)
    with pytest.raises(SourceUnavailableError, match="link is down"):
        await client.refresh(at(NOW))
    with pytest.raises(NotProvisionedError):
        client.generation()
    with pytest.raises(BlobMissingError, match="no name"):
        await DirectorySource(hub.files).read("../keys/register.json", 0, 10)
