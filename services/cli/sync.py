"""`tidegate sync`: what a domain holds, whether it is right, and what becomes of versions that were written apart.

Everything is asked of the domain's sync worker, the one writer of its stores. Next: sync_files.py; sync_tables.py;
publish.py; sync/shells/replica_client.py."""

from __future__ import annotations

import re

import click
import msgspec

from tidegate.schemas import CollectionStatus, Dot, RepairOutcome, ReplicaStatus, TidegateError
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.run import run_until_stopped
from tidegate.services.cli.sync_files import sync_export, sync_import
from tidegate.services.cli.sync_tables import (
    describe_conflict,
    describe_outcome,
    print_replicas,
)
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.endpoints import UnknownSiteError
from tidegate.services.fleet.replicas import list_domains, open_replica_client
from tidegate.services.settings import Settings
from tidegate.sync.shells.replica_client import ReplicaClient, SyncWorkerMissingError

COLLECTION = click.option("--collection", default="", help="Only this collection [default: all].")
_DOT = re.compile(r"([a-z0-9][a-z0-9_-]{0,31}@[1-9]\d{0,8}):([1-9]\d{0,15})")


class UnknownCollectionError(TidegateError, LookupError):
    """The domain holds no such collection."""

    hint = "`tidegate sync status` lists those that it holds; `tidegate publish` makes them at the hub"


class UnknownVersionError(TidegateError, LookupError):
    """The document has no such version, or is in no conflict."""

    hint = "`tidegate sync conflicts list` names the versions of each document, as site1@1:41"


@click.group(cls=CommandGroup)
def sync() -> None:
    """What a site or the hub holds and how old it is; compare, repair, carry by file, decide conflicts."""


sync.add_command(sync_export)
sync.add_command(sync_import)


@sync.command("status")
@with_options("site", "tenant", "as_json")
@COLLECTION
def sync_status(options: CommandOptions, collection: str) -> int:
    """Show what each domain holds: position, lag, freshness, epochs, lease and rung; of all that are up, or of --site.

    The exit code is 0 where any sync worker answered, whatever it says.
    """
    settings = options.settings()

    async def ask() -> int:
        domains = (settings,) if options.site else list_domains(settings)
        known: list[ReplicaStatus] = []
        missing: list[TidegateError] = []
        for domain in domains:
            try:
                known.append(await ask_status(domain, options.tenant or "", collection))
            except (SyncWorkerMissingError, UnknownSiteError, ConnectionError) as error:
                missing.append(as_ours(error))
        if missing and not known:
            raise missing[0]
        if options.as_json:
            echo(msgspec.json.encode({"domains": known, "problems": [each.reason for each in missing]}))
        else:
            print_replicas(known, [each.reason for each in missing])
        return 0

    return run_until_stopped(ask())


async def ask_status(settings: Settings, tenant: str, collection: str) -> ReplicaStatus:
    """What one domain's sync worker says."""
    async with open_replica_client(settings) as client:
        return await client.status(tenant, collection)


def as_ours(error: Exception) -> TidegateError:
    """A connection that failed, as an error with a hint."""
    return error if isinstance(error, TidegateError) else SyncWorkerMissingError(str(error))


@sync.command("verify")
@with_options("site", "tenant", "as_json")
@COLLECTION
def sync_verify(options: CommandOptions, collection: str) -> int:
    """Read every document back from the disk, compare with the hub and with the index, and change nothing.

    The exit code is 1 where anything differs, or could not be compared.
    """
    return run_until_stopped(compare(options, collection, is_repair=False))


@sync.command("repair")
@with_options("site", "tenant", "as_json")
@COLLECTION
def sync_repair(options: CommandOptions, collection: str) -> int:
    """Compare as `verify` does, repair just what differs, and say what it was and why it is thought to have happened.

    The exit code is 1 where a repair could not be ended.
    """
    return run_until_stopped(compare(options, collection, is_repair=True))


