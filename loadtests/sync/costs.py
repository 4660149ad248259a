"""Measures one replica of few and of many documents in one run: a delta, a snapshot, one flipped byte.

`python -m loadtests.sync.costs [few] [many]`, 1 000 and 100 000 by default. Signatures are not checked: they cost the
same at any size. Times are of whatever disk the temporary directory is on; ratios are what to look at."""

from __future__ import annotations

import asyncio
import random
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path

from loadtests.sync.parts import AllTrusted, Hub, HubInProcess
from tidegate.schemas import LogPosition
from tidegate.schemas.message import encode
from tidegate.sync.follower import Follower
from tidegate.sync.repair import Repairer
from tidegate.sync.store import ReplicaStore

DELTAS = 300


def main(few: int, many: int) -> None:
    """Print the figures, and the ratios between many documents and few."""
    with tempfile.TemporaryDirectory() as directory:
        found: list[dict[str, float]] = []
        for documents in (few, many):
            path = Path(directory) / str(documents)
            path.mkdir()
            found.append(asyncio.run(measure(path, documents)))
    small, large = found
    for name in small:
        print(f"{name:<44} {small[name]:>14.3f} {large[name]:>14.3f}   x {large[name] / max(small[name], 1e-9):.2f}")


async def measure(path: Path, documents: int) -> dict[str, float]:
    """The figures of one hub and one site that hold so many documents."""
    hub = Hub(path / "hub.db")
    hub.fill(documents)
    manifest = await hub.snapshot()
    store = ReplicaStore(path / "site.db", "site1", "a" * 16)
    store.put_collection(hub.collection)
    client = HubInProcess(hub)
    follower = Follower(store, client, AllTrusted())
    follower.note("notices", "lease-granted")
    figures: dict[str, float] = {"documents": documents, "snapshot, MB": manifest.size / 1e6}
    begun, worked = time.perf_counter(), time.process_time()
    await follower.follow("notices")
    figures["restored from the snapshot, s"] = time.perf_counter() - begun
    figures["restored from the snapshot, s of CPU"] = time.process_time() - worked
    store.close()
    begun = time.perf_counter()
    store = ReplicaStore(path / "site.db", "site1", "b" * 16)
    generation = store.record("notices").generation
    figures["opened, ms"] = (time.perf_counter() - begun) * 1e3
    follower, repairer = Follower(store, client, AllTrusted()), Repairer(store, client, AllTrusted())
    figures |= await deltas(hub, follower, store, documents)
    begun = time.perf_counter()
    changed = store.changes_since("notices", generation)
    assert len(changed.documents) == 2 * DELTAS
    figures["feed of the changed documents, ms"] = (time.perf_counter() - begun) * 1e3
    figures |= await drift(path / "site.db", store, repairer)
    figures["full resync, bytes"] = sum(chunk.size for chunk in manifest.chunks) + len(encode(manifest))
    figures["peak memory so far, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    store.close()
    return figures


async def deltas(hub: Hub, follower: Follower, store: ReplicaStore, documents: int) -> dict[str, float]:
    """Deltas one by one, each a transaction of its own, then as one batch."""
    dice = random.Random(1)
    await hub.edit([f"d{number}" for number in dice.sample(range(documents), 2 * DELTAS)])
    position = store.record("notices").replica.position or LogPosition(1)
    tail = await hub.log.read("notices", position, 2 * DELTAS)
    cpu, wall = list[float](), list[float]()
    for delta in tail[:DELTAS]:
        begun, worked = time.perf_counter(), time.process_time()
        follower.receive("notices", [delta])
        cpu.append(time.process_time() - worked)
        wall.append(time.perf_counter() - begun)
    worked = time.process_time()
    follower.receive("notices", tail[DELTAS:])
    return {
        "a delta, median, ms": statistics.median(wall) * 1e3,
        "a delta, median, ms of CPU": statistics.median(cpu) * 1e3,
        f"a delta in a batch of {DELTAS}, ms of CPU": (time.process_time() - worked) / DELTAS * 1e3,
    }


async def drift(path: Path, store: ReplicaStore, repairer: Repairer) -> dict[str, float]:
    """One flipped byte in one document: found and repaired."""
    with sqlite3.connect(path) as disk:
        [(content,)] = disk.execute("SELECT content FROM documents WHERE document_id = 'd77'").fetchall()
        flipped = content[:200] + bytes([content[200] ^ 1]) + content[201:]
        disk.execute("UPDATE documents SET content = ? WHERE document_id = 'd77'", (flipped,))
    disk.close()
    begun = time.perf_counter()
    store.scrub("notices")
    scrubbed = time.perf_counter()
    report = await repairer.repair("notices")
    repaired = time.perf_counter()
    assert report.documents == {"disk": ("d77",)}, report.documents
    return {
        "scrub, s": scrubbed - begun,
        "repair, ms": (repaired - scrubbed) * 1e3,
        "repair of one flipped byte, bytes on the wire": report.bytes_on_wire,
    }


if __name__ == "__main__":
    numbers = [int(each) for each in sys.argv[1:]]
    main(*(numbers or [1_000, 100_000]))
