"""Waits until sites have what was published: each collection up to where the hub is, indexed, and each artefact.

Promises to say of each site how long it took, and which site lacks what when the time is over. Next: publishing.py."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

import msgspec

from tidegate.schemas import ArtefactPublished, Collection, LogPosition, ReplicaStatus, TidegateError, replace
from tidegate.services.fleet.endpoints import read_endpoints
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.replicas import open_replica_client
from tidegate.services.settings import Settings
from tidegate.sync.rules.ownership import may_hold
from tidegate.sync.shells.replica_client import ReplicaClient, ReplicaRefusedError, SyncWorkerMissingError
from tidegate.sync.store import reading_store

ASK_EVERY_S = 0.05
FETCHED_LATER = ("model", "adapter")
"""Kinds whose bytes a site fetches when it wants them: that it knows of them is enough."""


class NotArrivedError(TidegateError, TimeoutError):
    """Not every site had what was published in time."""

    hint = "`tidegate sync status` says what each site waits for; what is published reaches it when it can"


class ExpectedState(msgspec.Struct, frozen=True, kw_only=True):
    """What a site is to have: the positions of shared collections, with their rules, and epochs of artefacts."""

    tenant: str
    collections: Mapping[str, tuple[Collection, LogPosition]]
    artefacts: tuple[ArtefactPublished, ...] = ()


def expect_state(
    hub: Settings, tenant: str, collections: Sequence[str], artefacts: Sequence[ArtefactPublished]
) -> ExpectedState:
    """What the hub holds now, of these collections and artefacts. Raises `StoreDamagedError`."""
    expected: dict[str, tuple[Collection, LogPosition]] = {}
    if collections:
        with reading_store(StatePaths(hub).replica(tenant)) as reader:
            for record in map(reader.record, collections):
                if record.collection.owner == "shared" and record.replica.position is not None:
                    expected[record.collection.name] = (record.collection, record.replica.position)
    return ExpectedState(tenant=tenant, collections=expected, artefacts=tuple(artefacts))


async def wait_for_sites(
    settings: Settings, expected: ExpectedState, progress: ProgressReporter, within_s: float
) -> dict[str, float]:
    """How many seconds each site of this machine took until it had it. Raises `NotArrivedError`,
    `FleetNotRunningError`, `UnreachableError`."""
    sites = tuple(read_endpoints(settings).sites)
    progress.start("waiting for the sites", len(sites))
    lacking = dict.fromkeys(sites, "what its sync worker holds is not known")
    began_s = time.monotonic()

    async def wait(site: str) -> tuple[str, float]:
        async with open_replica_client(replace(settings, site=site)) as client:
            while lacking[site]:
                lacking[site] = await _ask_lacking(client, site, expected)
                await asyncio.sleep(ASK_EVERY_S if lacking[site] else 0)
        progress.step(site)
        return site, round(time.monotonic() - began_s, 2)

    try:
        async with asyncio.timeout(within_s):
            return dict(await asyncio.gather(*map(wait, sites)))
    except TimeoutError as error:
        still = "; ".join(f"{site} lacks {what}" for site, what in lacking.items() if what)
        raise NotArrivedError(f"after {within_s:g} s {still}") from error


async def _ask_lacking(client: ReplicaClient, site: str, expected: ExpectedState) -> str:
    try:
        return find_lacking(await client.status(expected.tenant), site, expected)
    except (SyncWorkerMissingError, ReplicaRefusedError) as error:
        return str(error)


def find_lacking(status: ReplicaStatus, site: str, expected: ExpectedState) -> str:
    """The first thing that a site has not, in words; empty where it has all of it."""
    held = {each.collection: each for each in status.collections}
    for name, (rules, position) in expected.collections.items():
        if not may_hold(rules, site):
            continue
        own = held.get(name)
        reached = read_position(own.position) if own else None
        if own is None or reached is None or reached < position:
            return f"{name} {position}"
        if own.indexed_generation < own.generation:
            return f"the index of {name}"
    epochs = {(each.kind, each.name): each for each in status.artefacts}
    for artefact in expected.artefacts:
        known = epochs.get((artefact.kind, artefact.name))
        epoch = 0 if known is None else known.offered if artefact.kind in FETCHED_LATER else known.epoch
        if epoch < artefact.epoch:
            return f"the {artefact.kind} {artefact.name} {artefact.epoch}"
    return ""


def read_position(text: str) -> LogPosition | None:
    """A position as a status states it; None where there is none."""
    epoch, dot, index = text.partition(".")
    return LogPosition(int(epoch), int(index)) if dot else None
