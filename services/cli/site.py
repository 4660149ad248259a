"""`tidegate site`: provisions a site or its replacement, attests it, revokes it, and finds out what is wrong with it.

Promises that provisioning a site, here or on another machine, is one command on each. Next: services/fleet, its
provision.py, site_bundle.py and doctor.py."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate.schemas import decode, encode, replace
from tidegate.schemas.lease import AttestNow, LeaseReport
from tidegate.schemas.replica import ReplicaFault
from tidegate.schemas.subjects import HUB, replica_request
from tidegate.services.cli.acts import log_act
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.fleet.audit_spool import act_event
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

ATTEST_TIMEOUT_S = 30.0
"""Measuring the models of a site takes seconds, the first time."""
FILE = click.Path(dir_okay=False, path_type=Path)
DISK = click.Path(exists=True, file_okay=False, writable=True, path_type=Path)


@click.group(cls=CommandGroup)
def site() -> None:
    """Provision a site, attest it, revoke it, or find out what is wrong with it."""


@site.command("add")
@click.argument("name", required=False)
@with_options("as_json")
@click.option("--bundle", type=FILE, help="Write what another machine needs to be this site into this file (secret).")
@click.option("--from", "source", type=FILE, help="On that machine: be the site of this file.")
@click.option("--into", "disk", type=DISK, help="The site's disk, or volume, is mounted here: make it the site's.")
def site_add(
    options: CommandOptions, name: str | None, bundle: Path | None, source: Path | None, disk: Path | None
) -> None:
    """Provision the site NAME: a new one, or the replacement of one that is known, whose disk, keys or trust are gone.

    At the hub without --bundle or --into: a site of this machine. What is provisioned already is left as it is.
    """
    if (name is None) == (source is None) or sum(each is not None for each in (bundle, source, disk)) > 1:
        raise click.UsageError(
            "give the NAME of a site, at the hub, with --bundle, --into or neither; or --from FILE, on its machine"
        )
    settings = options.settings()
    with show_progress() as progress:
        progress.start(f"provisioning {name or source}")
        result = install(settings, source) if source is not None else provision(settings, str(name), bundle, disk)
        progress.step()
    text = "\n".join(f"{key}: {value}" for key, value in result.items() if value not in ("", None))
    print_result(result, text, options.as_json)


@site.command("attest")
@with_options("site", "as_json")
def site_attest(options: CommandOptions) -> int:
    """Have the site show what it runs to the hub, and print its lease; exit code 1 and the reason where it has none."""
    report = asyncio.run(attest_now(options.site_settings()))
    print_result(report, describe_lease(report), options.as_json)
    return 1 if report.code else 0


@site.command("accept")
@click.argument("name")
@with_options("as_json")
def site_accept(options: CommandOptions, name: str) -> None:
    """At the hub: take what the site NAME states next, of its settings and models, for what it should run."""
    from tidegate.sync.trust.leases import unpin_site
    from tidegate.sync.trust.site_records import SiteRecords

    record = unpin_site(SiteRecords(hub_paths(options).site_records), name)
    log_act(options, HUB, act_event("site_accepted", name))
    print_result(msgspec.to_builtins(record), f"{name} may change its settings and models once", options.as_json)


@site.command("revoke")
@click.argument("name")
@with_options("as_json")
@click.option("--reason", default="", help="Why; it is shown wherever the site is refused.")
def site_revoke(options: CommandOptions, name: str, reason: str) -> None:
    """At the hub: let the site NAME read nothing new, and believe nothing of it. It comes back by `site add` only."""
    from tidegate.services.fleet.revocation import revoke_and_cut

    record, why_not = asyncio.run(revoke_and_cut(options.settings(), name, reason))
    text = f"{name} is revoked: {record.reason or 'no reason given'}"
    if why_not:
        text += f"\nthe hub's server was not changed ({why_not}): its sync worker does that when it runs"
    print_result({**msgspec.to_builtins(record), "not_cut": why_not}, text, options.as_json)


@site.command("doctor")
@with_options("site", "as_json")
def site_doctor(options: CommandOptions) -> int:
    """Check the site (or the hub) part by part; exit code 1 when something is at fault."""
    from tidegate.services.fleet.doctor import HUB_CHECKS, SITE_CHECKS, examine

    settings = options.settings()
    with show_progress() as progress:
        progress.start(f"checking {settings.site}", len(HUB_CHECKS if settings.site == HUB else SITE_CHECKS))
        report = asyncio.run(examine(settings, progress.step))
    result = {**msgspec.to_builtins(report), "is_healthy": report.is_healthy}
    lines = [
        f"{check.state:<8} {check.name:<10} {check.detail}" + (f"\n{'':<20}{check.hint}" if check.hint else "")
        for check in report.checks
    ]
    print_result(result, "\n".join(lines), options.as_json)
    return 0 if report.is_healthy else 1


def provision(settings: Settings, name: str, bundle: Path | None, disk: Path | None) -> dict[str, Any]:
    """What `site add` says at the hub. Raises as `provision_site`, `write_bundle` and `provision_disk` do."""
    from tidegate.services.fleet.provision import provision_site
    from tidegate.services.fleet.site_bundle import provision_disk, write_bundle

    if disk is not None:
        enrolment = provision_disk(settings, name, disk)
    elif bundle is not None:
        _, enrolment = write_bundle(settings, name, bundle)
    else:
        enrolment = provision_site(settings, name)
    return {
        "site": name,
        "incarnation": enrolment.identity.incarnation,
        "is_new": enrolment.is_new,
        "keys": {key.role: key.key_id for key in enrolment.keys},
        "leaf_nkey": hub_leaf(settings, name),
        "bundle": str(bundle or ""),
        "next": f"on its machine: tidegate site add --from {bundle.name}" if bundle else "",
    }


def install(settings: Settings, source: Path) -> dict[str, Any]:
    """What `site add` says on the site's machine. Raises as `install_bundle` does."""
    from tidegate.services.fleet.site_bundle import install_bundle, read_bundle

    bundle = read_bundle(source)
    identity = install_bundle(settings, bundle)
    return {
        "site": identity.site,
        "incarnation": identity.incarnation,
        "tenants": list(identity.tenants),
        "leaf_seed_file": str(StatePaths(settings).leaf_seed(identity.site)),
        "hub_leaf_url": bundle.hub_leaf_url,
        "next": f"delete {source.name}; let the leaf of this site's server use the seed; start its workers",
    }


