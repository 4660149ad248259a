"""Every promise of an object store, on a server."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.broker_harness import SITE
from tidegate.brokers.jetstream.api import connect, put_stream
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.objects import JetStreamObjectStore
from tidegate.brokers.objects import (
    BadObjectNameError,
    ObjectChangedError,
    ObjectInfo,
    ObjectNotFoundError,
    ObjectStore,
    ObjectTooLargeError,
)
from tidegate.brokers.servers import conf
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.topology.streams import hub_streams

pytestmark = pytest.mark.anyio

CHUNK = 1000
NAME = "kiosk.faq.snapshot-7"
SEED = 20261130
OpenStore = Callable[[], contextlib.AbstractAsyncContextManager[ObjectStore]]


def content(size: int, seed: int = SEED) -> bytes:
    return random.Random(seed).randbytes(size)


@contextlib.asynccontextmanager
async def on_a_server(directory: Path) -> AsyncIterator[ObjectStore]:
    settings = conf.plain(SITE)
    del settings["jetstream"]["sync_interval"]
    async with Server(SITE, directory, settings) as server:
        async with connect(server.nats, SITE) as client:
            await put_stream(client, hub_streams(())["OBJ_index"], is_new=True)
        async with JetStreamBus.open(server.nats, SITE) as bus:
            yield JetStreamObjectStore(bus.link, bus.publisher, "index", chunk_bytes=CHUNK)


@pytest.fixture
def open_store(tmp_path: Path) -> OpenStore:
    return lambda: on_a_server(tmp_path / "server")


async def all_of(store: ObjectStore, info: ObjectInfo, first: int = 0) -> bytes:
    return b"".join([chunk async for chunk in store.get(info, first)])


async def test_what_was_put_is_read_whole_from_any_chunk_and_at_any_offset(open_store: OpenStore) -> None:
    async with open_store() as store:
        for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 40 * CHUNK + 17):
            data, name = content(size), f"kiosk.faq.of-{size}"
            info = await store.put(name, data)
            assert (info.size, info.chunks) == (size, -(-size // CHUNK))
            assert await store.info(name) == info
            assert await all_of(store, info) == data
            for first in {0, info.chunks // 2, max(0, info.chunks - 1), info.chunks}:
                assert await all_of(store, info, first) == data[first * CHUNK :]
            for offset, length in ((0, size), (size // 3, CHUNK), (max(0, size - 5), 50), (size, 1), (size + 9, 1)):
                assert await store.read(name, offset, length) == data[offset : offset + length], (size, offset)


async def test_a_file_is_put_as_its_bytes_are_and_a_second_time_stores_nothing(
    open_store: OpenStore, tmp_path: Path
) -> None:
    file, data = tmp_path / "snapshot", content(5 * CHUNK + 3)
    file.write_bytes(data)
    async with open_store() as store:
        first = await store.put(NAME, file)
        assert await all_of(store, first) == data
        assert await store.put(NAME, data) == first
        assert await store.put("kiosk.rates.snapshot-7", data) != first


async def test_a_new_version_replaces_the_old_one_and_the_first_may_come_back(open_store: OpenStore) -> None:
    async with open_store() as store:
        old = await store.put(NAME, content(9 * CHUNK, 1))
        reading = store.get(old)
        assert await anext(reading) == content(9 * CHUNK, 1)[:CHUNK]
        new = await store.put(NAME, content(2 * CHUNK, 2))
        with pytest.raises(ObjectChangedError):
            await all_of(store, old)
        await reading.aclose()
        assert await store.info(NAME) == new
        assert await all_of(store, new) == content(2 * CHUNK, 2)
        again = await store.put(NAME, content(9 * CHUNK, 1))
        assert await all_of(store, again) == content(9 * CHUNK, 1)


async def test_what_is_replaced_while_it_is_read_is_read_anew_from_its_beginning_alone(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store() as store:
        await store.put(NAME, content(3 * CHUNK, 1))
        info_of, versions = store.info, iter((2, 3))

        async def replaced_behind(name: str) -> ObjectInfo:
            found = await info_of(name)
            for version in versions:
                await store.put(name, content(2 * CHUNK, version))
                break
            return found

        monkeypatch.setattr(store, "info", replaced_behind)
        assert await store.read(NAME, 0, 2 * CHUNK) == content(2 * CHUNK, 3)
        versions = iter((4,))
        with pytest.raises(ObjectChangedError):
            await store.read(NAME, CHUNK, CHUNK)


async def test_what_was_deleted_is_gone_and_can_be_put_again_at_once(open_store: OpenStore) -> None:
    async with open_store() as store:
        info = await store.put(NAME, content(3 * CHUNK))
        await store.delete(NAME)
        for gone in (store.info(NAME), store.read(NAME, 0, 1), store.delete(NAME), all_of(store, info)):
            with pytest.raises((ObjectNotFoundError, ObjectChangedError)):
                await gone
        assert await store.list_objects() == []
        assert await all_of(store, await store.put(NAME, content(3 * CHUNK))) == content(3 * CHUNK)


async def test_objects_are_listed_by_the_words_of_their_names(open_store: OpenStore) -> None:
    async with open_store() as store:
        names = ("kiosk.faq.a", "kiosk.faq.b", "kiosk.faqs.a", "other.faq.a")
        for name in reversed(names):
            await store.put(name, name.encode())
        assert [info.name for info in await store.list_objects()] == list(names)
        assert [info.name for info in await store.list_objects("kiosk.faq")] == ["kiosk.faq.a", "kiosk.faq.b"]
        assert [info.name for info in await store.list_objects("kiosk")] == list(names[:3])
        assert await store.list_objects("nobody") == []


@pytest.mark.parametrize(
    "name", ["", "nothing", "kiosk..a", "kiosk.*.a", "kiosk.>", "kiosk.a b", "kiosk.a\n", "a.b.c.d.e.f"]
)
async def test_a_name_that_is_none_is_refused(open_store: OpenStore, name: str) -> None:
    async with open_store() as store:
        for refused in (store.put(name, b"x"), store.info(name), store.read(name, 0, 1), store.delete(name)):
            with pytest.raises(BadObjectNameError):
                await refused


async def test_an_object_of_too_many_chunks_is_refused_before_a_byte_is_stored(
    open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidegate.brokers.objects.MOST_CHUNKS", 3)
    async with open_store() as store:
        with pytest.raises(ObjectTooLargeError):
            await store.put(NAME, content(3 * CHUNK + 1))
        await store.put(NAME, content(3 * CHUNK))
