"""Objects over the leaf: read from the local mirror, across cuts, at a rate, and never other bytes than were put."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.support.nats_fleet import Linked, arrived, count, linked, until
from tidegate.brokers.jetstream.api import call
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.jetstream.objects import JetStreamObjectStore
from tidegate.brokers.objects import ObjectDamagedError, ObjectIncompleteError, ObjectInfo, ObjectNotFoundError
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.topology.downlink import Downlink
from tidegate.schemas.subjects import object_description

pytestmark = pytest.mark.anyio

CHUNK = 100_000
NAME = "kiosk.faq.snapshot-7"
FAQ = Downlink(tenants=("kiosk",), collections=(("kiosk", "faq"),))
SLOW = Downlink(tenants=("kiosk",), rates={"weights": 16_000_000})


@contextlib.asynccontextmanager
async def store_at(server: Server, bucket: str = "index") -> AsyncIterator[JetStreamObjectStore]:
    async with JetStreamBus.open(server.nats, server.name) as bus:
        yield JetStreamObjectStore(bus.link, bus.publisher, bucket, chunk_bytes=CHUNK)


@contextlib.asynccontextmanager
async def stores(all_: Linked) -> AsyncIterator[tuple[JetStreamObjectStore, JetStreamObjectStore]]:
    async with store_at(all_.fleet.hub) as hub, store_at(all_.fleet.sites["site1"]) as site:
        yield hub, site


async def described(store: JetStreamObjectStore, name: str) -> ObjectInfo:
    """The object, once its description is in the mirror; its chunks came before it."""

    async def is_there() -> bool:
        with contextlib.suppress(ObjectNotFoundError):
            return bool(await store.info(name))
        return False

    await until(is_there)
    return await store.info(name)


async def test_a_site_reads_its_mirror_and_gets_what_is_deleted_deleted(tmp_path: Path) -> None:
    data = bytes(range(250)) * 4000
    async with linked(tmp_path, ["site1"], {"site1": FAQ}) as all_, stores(all_) as (hub, site):
        await hub.put(NAME, data)
        await hub.put("kiosk.rates.snapshot-1", data)
        info = await described(site, NAME)
        assert b"".join([chunk async for chunk in site.get(info)]) == data
        assert await site.read(NAME, 123_456, 200_001) == data[123_456 : 123_456 + 200_001]
        assert [found.name for found in await site.list_objects()] == [NAME]
        await hub.delete(NAME)

        async def is_gone() -> bool:
            return await count(all_.sites["site1"], "OBJ_index") == 2  # what says so, of the description and the chunks

        await until(is_gone)
        assert await site.list_objects() == []


async def test_a_reader_goes_on_at_the_chunk_at_which_the_mirror_ended(tmp_path: Path) -> None:
    data = bytes(range(250)) * 8000
    async with linked(tmp_path, ["site1"], {"site1": FAQ}) as all_, stores(all_) as (hub, site):
        info = await hub.put(NAME, data)
        held: list[bytes] = []
        cuts: list[int] = []
        all_.fleet.sites["site1"].kill()  # wherever the mirror is
        await all_.fleet.sites["site1"].start()

        async def is_whole() -> bool:
            try:
                async for chunk in site.get(info, len(held)):
                    held.append(chunk)  # noqa: PERF401 - those before the error are kept
            except ObjectIncompleteError as cut:
                cuts.append(cut.next_chunk - len(held))
            return len(held) == info.chunks

        await until(is_whole)
        assert set(cuts) <= {0}
        assert b"".join(held) == data


async def test_an_upload_goes_on_where_the_killed_hub_cut_it_and_stores_no_chunk_twice(tmp_path: Path) -> None:
    data = bytes(range(250)) * 16_000
    async with linked(tmp_path, ["site1"], {"site1": FAQ}) as all_, store_at(all_.fleet.hub) as first:
        upload = asyncio.create_task(first.put(NAME, data))
        await arrived(all_.hub, "OBJ_index", 3)
        all_.fleet.hub.kill()
        upload.cancel()
        await asyncio.gather(upload, return_exceptions=True)
        await all_.fleet.hub.start()
        async with store_at(all_.fleet.hub) as second, store_at(all_.fleet.sites["site1"]) as site:
            info = await second.put(NAME, data)
            stored = await messages(second._link.client, "OBJ_index", f"$O.index.C.{NAME}.>")
            assert [message.headers["Nats-Msg-Id"] for message in stored] == [
                f"{info.nuid}.{number}" for number in range(info.chunks)
            ]
            await described(site, NAME)
            assert await site.read(NAME, 0, len(data)) == data


async def test_a_chunk_that_is_lost_or_another_is_an_error_that_names_it(tmp_path: Path) -> None:
    data = bytes(range(250)) * 2000
    async with linked(tmp_path, ["site1"], {"site1": FAQ}) as all_, store_at(all_.fleet.hub) as hub:
        info = await hub.put(NAME, data)
        forged = msgspec.structs.replace(
            info, metadata={**info.metadata, "chunk-digests": info.metadata["chunk-digests"].swapcase()}
        )
        await all_.hub.jetstream().publish(object_description("index", NAME), msgspec.json.encode(forged))
        with pytest.raises(ObjectDamagedError, match="chunk 0 has another digest"):
            await hub.read(NAME, 0, 10)
        await call(all_.hub, "STREAM.MSG.DELETE.OBJ_index", {"seq": info.first_sequence + 2})
        with pytest.raises(ObjectDamagedError, match="chunk 2 is missing"):
            [chunk async for chunk in hub.get(info)]
        with pytest.raises(ObjectDamagedError, match="chunk 2 is missing"):
            [chunk async for chunk in hub.get(info, 2)]


async def test_a_put_that_ended_before_it_dropped_the_version_before_does_so_when_it_is_called_again(
    tmp_path: Path,
) -> None:
    async with linked(tmp_path, [], {}) as all_, store_at(all_.fleet.hub) as hub:
        old = await hub.put(NAME, b"old")
        new = await hub.put(NAME, b"new")
        await all_.hub.jetstream().publish(f"$O.index.C.{NAME}.{old.nuid}", b"old")  # as if it were still there
        assert await hub.put(NAME, b"new") == new
        (left,) = await messages(all_.hub, "OBJ_index", f"$O.index.C.{NAME}.{old.nuid}")
        assert left.data == b""


async def test_weights_come_at_their_rate_and_a_policy_overtakes_them(tmp_path: Path) -> None:
    async with (
        linked(tmp_path, ["site1"], {"site1": SLOW}) as all_,
        store_at(all_.fleet.hub, "weights") as weights,
        store_at(all_.fleet.hub, "policy") as policies,
        store_at(all_.fleet.sites["site1"], "policy") as at_site,
    ):
        started_s = asyncio.get_running_loop().time()
        chunks = (await weights.put("kiosk.reader", bytes(4_000_000))).chunks
        await policies.put("kiosk.refunds", b"allow: []")
        await described(at_site, "kiosk.refunds")
        assert await count(all_.sites["site1"], "OBJ_weights") < chunks
        await arrived(all_.sites["site1"], "OBJ_weights", chunks + 1)
        assert asyncio.get_running_loop().time() - started_s > 1.0  # 32 Mbit at 16 Mbit/s, less what a burst lets pass
