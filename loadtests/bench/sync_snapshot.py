"""How fast a site reads objects from its own mirror; and a snapshot on its way there, cut at every tenth, and joined.

Ours verifies each chunk before it is given out; the peer is the object store of nats-py on the same server, which
hashes the whole. The snapshot is of documents with vectors, over a link that is cut, by a worker that is killed.
Next: brokers/jetstream/objects.py; sync/snapshots.py.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from nats.aio.client import Client
from nats.js.object_store import ObjectStore

from loadtests.bench.measure import Measurement, MeasurementError, Sampled, interleaved
from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from loadtests.load.asker import connect_as_operator
from loadtests.sync.documents import document
from loadtests.sync.domains import Domains, open_domains, until
from loadtests.sync.filling import fill_hub
from loadtests.sync.worker import TENANT
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.api import JetStreamApiError
from tidegate.brokers.jetstream.objects import JetStreamObjectStore
from tidegate.brokers.objects import ObjectNotFoundError
from tidegate.schemas.subjects import HUB, object_stream
from tidegate.schemas.sync import Collection
from tidegate.sync.settings import SyncSettings
from tidegate.sync.store import ReplicaStore

SITE, BUCKET = "site1", "index"
STREAM = object_stream(BUCKET)
NOTICES = Collection(tenant=TENANT, name="notices", merge="last-writer")
SETTINGS = SyncSettings(compare_every_s=86_400.0)
TENTHS = tuple(range(1, 10))
MOST_S, POLL_S = 1800.0, 0.02
SENT_IN_S, DOWN_S = 10.0, 0.3
"""How long the transfer takes without a cut, so that each cut is in the middle of it; and how long a cut lasts."""
DOWNLOADED, ON_WIRE = "downloaded with nine cuts, s", "bytes on the wire of the snapshot's"
JOINED, OPENED = "joined with the worker killed nine times, s", "opened after it, s"


class CutSnapshot:
    """One snapshot on its way from the hub to the site's store."""

    def __init__(self, domains: Domains, link: Link) -> None:
        self._domains = domains
        self._link = link

    async def measure(self, documents: int) -> dict[str, tuple[float, ...]]:
        """Seconds of each step; raises `MeasurementError` where something that was there is not there any more."""
        size = await self._publish(documents)
        begun_s, before = time.perf_counter(), self._link.down.left
        await self._download(size)
        downloaded_s, carried = time.perf_counter() - begun_s, self._link.down.left - before
        begun_s = time.perf_counter()
        await self._join(size)
        joined_s = time.perf_counter() - begun_s
        await self._domains.stop(SITE)
        opened_s = await asyncio.to_thread(self._open, documents)
        return {
            DOWNLOADED: (downloaded_s,),
            ON_WIRE: (carried / size,),
            JOINED: (joined_s,),
            OPENED: (opened_s,),
        }

    async def _publish(self, documents: int) -> int:
        """Have the hub write it while the link is cut; how many bytes there are to carry."""
        self._link.cut()
        await asyncio.to_thread(fill_hub, self._domains.plans[HUB], NOTICES, documents, document)
        await self._domains.start(HUB)
        await until(self._is_published, within_s=MOST_S)
        return await self._stored(HUB)

    async def _download(self, size: int) -> None:
        self._link.set(rate=size / SENT_IN_S)
        self._link.heal()
        for tenth in TENTHS:
            await self._holds(size * tenth // 10)
            self._link.cut()
            await asyncio.sleep(DOWN_S)
            self._link.heal()
        await self._holds(size)
        self._link.set(rate=0.0)

    async def _join(self, size: int) -> None:
        """Start the worker, and kill it whenever it has stored another tenth of the snapshot."""
        await self._domains.start(SITE)
        for tenth in TENTHS:
            await until(partial(self._has_chunks, size * tenth // 10), within_s=MOST_S)
            self._domains.kill(SITE)
            kept = self._chunk_bytes()
            await self._domains.start(SITE)
            if self._chunk_bytes() < kept and not self._is_level():
                raise MeasurementError("chunks that were stored are gone after the worker was killed")
        await until(self._is_level, within_s=MOST_S)

    def _open(self, documents: int) -> float:
        begun_s = time.perf_counter()
        store = ReplicaStore(self._domains.plans[SITE].paths.replica(TENANT), SITE, secrets.token_hex(8))
        with closing(store), store.reading() as reader:
            held = reader.record(NOTICES.name).documents
            reader.held(NOTICES.name, f"d{documents - 1}")
        if held != documents:
            raise MeasurementError(f"{SITE} holds {held} documents of {documents}")
        return time.perf_counter() - begun_s

    async def _holds(self, size: int) -> None:
        """Return when the site's mirror has so many bytes."""
        deadline_s = time.monotonic() + MOST_S
        while await self._stored(SITE) < size:
            if time.monotonic() > deadline_s:
                raise MeasurementError(f"the mirror has {await self._stored(SITE)} of {size} bytes")
            await asyncio.sleep(POLL_S)

    async def _stored(self, domain: str) -> int:
        """Bytes of the stream of snapshots."""
        with suppress(UnreachableError, JetStreamApiError):
            info = await api.call((await self._domains.bus(domain)).link.client, f"STREAM.INFO.{STREAM}")
            return int(info["state"]["bytes"])
        return 0

    def _is_published(self) -> bool:
        record = self._domains.record(HUB, NOTICES.name)
        return record is not None and record.snapshot is not None

    def _is_level(self) -> bool:
        return self._domains.is_level(NOTICES.name, HUB, SITE)

    def _has_chunks(self, size: int) -> bool:
        return self._chunk_bytes() >= size or self._is_level()

    def _chunk_bytes(self) -> int:
        path = self._domains.plans[SITE].paths.replica(TENANT)
        if not path.exists():
            return 0
        with closing(sqlite3.connect(path, timeout=30.0)) as disk, suppress(sqlite3.OperationalError):
            return int(disk.execute("SELECT coalesce(sum(length(data)), 0) FROM chunks").fetchone()[0])
        return 0


class MirrorReading:
    """An object of so many bytes in the site's mirror, and another in a store of nats-py on the same server."""

    def __init__(self, domains: Domains, megabytes: int, peer_megabytes: int) -> None:
        self._domains = domains
        self._size, self._peer_size = megabytes * 1_000_000, peer_megabytes * 1_000_000
        self._name = f"{TENANT}.{NOTICES.name}.bench"

    async def prepare(self) -> None:
        """Put the object at the hub, and return when the site has all of it."""
        at_hub = await self._store(HUB)
        await at_hub.put(self._name, os.urandom(self._size))
        deadline_s = time.monotonic() + MOST_S
        while not await self._is_whole():
            if time.monotonic() > deadline_s:
                raise MeasurementError(f"the object is not in the mirror of {SITE}")
            await asyncio.sleep(POLL_S)

    async def ours(self) -> Sampled:
        """MB a second: every chunk, verified."""
        store = await self._store(SITE)
        begun_s, read = time.perf_counter(), 0
        info = await store.info(self._name)
        async for chunk in store.get(info):
            read += len(chunk)
        rate = read / 1e6 / (time.perf_counter() - begun_s)
        return Sampled(rate, {"MB/s": (rate,)})

    async def peer(self, store: ObjectStore) -> Sampled:
        """MB a second of nats-py."""
        begun_s = time.perf_counter()
        found = await store.get("bench")
        rate = len(found.data or b"") / 1e6 / (time.perf_counter() - begun_s)
        return Sampled(rate, {"MB/s": (rate,)})

    async def peer_store(self, client: Client) -> ObjectStore:
        """The peer's store, with its object."""
        store: ObjectStore = await client.jetstream(domain=SITE).create_object_store("bench")
        await store.put("bench", os.urandom(self._peer_size))
        return store

    async def _store(self, domain: str) -> JetStreamObjectStore:
        bus = await self._domains.bus(domain)
        return JetStreamObjectStore(bus.link, bus.publisher, BUCKET)

    async def _is_whole(self) -> bool:
        store, read = await self._store(SITE), 0
        try:
            read = len(await store.read(self._name, self._size - 1, 1))
        except (ObjectNotFoundError, UnreachableError, RuntimeError):
            return False
        return read == 1


async def snapshot_blocks(
    repeats: int, *, documents: int, megabytes: int, peer_megabytes: int, directory: Path
) -> AsyncIterator[Measurement]:
    """MB a second from the mirror, ours and the peer's; what became of the snapshot is with the first of ours."""
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as state:
        async with (
            linked_servers(Path(state), [SITE]) as (servers, links),
            open_domains(servers, Path(state), SETTINGS, is_indexing=False) as domains,
        ):
            steps = await CutSnapshot(domains, links[SITE]).measure(documents)
            reading = MirrorReading(domains, megabytes, peer_megabytes)
            await reading.prepare()
            client = await connect_as_operator(domains.server(SITE).nats)
            store = await reading.peer_store(client)
            async for each in interleaved(repeats, reading.ours, lambda: reading.peer(store), is_warm=True):
                if each.side == "ours":
                    yield Measurement(each.side, each.value, {**each.samples, **steps})
                    steps = {}
                else:
                    yield each
            await client.close()
