"""Opens the sync worker of a hub or a site: its lock, its keys, its stores, and the loops that keep them.

Promises that one process writes the replicas of a domain, and that a store that cannot be read is put aside at a site,
never overwritten. Next: sync/shells/hub_shell.py, sync/shells/site_shell.py."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec
import structlog

from tidegate.brokers.base import Bus
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.audit_spool import EventSpool
from tidegate.services.fleet.author_keys import open_author_signer, open_author_verifier
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings
from tidegate.sync.database import StoreDamagedError
from tidegate.sync.shells.domain import DomainParts, SyncOpening
from tidegate.sync.shells.file_import import FileImport
from tidegate.sync.shells.hub_shell import HubPorts, HubSync, open_hub_sync
from tidegate.sync.shells.leaf_client import SnapshotSource
from tidegate.sync.shells.lock import lock_replicas
from tidegate.sync.shells.machine import wall_ms
from tidegate.sync.shells.site_shell import LeaseState, SiteSync, open_site_sync
from tidegate.sync.signing import SignatureVerifier, Signer
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.standing import read_machine_clock

_log = structlog.get_logger()


TenantStores = Mapping[str, ReplicaStore]
"""By tenant."""


class ReplicationParts(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker works with beside its stores and keys; all of it may be missing.

    `domain` makes what is for either side out of the stores. `signer` and `verifier` are those of documents; without
    them those of the register of this machine. `hub` is for the hub; at a site `snapshots` are where it begins, `lease`
    says whether it may read, and `incarnation` is that of a store that is made anew. `clock` gives milliseconds since
    1970: the time that the hub tells, and a site's as long as it has heard of none.
    """

    domain: Callable[[TenantStores], DomainParts] = lambda _: DomainParts()
    signer: Signer | None = None
    verifier: SignatureVerifier | None = None
    hub: HubPorts = HubPorts()
    snapshots: SnapshotSource | None = None
    lease: LeaseState | None = None
    incarnation: int = 1
    boot_id: str = ""
    clock: Callable[[], int] = wall_ms


@asynccontextmanager
async def open_replication(
    settings: Settings, bus: Bus, parts: ReplicationParts | None = None
) -> AsyncIterator[HubSync | SiteSync]:
    """The worker of the domain that the settings name, until left.

    Raises `ReplicasBusyError` where another process is it, `AuthorKeyMissingError`, `OtherDomainError`; at the hub
    `StoreDamagedError`: its store is the record of what was relayed, and is restored by a person.
    """
    assert isinstance(bus, JetStreamBus)  # replicas follow streams: there is nothing to follow in memory
    parts = parts or ReplicationParts()
    paths = StatePaths(settings)
    with ExitStack() as stack:
        stack.enter_context(lock_replicas(paths.replicas))
        stores = {name: _open_store(paths.replica(name), settings.site, parts) for name in settings.tenants}
        for store in stores.values():
            stack.callback(store.close)
        domain = msgspec.structs.replace(parts.domain(stores), report=EventSpool(paths.audit_events).report)
        opening = SyncOpening(
            stores=stores,
            signer=parts.signer or open_author_signer(settings),
            verifier=parts.verifier or open_author_verifier(settings),
            clock=parts.clock,
            parts=_with_import(domain, stores, paths) if settings.site != HUB else domain,
            code_version=version("tidegate"),
        )
        if settings.site == HUB:
            async with open_hub_sync(settings.sync, bus, opening, parts.hub) as hub:
                yield hub
        else:
            async with open_site_sync(
                settings.sync,
                bus,
                opening,
                snapshots=parts.snapshots,
                lease=parts.lease,
            ) as site:
                yield site


def _with_import(parts: DomainParts, stores: Mapping[str, ReplicaStore], paths: StatePaths) -> DomainParts:
    """The parts of a site, which can join a collection from a file."""
    importing = FileImport(stores, paths.trust, read_machine_clock, parts.on_changed)
    return msgspec.structs.replace(parts, answers={"import": importing.answer, **parts.answers})


def _open_store(path: Path, domain: str, parts: ReplicationParts) -> ReplicaStore:
    boot_id = parts.boot_id or secrets.token_hex(8)
    try:
        return ReplicaStore(path, domain, boot_id, incarnation=parts.incarnation)
    except StoreDamagedError as error:
        if domain == HUB:
            raise
        aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
        for suffix in ("", "-wal", "-shm"):
            if (part := path.with_name(path.name + suffix)).exists():
                part.replace(aside.with_name(aside.name + suffix))
        _log.error("replica_store_damaged", store=str(path), kept_as=str(aside), reason=error.reason)
        return ReplicaStore(path, domain, boot_id, incarnation=parts.incarnation)
