"""Exports a collection at the hub into a file, and imports one at a site: for sites that no link leads to.

At the hub the sync worker has to run, which writes the snapshot; at a site it is asked where it runs, and where it does
not the file is joined in this process, under the same lock. Next: sync/carrying.py; cli/sync_files.py."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from pathlib import Path

from tidegate.brokers.jetstream.stored import StoredStream
from tidegate.schemas import CollectionImported
from tidegate.schemas.subjects import CORPUS
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.replicas import open_replica_bus
from tidegate.services.fleet.site_documents import find_author_key
from tidegate.services.settings import Settings
from tidegate.sync.carrying import ExportedCollection, Exporter, join_file, open_file
from tidegate.sync.rules.plan import HoleError
from tidegate.sync.shells.corpus_log import CorpusLog
from tidegate.sync.shells.file_import import imported
from tidegate.sync.shells.lock import ReplicasBusyError, lock_replicas
from tidegate.sync.shells.replica_client import ReplicaClient
from tidegate.sync.store import ReplicaStore
from tidegate.sync.trust.faults import UnknownTargetError
from tidegate.sync.trust.keys import Passphrases
from tidegate.sync.trust.repository import Repository
from tidegate.sync.trust.standing import read_machine_clock


async def export_collection(
    hub: Settings, which: tuple[str, str], file: Path, passphrases: Passphrases, progress: ProgressReporter
) -> ExportedCollection:
    """Write a collection (`which`: its tenant and its name) into a file: the newest snapshot, which is written first
    where there is none or the log does not reach back to it, and the log behind it.

    Raises what `Exporter.export` and the client raise, and `AuthorKeyMissingError`.
    """
    paths, (tenant, collection) = StatePaths(hub), which
    now_ms = int(time.time() * 1000)
    async with open_replica_bus(hub) as bus:
        signer = find_author_key(hub, now_ms, passphrases)
        log = CorpusLog(StoredStream(bus, CORPUS), tenant)
        exporter = Exporter(paths.replica(tenant), log, Repository(paths.repository), signer)
        progress.start(f"writing {collection} to {file.name}", 1)
        try:
            exported = await exporter.export(tenant, collection, file, now_ms)
        except (UnknownTargetError, HoleError):
            progress.start(f"writing a snapshot of {collection}", 1)
            await ReplicaClient(bus).snapshot(tenant, collection)
            exported = await exporter.export(tenant, collection, file, now_ms)
        progress.step()
        return exported


def import_collection(settings: Settings, file: Path) -> CollectionImported:
    """Join a collection from a file, as the site. Raises what `join_file` and the client raise."""
    paths = StatePaths(settings)
    if not paths.replicas.is_dir():  # a file that is refused makes no store
        asyncio.run(open_file(file, paths.trust, read_machine_clock()))
    try:
        with lock_replicas(paths.replicas):
            return _join_alone(settings, file)
    except ReplicasBusyError:  # the sync worker runs
        return asyncio.run(_ask_worker(settings, file))


async def _ask_worker(settings: Settings, file: Path) -> CollectionImported:
    path = await asyncio.to_thread(file.resolve)
    async with open_replica_bus(settings) as bus:
        return await ReplicaClient(bus).import_file(str(path))


def _join_alone(settings: Settings, file: Path) -> CollectionImported:
    paths = StatePaths(settings)
    with contextlib.ExitStack() as stack:
        stores = {
            tenant: stack.enter_context(
                contextlib.closing(ReplicaStore(paths.replica(tenant), settings.site, secrets.token_hex(8)))
            )
            for tenant in settings.tenants
        }
        return imported(asyncio.run(join_file(stores, file, paths.trust, read_machine_clock())))
