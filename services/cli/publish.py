"""`tidegate publish`: how anything reaches the sites. It is written, signed and numbered at the hub, and sites follow.

Promises that the same again publishes nothing, and that a publication which is interrupted leaves no file behind.
Next: services/fleet/publishing.py, artefacts.py; index.py, how a site writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import click
import msgspec

from tidegate.schemas import TidegateError, replace
from tidegate.schemas.artefact import ArtefactKind, Rung
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.index import is_unread, read_paths
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.run import run_until_stopped
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.arrival import expect_state, wait_for_sites
from tidegate.services.fleet.artefacts import (
    ArtefactTerms,
    PartPublisher,
    check_policy,
    check_prompt,
    name_of_file,
)
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.publishing import (
    DocumentPublication,
    PackPublication,
    PublishReport,
    publish_documents,
    publish_pack,
)
from tidegate.services.fleet.replicas import open_replica_client
from tidegate.services.settings import Settings
from tidegate.sync.shells.replica_client import ReplicaClient

DAY_S = 86_400
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
WAITING = (
    click.option("--wait", is_flag=True, help="Wait until all sites of this machine have it; say how long each took."),
    click.option(
        "--within", "within_s", default=600.0, show_default=True, type=click.FloatRange(1), help="Seconds to wait so."
    ),
)
TERMS = (
    click.option(
        "--critical", "is_critical", is_flag=True, help="Policies come into force everywhere at once, in two phases."
    ),
    click.option(
        "--soft-s",
        default=7 * DAY_S,
        show_default=True,
        type=click.IntRange(1),
        help="Seconds after which a site that heard nothing labels its answers as stale.",
    ),
    click.option(
        "--hard-s",
        default=30 * DAY_S,
        show_default=True,
        type=click.IntRange(1),
        help="Seconds after which it does no more than --at-hard.",
    ),
    click.option(
        "--at-hard", default="evidence-only", show_default=True, type=click.Choice(get_args(Rung)), help="See --hard-s."
    ),
)
NAME = click.option("--name", default="", help="Publish it under this name [default: that of the file or folder].")
Publish = Callable[[ReplicaClient, ProgressReporter], Awaitable[PublishReport]]


class SiteDocumentsError(TidegateError, ValueError):
    """The documents are of scope `site`: they are never at the hub."""

    hint = "write them at their site: `tidegate index add PATH --site NAME`; or name a collection with --collection"


class Waiting(msgspec.Struct, frozen=True):
    """Whether a command waits for the sites, and for how long."""

    is_wanted: bool
    within_s: float


@click.group(cls=CommandGroup)
def publish() -> None:
    """Publish a pack, documents, policies, prompts and weights at the hub, for the sites that may have them."""


def with_all(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command these options, in this order."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@publish.command("pack")
@click.argument("directory", type=FOLDER)
@with_options("tenant", "as_json")
@with_all(*TERMS, *WAITING)
@click.option("--overwrite", is_flag=True, help="Replace also what a site has edited or deleted since.")
def publish_pack_command(
    options: CommandOptions, directory: Path, overwrite: bool, wait: bool, within_s: float, **terms: Any
) -> int:
    """Publish the pack in DIRECTORY: collections, policies and other parts, and those of its documents that changed.

    Documents that came from the pack and are gone from it are deleted. Those of scope `site` are named, not published.
    """
    options = replace(options, pack_dir=directory)  # its settings name its tenants
    hub, tenant = find_hub(options)
    wanted = PackPublication(hub=hub, tenant=tenant, pack=directory, terms=ArtefactTerms(**terms), overwrites=overwrite)
    return run(options, lambda client, progress: publish_pack(client, wanted, progress), Waiting(wait, within_s))


@publish.command("document")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@with_options("tenant", "as_json")
@click.option("--collection", default="", help="The collection [default: that for the scope of each document].")
@with_all(*WAITING)
def publish_document(
    options: CommandOptions, paths: tuple[Path, ...], collection: str, wait: bool, within_s: float
) -> int:
    """Publish the documents in PATHS, files or folders, of any kind that `tidegate index add` reads.

    The exit code is 1 where one of them was left out.
    """
    hub, tenant = find_hub(options)
    with show_progress() as progress:
        documents, notes = read_paths(paths, progress)
    kept_back = () if collection else tuple(each.id for each in documents if each.scope == "site")
    wanted = DocumentPublication(
        hub=hub,
        tenant=tenant,
        documents=tuple(each for each in documents if each.id not in kept_back),
        collection=collection,
    )
    if not wanted.documents:
        raise SiteDocumentsError(f"of scope site, and never at the hub: {', '.join(kept_back)}")

    async def work(client: ReplicaClient, progress: ProgressReporter) -> PublishReport:
        return replace(await publish_documents(client, wanted, progress), at_sites_only=kept_back)

    if not options.as_json:
        echo("".join(f"warning: {note}\n" for note in notes), nl=False, err=True)
    code = run(options, work, Waiting(wait, within_s))
    return code or int(bool(kept_back) or any(is_unread(note) for note in notes))


@publish.command("policy")
@click.argument("file", type=FILE)
@with_options("tenant", "as_json")
@with_all(NAME, *TERMS, *WAITING)
def publish_policy(options: CommandOptions, file: Path, **given: Any) -> int:
    """Publish the policy in FILE as its next epoch; sites put it in force without a restart."""
    check_policy(file)
    return publish_artefact(options, "policy", file, given)


@publish.command("prompt")
@click.argument("file", type=FILE)
@with_options("tenant", "as_json")
@with_all(NAME, *TERMS[1:], *WAITING)
def publish_prompt(options: CommandOptions, file: Path, **given: Any) -> int:
    """Publish the prompt in FILE: what a model that writes answers is told."""
    check_prompt(file)
    return publish_artefact(options, "prompt", file, given)


@publish.command("model")
@click.argument("directory", type=FOLDER)
@with_options("tenant", "as_json")
@with_all(NAME, *TERMS[1:], *WAITING)
def publish_model(options: CommandOptions, directory: Path, **given: Any) -> int:
    """Publish the model in DIRECTORY: its files, as one archive, which a site fetches when an adapter needs it."""
    return publish_artefact(options, "model", directory, given)


@publish.command("adapter")
@click.argument("directory", type=FOLDER)
@with_options("tenant", "as_json")
@click.option("--base", multiple=True, help="Digest of a model that it fits; may be given more than once.")
@with_all(NAME, *TERMS[1:], *WAITING)
def publish_adapter(options: CommandOptions, directory: Path, base: tuple[str, ...], **given: Any) -> int:
    """Publish the adapter in DIRECTORY, for the models of --base, without which no site uses it; of none, for any."""
    return publish_artefact(options, "adapter", directory, {**given, "base_digests": base})


def publish_artefact(options: CommandOptions, kind: ArtefactKind, path: Path, given: dict[str, Any]) -> int:
    """Publish one file or folder, with the options of its command."""
    hub, tenant = find_hub(options)
    waiting = Waiting(given.pop("wait"), given.pop("within_s"))
    name = given.pop("name") or name_of_file(path.resolve())
    terms, is_folder = ArtefactTerms(**given), path.is_dir()

    async def work(client: ReplicaClient, progress: ProgressReporter) -> PublishReport:
        publisher = PartPublisher(client, hub, tenant)
        progress.start(f"publishing the {kind} {name}", 1)
        method = publisher.publish_weights if is_folder else publisher.publish_file
        published = await method(kind, name, path, terms)
        progress.step()
        return PublishReport(tenant=tenant, artefacts=(published,))

    return run(options, work, waiting)


def find_hub(options: CommandOptions) -> tuple[Settings, str]:
    """The settings of the hub, and the tenant that is meant. Raises `SettingsError`, `UnknownTenantError`."""
    settings = replace(options, site=HUB).settings()
    return settings, options.tenant or settings.tenants[0]


def run(options: CommandOptions, work: Publish, waiting: Waiting) -> int:
    """Publish, wait for the sites where that is wanted, and print what was published."""
    hub, tenant = find_hub(options)

    async def go() -> int:
        took: dict[str, float] = {}
        async with open_replica_client(hub) as client:
            with show_progress() as progress:
                report = await work(client, progress)
                if waiting.is_wanted:
                    names = [each.name for each in report.collections]
                    expected = expect_state(hub, tenant, names, report.artefacts)
                    took = await wait_for_sites(hub, expected, progress, waiting.within_s)
        result = {**msgspec.to_builtins(report), "sites": took}
        print_result(result, "\n".join(describe_publication(report, took)), options.as_json)
        return 0

    return run_until_stopped(go())


def describe_publication(report: PublishReport, took: dict[str, float]) -> list[str]:
    """What was published, line by line; what was not, and why; when each site had it."""
    lines = [
        f"{each.name}: {each.written} written, {each.deleted} deleted, {each.unchanged} unchanged"
        for each in report.collections
    ]
    lines += [
        f"{each.kind} {each.name}: epoch {each.epoch}, {each.size} bytes" + ("" if each.is_new else ", unchanged")
        for each in report.artefacts
    ]
    for collection in report.collections:
        if collection.kept:
            lines.append(
                f"{collection.name}: edited or deleted at a site since, and left so (--overwrite replaces them): "
                f"{', '.join(collection.kept)}"
            )
    if report.at_sites_only:
        names = ", ".join(report.at_sites_only)
        lines.append(f"not published, as they never leave their site (`tidegate index add --site NAME` there): {names}")
    return lines + [f"{site} has it after {seconds:g} s" for site, seconds in took.items()]
