"""The hub's repository over real object stores: whole at the sites it is for, resumed after a cut, and tidied up."""

from __future__ import annotations

import asyncio
import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.nats_fleet import until
from tests.support.trust_hub import POLICY, describe
from tests.support.trust_link import (
    NOTICES,
    TENANT,
    LinkedHub,
    linked_hub,
    machine_now,
    refreshed,
    stores_of,
    wall_ms,
)
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas import LogPosition, SnapshotManifest
from tidegate.schemas.sync import SnapshotChunk
from tidegate.sync.shells.repository_link import RepositoryUploader
from tidegate.sync.shells.repository_objects import locate_chunks
from tidegate.sync.shells.snapshot_link import RepositorySnapshots, TargetSnapshots
from tidegate.sync.trust.faults import (
    BlobMissingError,
    MixedUpTargetError,
    SourceUnavailableError,
    TamperedChunkError,
)
from tidegate.sync.trust.targets import KEYS, snapshot_path

pytestmark = pytest.mark.anyio
COLLECTION = "branch-notices"
TWO = sha256(b"two").hexdigest()
SNAPSHOT = snapshot_path(TENANT, COLLECTION)


async def publish(hub: LinkedHub, data: bytes, epoch: int = 1, name: str = "default") -> None:
    file = hub.directory / "file"
    file.write_bytes(data)
    await hub.repository.publish_file(describe(data, epoch, name=name), file)


async def write_snapshot(hub: LinkedHub, chunks: list[bytes], index: int) -> SnapshotManifest:
    """A snapshot as `sync.snapshots` writes it: chunk by chunk, the manifest last."""
    writer = RepositorySnapshots(hub.repository, TENANT)
    named = []
    for data in chunks:
        named.append(SnapshotChunk(sha256(data).hexdigest(), len(data)))
        await writer.put(COLLECTION, named[-1].digest, data)
    manifest = SnapshotManifest(
        tenant=TENANT,
        collection=COLLECTION,
        position=LogPosition(1, index),
        checksum="0" * 64,
        root="0" * 64,
        documents=index,
        size=sum(map(len, chunks)),
        chunks=tuple(named),
    )
    await writer.publish(manifest)
    return manifest


async def test_what_is_published_reaches_a_site_over_its_mirror(tmp_path: Path) -> None:
    async with linked_hub(tmp_path) as hub:
        await hub.repository.publish_register()
        data = os.urandom(1_300_000)
        await publish(hub, data)
        client = hub.client()
        generation = await refreshed(client, POLICY)
        fetched = await client.fetch(POLICY)
        assert fetched.file is not None
        assert fetched.file.read_bytes() == data
        assert KEYS in generation.targets
        await client.keyring()
        key = hub.trust.keys.generate("timestamp", "hub", wall_ms())
        hub.trust.repository.rotate("timestamp", key, hub.trust.signers(), wall_ms())  # as `tidegate keys` does
        keeping = asyncio.create_task(hub.repository.keep(60.0))
        before = generation.version

        async def is_later() -> bool:
            return (await client.refresh(machine_now())).version > before + 1  # the exchange, and the renewal

        await until(is_later)
        keeping.cancel()
        assert hub.repository.fault == ""


async def test_a_site_has_only_what_its_filters_let_through(tmp_path: Path) -> None:
    granted = {"site1": NOTICES, "site2": Downlink(tenants=(TENANT,)), "site3": Downlink(tenants=("other",))}
    async with linked_hub(tmp_path, granted, (TENANT, "other")) as hub:
        manifest = await write_snapshot(hub, [b"one", b"two"], 2)
        await publish(hub, b"policy: strict\n")
        one, two = hub.client("site1"), hub.client("site2")
        await refreshed(one, SNAPSHOT)
        await refreshed(two, SNAPSHOT)
        await refreshed(hub.client("site3", hub.source("site3", ("other",))), POLICY)
        source = TargetSnapshots(one, hub.source("site1"), TENANT)

        async def is_whole() -> bool:  # the index may come behind the metadata that names it
            with contextlib.suppress(SourceUnavailableError):
                return bool(await source.snapshot(COLLECTION) and await source.chunk(COLLECTION, TWO))
            return False

        await until(is_whole)
        assert await source.snapshot(COLLECTION) == manifest
        assert await source.snapshot("nothing") is None
        assert [await source.chunk(COLLECTION, chunk.digest) for chunk in manifest.chunks] == [b"one", b"two"]
        other = TargetSnapshots(two, hub.source("site2"), TENANT)
        assert await other.snapshot(COLLECTION) is None
        with pytest.raises(SourceUnavailableError, match="on its way"):
            await other.chunk(COLLECTION, TWO)
        assert await two.fetch(POLICY)
        names = [info.name for info in await stores_of(hub.sites["site3"])["policy"].list_objects()]
        assert names
        assert all(name.startswith("other.metadata.") for name in names)


async def test_a_chunk_is_known_by_the_manifest_that_was_read_before_it(tmp_path: Path) -> None:
    async with linked_hub(tmp_path) as hub:
        await publish(hub, b"policy: strict\n")
        client = hub.client()
        await refreshed(client, POLICY)
        digest = describe(b"policy: strict\n").digest
        with pytest.raises(BlobMissingError, match="no manifest"):
            await hub.source().read(f"chunks/{digest}", 0, 100)
        for name in ("targets/other/kind/0.name", "../keys", "metadata/7.root.json"):
            with pytest.raises(BlobMissingError):
                await hub.source().read(name, 0, 100)


