"""How soon the hub has what was written at a site while it was down, and a site what was published while it was.

What counts is what is verified and stored, by the sync workers; the peer is nats-server's own source and mirror of the
same streams in the same outage, which verify and store nothing. Next: catch_up.py, the streams alone.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from loadtests.bench.measure import SIDES, Measurement
from loadtests.sync.documents import document
from loadtests.sync.domains import Domains, running_domains
from loadtests.sync.worker import TENANT
from tidegate.brokers.base import UnreachableError
from tidegate.brokers.jetstream import api
from tidegate.brokers.jetstream.api import JetStreamApiError
from tidegate.schemas.subjects import CORPUS, EDITS, HUB
from tidegate.schemas.sync import Collection

SITE = "site1"
NOTICES = Collection(tenant=TENANT, name="notices", sites_write=True, merge="last-writer")
PATIENCE_S, POLL_S = 300.0, 0.02
FEW = 100
HUB_KILLED, SITE_KILLED = "hub killed", "site's server killed"
SITE_KILLED_FEW = f"site's server killed, {FEW} deltas"
Outcomes = dict[str, tuple[float, float]]
"""By what happened: seconds of ours, and of the peer."""


class Outages:
    """Kills the hub with its worker, and the server of the site, and sees when all is there again."""

    def __init__(self, domains: Domains) -> None:
        self._domains = domains
        self._written = 0

    async def kill_hub(self, outstanding: int) -> tuple[float, float]:
        """Seconds from the start of the hub's server until its store has the edits that waited at the site."""
        await self._settle()
        self._domains.kill(HUB)
        self._domains.server(HUB).kill()
        edits = await self._count(SITE, EDITS)
        await self._write(SITE, outstanding)
        begun_s = time.perf_counter()
        await self._domains.server(HUB).start(timeout_s=PATIENCE_S)
        starting = asyncio.create_task(self._domains.start(HUB))
        took = await self._both(begun_s, HUB, EDITS, edits + outstanding)
        await starting
        return took

    async def kill_site(self, outstanding: int) -> tuple[float, float]:
        """Seconds from the start of the site's server until its store has the deltas that were published meanwhile."""
        await self._settle()
        self._domains.server(SITE).kill()
        deltas = await self._count(HUB, CORPUS)
        await self._write(HUB, outstanding)
        begun_s = time.perf_counter()
        await self._domains.server(SITE).start(timeout_s=PATIENCE_S)
        return await self._both(begun_s, SITE, CORPUS, deltas + outstanding)

    async def _both(self, begun_s: float, domain: str, stream: str, messages: int) -> tuple[float, float]:
        async def is_stored() -> bool:
            return self._documents(domain) >= self._written

        async def is_carried() -> bool:
            return await self._count(domain, stream) >= messages

        ours, peer = await asyncio.gather(_since(begun_s, is_stored), _since(begun_s, is_carried))
        return ours, peer

    async def _write(self, domain: str, documents: int) -> None:
        first = self._written
        written = {f"d{number}": document(f"d{number}") for number in range(first, first + documents)}
        self._written += documents
        await (await self._domains.client(domain)).write(TENANT, NOTICES.name, written)

    async def _settle(self) -> None:
        """Have both be at the end of the log, and nothing on its way."""
        await self._write(HUB, 1)

        async def is_level() -> bool:
            return self._domains.is_level(NOTICES.name, HUB, SITE) and self._documents(SITE) == self._written

        await _since(time.perf_counter(), is_level)

    def _documents(self, domain: str) -> int:
        record = self._domains.record(domain, NOTICES.name)
        return record.documents if record is not None else 0

    async def _count(self, domain: str, stream: str) -> int:
        """What the stream holds; 0 while its server cannot be asked."""
        try:
            info = await api.call((await self._domains.bus(domain)).link.client, f"STREAM.INFO.{stream}")
        except (UnreachableError, JetStreamApiError, OSError):
            return 0
        return int(info["state"]["messages"])


async def catch_up_blocks(repeats: int, *, outstanding: int, directory: Path) -> AsyncIterator[Measurement]:
    """Seconds until the hub has what waited at the site, of ours and of the source that carried it."""
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as state:
        async with running_domains(Path(state), [SITE]) as domains:
            await domains.put(NOTICES)
            outages = Outages(domains)
            for _ in range(repeats):
                found: Outcomes = {
                    HUB_KILLED: await outages.kill_hub(outstanding),
                    SITE_KILLED_FEW: await outages.kill_site(FEW),
                    SITE_KILLED: await outages.kill_site(outstanding),
                }
                for number, side in enumerate(SIDES):
                    samples: dict[str, tuple[float, ...]] = {what: (took[number],) for what, took in found.items()}
                    yield Measurement(side, found[HUB_KILLED][number], samples)


async def _since(begun_s: float, holds: Callable[[], Awaitable[bool]]) -> float:
    """Seconds since then, once it holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - another process has no event to wait for
            await asyncio.sleep(POLL_S)
    return time.perf_counter() - begun_s
