"""The sync worker of one domain as a process that may be killed, with the product's keys, stores and snapshots.

`python -m loadtests.sync.worker FILE` runs what the file (a `WorkerPlan`) says; it makes a file `ready` once it
answers, and ends with its parent. Next: domains.py, which starts it; sync/shells/hub_shell.py and site_shell.py.
"""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.objects import JetStreamObjectStore
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.following import DeltasReply
from tidegate.schemas.message import Message, decode
from tidegate.schemas.replica import Done
from tidegate.schemas.subjects import BUCKETS, HUB
from tidegate.schemas.sync import SnapshotManifest
from tidegate.sync.rules.staleness import Now
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.domain import DomainParts, SyncOpening
from tidegate.sync.shells.hub_repository import HubRepository
from tidegate.sync.shells.hub_shell import HubSync, open_hub_sync
from tidegate.sync.shells.lock import lock_replicas
from tidegate.sync.shells.repository_link import ObjectSource, RepositoryUploader, Stores
from tidegate.sync.shells.site_shell import SiteSync, open_site_sync
from tidegate.sync.shells.snapshot_link import RepositorySnapshots, SnapshotSource
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.authors import KeyringVerifier
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import TrustError
from tidegate.sync.trust.live_keys import LiveAuthor, LiveKeys
from tidegate.sync.trust.repository import Repository

TENANT = "kiosk"
READY = "ready"
ARRIVE = "arrive"
"""The verb that a test hands deltas in by, in any order, as the mirror would: `DeltasReply` in, `Done` out."""
_PR_SET_PDEATHSIG = 1


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is: `state` is its domain's directory, `keys` that of the keys of all domains of this machine.

    `repository` is the hub's, and for a site whatever is not empty: then snapshots are written and read.
    """

    domain: str
    url: str
    state: str
    keys: str
    repository: str = ""
    settings: SyncSettings = SyncSettings()

    @property
    def store(self) -> Path:
        """The file of the domain's replicas."""
        return Path(self.state) / "replicas" / f"{TENANT}.sqlite"


class VerifiedSnapshots:
    """The snapshots of the tenant at a site, each manifest of the newest state of the repository that can be had."""

    def __init__(self, client: RepositoryClient, source: ObjectSource) -> None:
        self._client = client
        self._snapshots = SnapshotSource(client, source, TENANT)

    async def manifest(self, tenant: str, collection: str) -> SnapshotManifest | None:
        """See `leaf_client.SnapshotSource`."""
        assert tenant == TENANT
        with suppress(TrustError):  # an older state has its snapshots too
            await self._client.refresh(machine_now())
        try:
            return await self._snapshots.snapshot(collection)
        except TidegateError:
            return None

    async def chunk(self, tenant: str, collection: str, digest: str) -> bytes:
        """See `leaf_client.SnapshotSource`."""
        assert tenant == TENANT
        return await self._snapshots.chunk(collection, digest)


def now_ms() -> int:
    """The time of this machine."""
    return time.time_ns() // 1_000_000


def machine_now() -> Now:
    """The clocks of this machine."""
    return Now(boot_id="cd" * 8, monotonic_ms=int(time.monotonic() * 1000), wall_ms=now_ms())


@asynccontextmanager
async def open_worker(plan: WorkerPlan) -> AsyncIterator[HubSync | SiteSync]:
    """The worker, until left. Raises what its parts raise when they are opened."""
    async with AsyncExitStack() as stack:
        stack.enter_context(lock_replicas(plan.store.parent))
        bus = await stack.enter_async_context(JetStreamBus.open(NatsSettings(url=plan.url), plan.domain))
        store = ReplicaStore(plan.store, plan.domain, secrets.token_hex(8))
        stack.callback(store.close)
        keys = LiveKeys(Path(plan.keys), plan.domain)
        members: list[HubSync | SiteSync] = []

        async def arrive(data: bytes) -> Message:
            handed = decode(data, DeltasReply)
            tenant: Any = members[0].tenants[handed.tenant]
            await tenant.receive(handed.collection, handed.deltas)
            return Done()

        opening = SyncOpening(
            stores={TENANT: store},
            signer=LiveAuthor(keys, now_ms),
            verifier=KeyringVerifier(keys.keyring),
            clock=now_ms,
            parts=DomainParts(answers={} if plan.domain == HUB else {ARRIVE: arrive}),
        )
        members.append(await _open_shell(plan, bus, opening, stack))
        yield members[0]


async def _open_shell(
    plan: WorkerPlan, bus: JetStreamBus, opening: SyncOpening, stack: AsyncExitStack
) -> HubSync | SiteSync:
    stores: Stores = {bucket: JetStreamObjectStore(bus.link, bus.publisher, bucket) for bucket in BUCKETS}
    if plan.domain == HUB:
        blobs = None
        if plan.repository:
            hub = _open_repository(plan, stores)
            blobs = lambda tenant: RepositorySnapshots(hub, tenant)  # noqa: E731
        return await stack.enter_async_context(open_hub_sync(plan.settings, bus, opening, blobs=blobs))
    source = ObjectSource(stores, [TENANT])
    client = RepositoryClient(Path(plan.state) / "trust", source, timeout_s=5.0)
    snapshots = VerifiedSnapshots(client, source) if plan.repository else None
    return await stack.enter_async_context(open_site_sync(plan.settings, bus, opening, snapshots=snapshots))


def _open_repository(plan: WorkerPlan, stores: Stores) -> HubRepository:
    repository = Repository(Path(plan.repository))
    return HubRepository(
        repository, LiveKeys(Path(plan.keys), HUB), RepositoryUploader(repository, stores, [TENANT]), now_ms
    )


async def _run(plan: WorkerPlan) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with open_worker(plan):
        await asyncio.to_thread(Path(plan.state, READY).touch)
        await ended.wait()


def main(file: str) -> None:
    """Run the plan of a file until SIGTERM."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    uvloop.run(_run(msgspec.json.decode(Path(file).read_bytes(), type=WorkerPlan)))


if __name__ == "__main__":
    main(sys.argv[1])