async def test_an_upload_that_was_cut_is_ended_by_the_next_process(tmp_path: Path) -> None:
    async with linked_hub(tmp_path) as hub:
        hub.trust.publish(b"policy: strict\n", now_ms=wall_ms())  # nothing of it is in the stores
        hub.trust.publish_snapshot(os.urandom(3000), index=7, chunk_bytes=1000, now_ms=wall_ms())
        stores = stores_of(hub.bus)
        for _ in range(2):
            uploader = RepositoryUploader(hub.trust.repository, stores, (TENANT,))
            await uploader.upload()
            await uploader.upload_bulk()
        assert await RepositoryUploader(hub.trust.repository, stores, (TENANT,)).upload_bulk() == 0
        client = hub.client()
        await refreshed(client, SNAPSHOT)

        async def is_fetched() -> bool:
            try:
                return bool(await client.fetch(SNAPSHOT))
            except BlobMissingError:  # the site's mirror is behind the hub's store
                return False

        await until(is_fetched)
        assert await client.fetch(POLICY)


def age(hub: LinkedHub, but: bytes) -> None:
    """Have all chunks but this one been stored long ago, and all that was withdrawn been withdrawn then."""
    for chunk in (hub.trust.files / "chunks").iterdir():
        if chunk.read_bytes() != but:
            os.utime(chunk, (0, 0))
    withdrawn = hub.trust.files / "withdrawn.json"
    withdrawn.write_bytes(msgspec.json.encode(dict.fromkeys(msgspec.json.decode(withdrawn.read_bytes()), 0)))


async def test_what_no_target_names_is_deleted_everywhere_and_what_is_named_stays(tmp_path: Path) -> None:
    async with linked_hub(tmp_path) as hub:
        for epoch in range(1, 4):
            await publish(hub, b"policy: %d\n" % epoch, epoch)
            await publish(hub, b"the same", epoch, name="other")
        old = await write_snapshot(hub, [b"one", b"two"], 2)
        new = await write_snapshot(hub, [b"two", b"three"], 3)
        await RepositorySnapshots(hub.repository, TENANT).put(COLLECTION, sha256(b"next").hexdigest(), b"next")
        assert await hub.repository.collect(kept_ms=60_000) == 0
        client = hub.client()
        await refreshed(client, SNAPSHOT)
        assert await client.fetch(POLICY)
        gone = {old.chunks[0].digest, describe(b"policy: 1\n").digest, describe(b"policy: 2\n").digest}
        age(hub, but=b"next")  # what is in the making was stored lately
        assert await hub.repository.collect(kept_ms=60_000) > 0
        left = {path.name for path in (hub.trust.files / "chunks").iterdir()}
        assert not left & gone
        assert {chunk.digest for chunk in new.chunks} | {sha256(b"next").hexdigest()} <= left
        site = stores_of(hub.sites["site1"])

        async def is_gone() -> bool:
            found = [info.name for bucket in ("policy", "index") for info in await site[bucket].list_objects()]
            return not any(digest in name for digest in gone for name in found)

        await until(is_gone)
        await hub.repository.renew()
        again = hub.client("site1b", hub.source())
        await refreshed(again, SNAPSHOT)
        snapshots = TargetSnapshots(again, hub.source(), TENANT)

        async def is_newest() -> bool:
            return await snapshots.snapshot(COLLECTION) == new

        await until(is_newest)
        for path in (POLICY, SNAPSHOT, "artefacts/kiosk/policy/other"):
            assert (await again.fetch(path)).file is not None
        for _ in range(9):
            await hub.repository.publish([])
        await hub.repository.collect()
        assert len(hub.trust.metadata()) <= 2 + 2 * 8 + 1


async def test_a_writer_takes_only_what_is_its_own(tmp_path: Path) -> None:
    async with linked_hub(tmp_path) as hub:
        manifest = await write_snapshot(hub, [b"one"], 1)
        with pytest.raises(TamperedChunkError):
            await RepositorySnapshots(hub.repository, TENANT).put(COLLECTION, manifest.chunks[0].digest, b"two")
        with pytest.raises(MixedUpTargetError):
            await RepositorySnapshots(hub.repository, "other").publish(manifest)


async def test_of_two_that_put_the_same_one_does_and_who_is_ended_leaves_nothing_running(tmp_path: Path) -> None:
    async with linked_hub(tmp_path) as hub:
        data = os.urandom(200_000)
        file = hub.directory / "chunk"
        file.write_bytes(data)
        stored = await asyncio.to_thread(lambda: hub.repository.repository.store(file.open("rb")))
        puts = 0
        begun = asyncio.Event()
        uploader = hub.repository._uploader
        store = uploader._stores[locate_chunks(SNAPSHOT, stored.chunks).popitem()[1].bucket]
        put = store.put

        async def counted(name: str, given: Any) -> Any:
            nonlocal puts
            puts += 1
            begun.set()
            return await put(name, given)

        store.put = counted  # type: ignore[method-assign, assignment]
        before = asyncio.all_tasks()
        ended = asyncio.create_task(uploader.put_chunks(SNAPSHOT, stored.chunks))
        await begun.wait()
        ended.cancel()
        await asyncio.wait([ended])
        assert asyncio.all_tasks() == before
        puts = 0
        await asyncio.gather(*(uploader.put_chunks(SNAPSHOT, stored.chunks) for _ in range(2)))
        assert puts == len(stored.chunks)
