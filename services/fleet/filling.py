"""Fills the sites of this machine: a pack is published at the hub, and every domain takes it in before it answers.

Promises that nothing reaches a site on another way, and that the same pack again costs a look. Next: publishing.py;
arrival.py; services/replication, which does it in each domain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.arrival import ASK_EVERY_S, NotArrivedError, expect_state, wait_for_sites
from tidegate.services.fleet.made_files import has_outgrown
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.publishing import PackPublication, PublishReport, publish_pack
from tidegate.services.fleet.replicas import open_replica_client
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.settings import Settings

WITHIN_S = 600.0


class FilledSites(msgspec.Struct, frozen=True, kw_only=True):
    """What was published, by tenant, and how many seconds after it each site had the documents and artefacts.

    `began_empty`: no site had anything in force before.
    """

    began_empty: bool
    reports: dict[str, PublishReport]
    sites: dict[str, float]
    took_s: float


async def fill_sites(
    settings: Settings, sites: Sequence[str], progress: ProgressReporter, within_s: float = WITHIN_S
) -> FilledSites:
    """Publish the pack that the settings name for all tenants, and return when the hub and every site can answer by it.

    Raises what `publish_pack` and `wait_for_sites` raise, and `NotArrivedError` for what is not in force in time.
    """
    began_s = time.monotonic()
    hub = replace(settings, site=HUB)
    held = [StatePaths(replace(settings, site=site)).active(tenant) for site in sites for tenant in settings.tenants]
    began_empty = not any(GenerationStore(directory).usable() for directory in held)
    reports: dict[str, PublishReport] = {}
    took: dict[str, float] = {}
    async with open_replica_client(hub) as client:
        for tenant in settings.tenants:
            wanted = PackPublication(hub=hub, tenant=tenant, pack=Path(settings.pack_dir))
            report = reports[tenant] = await publish_pack(client, wanted, progress)
            names = [each.name for each in report.collections]
            expected = expect_state(hub, tenant, names, report.artefacts)
            took |= await wait_for_sites(hub, expected, progress, within_s)
    progress.start("bringing the pack into force", 1 + len(sites))
    for domain in (HUB, *sites):
        for tenant, report in reports.items():
            await wait_in_force(replace(settings, site=domain), tenant, report, within_s)
        progress.step(domain)
    took_s = round(time.monotonic() - began_s, 2)
    return FilledSites(began_empty=began_empty, reports=reports, sites=took, took_s=took_s)


async def wait_in_force(settings: Settings, tenant: str, report: PublishReport, within_s: float) -> None:
    """Return when a domain has in force what was published, made with the documents that it holds. Raises
    `NotArrivedError`."""
    until_s = time.monotonic() + within_s
    while lacking := await asyncio.to_thread(find_not_in_force, settings, tenant, report):
        if time.monotonic() > until_s:
            raise NotArrivedError(f"after {within_s:g} s {settings.site} lacks {lacking}")
        await asyncio.sleep(ASK_EVERY_S)


def find_not_in_force(settings: Settings, tenant: str, report: PublishReport) -> str:
    """The first thing that is not in force in a domain, in words; empty where all of it is."""
    paths = StatePaths(settings)
    record = GenerationStore(paths.active(tenant)).usable()
    if record is None:
        return f"the parts of {tenant}"
    for artefact in report.artefacts:
        if record.epochs.get(f"{artefact.kind}/{artefact.name}", 0) < artefact.epoch:
            return f"the {artefact.kind} {artefact.name} {artefact.epoch}"
    if has_outgrown(record.made_of, paths.index(tenant)):
        return f"what is made of the documents of {tenant}"
    return ""
