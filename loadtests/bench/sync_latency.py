"""How soon a document that is published at the hub is in a site's store, and found in its index; and a bare message.

Both go over the same leaf by mirrored streams on servers that sync each message. Ours is signed, relayed, verified,
stored in two databases and indexed with the vectors it came with; the peer is stored by nats-py and delivered.
Next: sync_entries.py, which has the entry; loadtests/sync/domains.py, what runs.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
from nats.aio.client import Client

from loadtests.bench.measure import Measurement, MeasurementError, Sampled, interleaved
from loadtests.load.asker import connect_as_operator
from loadtests.sync.documents import LazyModel, document
from loadtests.sync.domains import Domains, running_domains, until
from loadtests.sync.worker import TENANT
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.vectors import DIMENSIONS
from tidegate.sync.store import reading_store

SITE = "site1"
NOTICES = Collection(tenant=TENANT, name="notices", merge="last-writer")
PATIENCE_S, POLL_S = 60.0, 0.004
IN_STORE, IN_INDEX = "in the store", "found in the index"


class Published:
    """Ours: documents, one after the other, each looked for at the site until it is there."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        paths = domains.plans[SITE].paths
        self._store = paths.replica(TENANT)
        self._index = HybridIndex.open(paths.index(TENANT), LazyModel())
        self._nowhere = np.zeros(DIMENSIONS, np.float32)

    async def block(self, documents: int) -> Sampled:
        """Milliseconds, the median, from the request to the hub until a search finds it."""
        stored, found = list[float](), list[float]()
        client = await self._domains.client(HUB)
        for _ in range(documents):
            token = f"t{secrets.token_hex(6)}"
            begun_s = time.perf_counter()
            writing = asyncio.create_task(client.write(TENANT, NOTICES.name, {token: document(token)}))
            stored.append(await _since(begun_s, lambda token=token: self._is_stored(token)))  # type: ignore[misc]
            found.append(await _since(begun_s, lambda token=token: self._is_found(token)))  # type: ignore[misc]
            await writing
        return Sampled(statistics.median(found), {IN_STORE: tuple(stored), IN_INDEX: tuple(found)})

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def _is_stored(self, token: str) -> bool:
        with reading_store(self._store) as reader:
            return reader.digest_of(NOTICES.name, token) is not None

    def _is_found(self, token: str) -> bool:
        return any(token in each.text for each in self._index.search(token, self._nowhere, 3, "en"))


class BareMessages:
    """The peer: messages of the same size in a mirrored stream, from a client at the hub to one at the site."""

    def __init__(self, hub: Client, site: Client) -> None:
        self._hub, self._site = hub, site
        self._arrived = asyncio.Event()
        self._body = bytes(1500)

    async def listen(self) -> None:
        """Have the site's mirror deliver what comes."""

        async def arrive(_: object) -> None:
            self._arrived.set()

        await self._site.jetstream(domain=SITE).subscribe(f"verdicts.{SITE}.>", stream="VERDICTS", cb=arrive)

    async def block(self, messages: int) -> Sampled:
        """Milliseconds, the median, from the publication until it is delivered at the site."""
        took = []
        for _ in range(messages):
            self._arrived.clear()
            begun_s = time.perf_counter()
            await self._hub.jetstream(domain=HUB).publish(
                f"verdicts.{SITE}.{TENANT}.{secrets.token_hex(6)}", self._body
            )
            async with asyncio.timeout(PATIENCE_S):
                await self._arrived.wait()
            took.append((time.perf_counter() - begun_s) * 1e3)
        return Sampled(statistics.median(took), {"delivered": tuple(took)})


async def publish_blocks(repeats: int, *, documents: int, directory: Path) -> AsyncIterator[Measurement]:
    """Milliseconds to a document that is found at the site, and to a message that is delivered there."""
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as state:
        async with running_domains(Path(state), [SITE]) as domains:
            await domains.put(NOTICES)
            await (await domains.client(HUB)).write(TENANT, NOTICES.name, {"first": document("first")})
            index = domains.plans[SITE].paths.index(TENANT)
            await until(lambda: any(index.glob("*")) and domains.is_level(NOTICES.name, HUB, SITE))
            ours = Published(domains)
            hub, site = [await connect_as_operator(domains.server(each).nats) for each in (HUB, SITE)]
            try:
                peer = BareMessages(hub, site)
                await peer.listen()
                async for each in interleaved(repeats, lambda: ours.block(documents), lambda: peer.block(documents)):
                    yield each
            finally:
                ours.close()
                await hub.close()
                await site.close()


async def _since(begun_s: float, holds: Callable[[], bool]) -> float:
    """Milliseconds since then, once it holds. Raises `MeasurementError`."""
    while not holds():
        if time.perf_counter() - begun_s > PATIENCE_S:
            raise MeasurementError(f"a document was not at {SITE} within {PATIENCE_S:g} s")
        await asyncio.sleep(POLL_S)
    return (time.perf_counter() - begun_s) * 1e3
