"""What crosses the leaf to repair one flipped byte, and to fill an empty disk with the same collection again.

Counted where the leaf's TCP connection passes, both ways, with all that else goes over it meanwhile; both in one run,
of the same site. Next: sync/repair.py; loadtests/link/link.py, which counts.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import closing
from functools import partial
from pathlib import Path

from loadtests.bench.measure import Measurement, MeasurementError, Sampled, interleaved
from loadtests.bench.race_sites import linked_servers
from loadtests.link.link import Link
from loadtests.sync.documents import document
from loadtests.sync.domains import Domains, open_domains, until
from loadtests.sync.filling import fill_hub
from loadtests.sync.worker import TENANT
from tidegate.brokers.jetstream.repair import delete_stream
from tidegate.schemas.replica import RepairOutcome
from tidegate.schemas.subjects import HUB, object_stream
from tidegate.schemas.sync import Collection
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.site_shell import FIRST_COMPARISON_S

SITE = "site1"
NOTICES = Collection(tenant=TENANT, name="notices", merge="last-writer")
SETTINGS = SyncSettings(compare_every_s=86_400.0)
"""What is compared is what the measurement asks for."""
REPAIR_S, RESYNC_S = "repair, s", "resync, s"
ON_WIRE, REPORTED = "bytes over the leaf", "bytes that the repair counts itself"
JOIN_WITHIN_S = 600.0


class Drifting:
    """A site whose disk is damaged, again and again, in another document each time."""

    def __init__(self, domains: Domains, link: Link, documents: int) -> None:
        self._domains = domains
        self._link = link
        self._documents = documents
        self._dice = random.Random(1)

    async def repair(self) -> Sampled:
        """Bytes on the wire from the damage until the site says that it is repaired."""
        await asyncio.sleep(1.0)  # what the last block left on its way is not this one's
        damaged = f"d{self._dice.randrange(self._documents)}"
        await asyncio.to_thread(self._flip, damaged)
        before, begun_s = self._passed(), time.perf_counter()
        outcomes = await (await self._domains.client(SITE)).repair(TENANT, NOTICES.name)
        took_s, passed = time.perf_counter() - begun_s, self._passed() - before
        _check(outcomes, damaged)
        if not self._domains.is_level(NOTICES.name, HUB, SITE):
            raise MeasurementError(f"{SITE} holds something else than the hub after the repair")
        reported = float(outcomes[0].bytes_on_wire)
        return Sampled(float(passed), {REPAIR_S: (took_s,), REPORTED: (reported,), ON_WIRE: (float(passed),)})

    async def resync(self) -> Sampled:
        """Bytes on the wire until an empty disk, and an empty mirror of the snapshots, have everything again."""
        await self._domains.stop(SITE)
        await asyncio.to_thread(self._wipe)
        await delete_stream((await self._domains.bus(SITE)).link.client, object_stream("index"))
        before, begun_s = self._passed(), time.perf_counter()
        await self._domains.start(SITE)
        await until(partial(self._domains.is_level, NOTICES.name, HUB, SITE), within_s=JOIN_WITHIN_S)
        took_s, passed = time.perf_counter() - begun_s, self._passed() - before
        await asyncio.sleep(FIRST_COMPARISON_S + 1.0)  # which would repair what the next block damages, unasked
        return Sampled(float(passed), {RESYNC_S: (took_s,)})

    def _passed(self) -> int:
        return self._link.up.left + self._link.down.left

    def _flip(self, document_id: str) -> None:
        """Change one byte of a document behind the store's back."""
        with closing(sqlite3.connect(self._domains.plans[SITE].paths.replica(TENANT), timeout=30.0)) as disk, disk:
            [(content,)] = disk.execute(
                "SELECT content FROM documents WHERE document_id = ?", (document_id,)
            ).fetchall()
            where = self._dice.randrange(len(content))
            flipped = content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :]
            disk.execute("UPDATE documents SET content = ? WHERE document_id = ?", (flipped, document_id))

    def _wipe(self) -> None:
        for path in self._domains.plans[SITE].paths.replicas.glob(f"{TENANT}.sqlite*"):
            path.unlink()


def _check(outcomes: tuple[RepairOutcome, ...], damaged: str) -> None:
    """Raises `MeasurementError` unless just this document was repaired, and the disk is named as the cause."""
    if [(each.documents, each.fault) for each in outcomes] != [({"disk": (damaged,)}, "")]:
        raise MeasurementError(f"{damaged} was damaged, and this was repaired: {outcomes}")


async def drift_blocks(repeats: int, *, documents: int, directory: Path) -> AsyncIterator[Measurement]:
    """Bytes over the leaf: of a repair, and of a full resync."""
    await asyncio.to_thread(directory.mkdir, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=directory) as state:
        async with (
            linked_servers(Path(state), [SITE]) as (servers, links),
            open_domains(servers, Path(state), SETTINGS, is_indexing=False) as domains,
        ):
            await asyncio.to_thread(fill_hub, domains.plans[HUB], NOTICES, documents, document)
            await domains.start(HUB, SITE)
            await until(partial(domains.is_level, NOTICES.name, HUB, SITE), within_s=JOIN_WITHIN_S)
            drifting = Drifting(domains, links[SITE], documents)
            async for each in interleaved(repeats, drifting.repair, drifting.resync, is_warm=True):
                yield each