async def attest_now(settings: Settings) -> LeaseReport:
    """Ask the sync worker of the site. Raises `UnreachableError`, `FleetNotRunningError`, `HubRefusedError`."""
    from tidegate.brokers.jetstream.bus import JetStreamBus
    from tidegate.services.fleet.endpoints import find_server
    from tidegate.sync.shells.lease_requests import HubRefusedError

    async with JetStreamBus.open(find_server(settings), settings.site) as bus:
        reply = await bus.request(replica_request("attest"), encode(AttestNow()), timeout_s=ATTEST_TIMEOUT_S)
    report = decode(reply, LeaseReport, ReplicaFault)
    if isinstance(report, ReplicaFault):
        raise HubRefusedError(report)
    return report  # type: ignore[no-any-return]


def describe_lease(report: LeaseReport) -> str:
    """A lease, or why there is none, for people."""
    of = f"{report.site}, incarnation {report.incarnation}"
    left_s = report.until_ms / 1000 - time.time()
    lease = f"{of}: a lease for {left_s:.0f} s more, assurance: {report.assurance}" if left_s > 0 else f"{of}: no lease"
    if report.code:
        return f"{lease}\n{report.code}: {report.reason}\n{report.hint}"
    epochs = ", ".join(f"{name} {epoch}" for name, epoch in sorted(report.epochs.items())) or "none"
    measured = "\n".join(f"  {name} {digest}" for name, digest in sorted(report.measured.items()))
    return f"{lease}\ncritical epochs in force: {epochs}\nwhat it stated:\n{measured}"


def hub_paths(options: CommandOptions) -> StatePaths:
    """The paths of the hub of this machine. Raises `SettingsError`."""
    return StatePaths(replace(options.settings(), site=HUB))


def hub_leaf(settings: Settings, name: str) -> str:
    """The public nkey by which the hub's server is to know the site's leaf. Raises `NkeySeedError`."""
    from tidegate.brokers.servers.credentials import load_credential

    return load_credential(StatePaths(settings).leaf_seed(name)).public