async def compare(options: CommandOptions, collection: str, *, is_repair: bool) -> int:
    """Compare collection by collection, so that whoever waits sees how far it is."""
    settings = options.settings()
    outcomes: list[RepairOutcome] = []
    async with open_replica_client(settings) as client:
        with show_progress() as progress:
            found = await find_collections(client, options.tenant or "", collection)
            progress.start(f"{settings.site}: {'repairing' if is_repair else 'comparing'}", len(found))
            for each in found:
                progress.show(each.collection)
                ask = client.repair if is_repair else client.verify
                outcomes += await ask(each.tenant, each.collection)
                progress.step(each.collection)
    lines = [line for each in outcomes for line in describe_outcome(each, is_repair=is_repair)]
    print_result({"domain": settings.site, "outcomes": outcomes}, "\n".join(lines), options.as_json)
    return int(any(each.fault or (not is_repair and (each.documents or each.index)) for each in outcomes))


async def find_collections(client: ReplicaClient, tenant: str, collection: str) -> tuple[CollectionStatus, ...]:
    """The collections that are meant. Raises `UnknownCollectionError` where there is none of that name."""
    found = (await client.status(tenant, collection)).collections
    if collection and not found:
        raise UnknownCollectionError(f"there is no collection {collection!r}")
    return found


@sync.group("conflicts", cls=CommandGroup)
def sync_conflicts() -> None:
    """List and decide conflicts: documents of which versions were written apart."""


@sync_conflicts.command("list")
@with_options("site", "tenant", "as_json")
@COLLECTION
@click.option("--open", "only_open", is_flag=True, help="Only those that a person has to decide.")
def conflicts_list(options: CommandOptions, collection: str, only_open: bool) -> int:
    """List documents whose versions were written apart, with their versions, and what became of them."""

    async def ask() -> int:
        async with open_replica_client(options.settings()) as client:
            found = await client.conflicts(options.tenant or "", collection)
        shown = [each for each in found if each.is_open or not only_open]
        lines = [line for each in shown for line in describe_conflict(each)] or ["there is no conflict"]
        print_result({"conflicts": shown}, "\n".join(lines), options.as_json)
        return 0

    return run_until_stopped(ask())


@sync_conflicts.command("resolve")
@click.argument("collection")
@click.argument("document")
@with_options("site", "tenant", "as_json")
@click.option("--keep", help="The version that stays, as `conflicts list` names it: site1@1:41.")
@click.option("--delete", "is_deletion", is_flag=True, help="No version stays: the document is deleted.")
def conflicts_resolve(
    options: CommandOptions, collection: str, document: str, keep: str | None, is_deletion: bool
) -> int:
    """Decide the conflict of DOCUMENT in COLLECTION: every site gets the decision as an edit over all versions."""
    if (keep is None) is not is_deletion:
        raise click.UsageError("give either --keep VERSION or --delete")
    chosen = None if keep is None else read_dot(keep)

    async def ask() -> int:
        settings = options.settings()
        tenant = options.tenant or settings.tenants[0]
        async with open_replica_client(settings) as client:
            known = await client.conflicts(tenant, collection)
            versions = [each.versions for each in known if each.document_id == document]
            if not versions or (chosen is not None and chosen not in [each.dot for each in versions[0]]):
                what = f"no version {chosen}" if versions and chosen else "no conflict"
                raise UnknownVersionError(f"{document} in {collection} has {what}")
            written = await client.resolve(tenant, collection, document, chosen)
        text = "".join(f"{document}: {dot} replaces {len(versions[0])} versions" for dot in written.dots.values())
        print_result(written, text, options.as_json)
        return 0

    return run_until_stopped(ask())


def read_dot(text: str) -> Dot:
    """A version as people write it. Raises a usage error."""
    matched = _DOT.fullmatch(text)
    if matched is None:
        raise click.UsageError(f"{text!r} is no version: they are named as site1@1:41")
    return Dot(matched[1], int(matched[2]))
