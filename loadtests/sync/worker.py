"""The product's own sync worker of one domain as a process that may be killed: `python -m loadtests.sync.worker FILE`.

The file is a `WorkerPlan`. It makes a file `ready` once it answers, and ends with its parent. Beside what the worker
answers it takes deltas by hand, in any order. Next: domains.py, which starts it; services/replication.
"""

from __future__ import annotations

import asyncio
import ctypes
import secrets
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas.following import DeltasReply
from tidegate.schemas.message import decode, encode
from tidegate.schemas.replica import Done
from tidegate.schemas.subjects import HUB
from tidegate.schemas.sync import Collection
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.trust_hub import HubTrustPorts, open_hub_trust
from tidegate.services.fleet.trust_site import SiteTrustPorts, open_site_trust
from tidegate.services.replication.composition import ReplicationParts, TenantStores, open_replication
from tidegate.services.replication.hub import open_hub_worker
from tidegate.services.replication.site import TenantSnapshots, open_site_worker
from tidegate.services.settings import Settings
from tidegate.sync.settings import SyncSettings
from tidegate.sync.shells.domain import DomainParts
from tidegate.sync.shells.hub_shell import HubPorts, HubSync
from tidegate.sync.shells.site_shell import SiteSync
from tidegate.sync.store import ReplicaStore

TENANT = "kiosk"
ARRIVE = "arrive.deltas"
"""Where a site's worker takes deltas by hand, as its mirror would deliver them: `DeltasReply` in, `Done` out."""
_PR_SET_PDEATHSIG = 1


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is: of which domain, with which server, below which state directory."""

    domain: str
    nats: NatsSettings
    state: str
    models: str
    sync: SyncSettings = SyncSettings()
    is_indexing: bool = True
    """False: no index follows the documents, for what is measured of sync alone."""

    @property
    def settings(self) -> Settings:
        """As `tidegate worker sync` reads them."""
        return Settings(
            site=self.domain,
            state_dir=self.state,
            models_dir=self.models,
            tenants=(TENANT,),
            nats=self.nats,
            sync=self.sync,
        )

    @property
    def paths(self) -> StatePaths:
        """Where its files are."""
        return StatePaths(self.settings)


@asynccontextmanager
async def open_worker(plan: WorkerPlan) -> AsyncIterator[HubSync | SiteSync]:
    """The worker, until left. Raises what its parts raise when they are opened."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus.open(plan.nats, plan.domain))
        opened: Any = open_hub_worker if plan.domain == HUB else open_site_worker
        worker = await stack.enter_async_context((opened if plan.is_indexing else open_unindexed)(plan.settings, bus))

        async def arrive(data: bytes) -> bytes:
            handed = decode(data, DeltasReply)
            await worker.tenants[handed.tenant].receive(handed.collection, handed.deltas)
            return encode(Done())

        if plan.domain != HUB:
            await bus.respond(ARRIVE, arrive)
        await bus.link.client.flush()  # from now on the server knows of all that is answered
        yield worker


@asynccontextmanager
async def open_unindexed(settings: Settings, bus: JetStreamBus) -> AsyncIterator[HubSync | SiteSync]:
    """The worker of either side with its trust and its replicas, and nobody who follows the documents."""
    stores: dict[str, TenantStores] = {}

    def keep_stores(opened: TenantStores) -> DomainParts:
        stores[""] = opened
        return DomainParts()

    def list_collections() -> list[Collection]:
        return [rule for store in stores.get("", {}).values() for rule in collections_of(store).values()]

    async with AsyncExitStack() as stack:
        if settings.site == HUB:
            opened = open_hub_trust(settings, bus, HubTrustPorts(collections=list_collections))
            trust = await stack.enter_async_context(opened)
            parts = ReplicationParts(
                domain=keep_stores, signer=trust.signer, verifier=trust.verifier,
                hub=HubPorts(blobs=trust.snapshots, grants=trust.grants, gate=trust.gate),
            )  # fmt: skip
        else:
            boot_id = secrets.token_hex(8)
            believed = await stack.enter_async_context(open_site_trust(settings, bus, SiteTrustPorts(boot_id=boot_id)))
            parts = ReplicationParts(
                domain=keep_stores, signer=believed.signer, verifier=believed.verifier,
                snapshots=TenantSnapshots(believed), incarnation=believed.identity.incarnation, boot_id=boot_id,
            )  # fmt: skip
        yield await stack.enter_async_context(open_replication(settings, bus, parts))


def collections_of(store: ReplicaStore) -> dict[str, Collection]:
    """The collections of a store, with their rules."""
    with store.reading() as reader:
        return {name: reader.record(name).collection for name in reader.collections()}


async def _run(plan: WorkerPlan, ready: Path) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    async with open_worker(plan):
        await asyncio.to_thread(ready.touch)
        await ended.wait()


def main(file: Path) -> None:
    """Run the plan of a file until SIGTERM."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    uvloop.run(_run(msgspec.json.decode(file.read_bytes(), type=WorkerPlan), file.with_name("ready")))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
