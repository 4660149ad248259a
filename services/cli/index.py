"""`tidegate index`: a site's documents, written as the site. Next: services/fleet/site_documents.py; index/hybrid.py.

Promises that a command that is refused writes nothing, and that two files never become one document.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.keys import read_passphrase
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.models import ProgressReporter, check_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.site_documents import (
    DocumentChange,
    DocumentsChanged,
    NoReplicasError,
    change_documents,
    find_collections,
    has_replicas,
)
from tidegate.services.languages.words import LANGUAGES
from tidegate.services.packs.documents import INGESTED, SUFFIXES, UNREAD, name_passed_over, read_documents
from tidegate.services.packs.findings import PackFault, PackFindings
from tidegate.services.packs.folder import list_files
from tidegate.services.settings import Settings


class NothingReadError(TidegateError, ValueError):
    """None of the files can be read as a document."""

    hint = f"documents are {', '.join(SUFFIXES)} files"


class IndexMissingError(TidegateError, LookupError):
    """The tenant has no index at the site."""

    hint = "`tidegate up` makes it from the pack, `tidegate index add` from files; --state names another directory"


class UnknownDocumentError(TidegateError, LookupError):
    """The index does not hold all of the documents that were to be deleted; those that it holds are deleted."""

    hint = "`tidegate index status --json` lists the ids that it holds"


@click.group(cls=CommandGroup)
def index() -> None:
    """Add, delete and count a site's documents."""


COLLECTION = click.option(
    "--collection",
    default="",
    help="A collection that sites may write [default: the site's own, which stays there].",
)


@index.command("add")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@with_options("site", "tenant", "as_json")
@COLLECTION
def index_add(options: CommandOptions, paths: tuple[Path, ...], collection: str) -> int:
    """Add the documents in PATHS, files or folders, or newer versions of them; workers see them at the next question.

    They are Markdown, PDF, Word (.docx), Excel (.xlsx), HTML, CSV, text, or, with the extra `vision`, pictures of pages
    (.png, .jpg, .tif). A file that cannot be read is named and left
    out, and makes the exit code 1.
    """
    with show_progress() as progress:
        documents, notes = read_paths(paths, progress)
        changed = change_replica(options, progress, collection, documents=tuple(documents))
        if changed is None or not changed.is_by_worker:
            hybrid = open_index(options, must_exist=False)
            progress.start("adding documents", len(documents))
            hybrid.upsert(documents, on_document=lambda document: progress.step(document.title))
    rows = [
        {"id": document.id, "version": document.version, "title": document.title, "pages": len(document.page_starts)}
        for document in documents
    ]
    if not options.as_json:
        echo("".join(f"warning: {note}\n" for note in notes), nl=False, err=True)
        warn_of_delay(changed)
    lines = "\n".join(f"{row['id']}@{row['version']}" for row in rows)
    result = {"documents": rows, "notes": notes}
    print_result(result if changed is None else {**result, "collection": changed.collection}, lines, options.as_json)
    return 1 if any(is_unread(note) for note in notes) else 0


@index.command("delete")
@click.argument("ids", nargs=-1, required=True)
@with_options("site", "tenant", "as_json")
@COLLECTION
def index_delete(options: CommandOptions, ids: tuple[str, ...], collection: str) -> int:
    """Delete documents by id, for good: they never come back by themselves."""
    names = tuple(dict.fromkeys(ids))
    with show_progress() as progress:
        changed = change_replica(options, progress, collection, deleted=names)
    found = set(changed.deleted) if changed else set()
    others = [each for each in names if each not in found]
    settings, tenant = find_tenant(options)
    elsewhere = find_collections(settings, tenant, others) if changed else {}
    in_index = others if changed and changed.is_by_worker else names  # its worker has the index follow
    found |= delete_from_index(options, [each for each in in_index if each not in elsewhere], changed)
    missing = [each for each in names if each not in found and each not in elsewhere]
    if options.as_json:
        deleted = [each for each in names if each in found]
        result = {"deleted": deleted, "unknown": missing}
        echo(msgspec.json.encode(result if changed is None else {**result, "elsewhere": elsewhere}))
    else:
        warn_of_delay(changed)
        reasons = [f"not in the index: {', '.join(missing)}"] if missing else []
        reasons += [f"{name} is in {other}, to be deleted with --collection" for name, other in elsewhere.items()]
        if reasons:
            raise UnknownDocumentError("; ".join(reasons))
    return 1 if missing or elsewhere else 0


def delete_from_index(options: CommandOptions, ids: Sequence[str], changed: DocumentsChanged | None) -> set[str]:
    """Delete documents from the index itself; those that were there. Raises `IndexMissingError` where there is none,
    unless the documents were deleted from a collection."""
    settings, tenant = find_tenant(options)
    if changed is not None and not (ids and StatePaths(settings).index(tenant).is_dir()):
        return set()
    hybrid = open_index(options, must_exist=True)
    known = hybrid.document_ids()
    found = [each for each in ids if each in known]
    hybrid.delete(found)
    return set(found)


def change_replica(
    options: CommandOptions,
    progress: ProgressReporter,
    collection: str,
    documents: tuple[Document, ...] = (),
    deleted: tuple[str, ...] = (),
) -> DocumentsChanged | None:
    """Write to the collections of the site; None where it has none, and its index is all there is.

    Raises `NoReplicasError` where a collection is named there, and what `change_documents` raises.
    """
    settings, tenant = find_tenant(options)
    if not has_replicas(settings, tenant):
        if collection:
            raise NoReplicasError(f"{settings.site} keeps {tenant} in no collections")
        return None
    check_models(settings)
    from tidegate.services.knowledge.embedding import Embedder

    change = DocumentChange(
        settings=settings, tenant=tenant, collection=collection, documents=documents, deleted=deleted
    )
    return change_documents(change, Embedder.load(StatePaths(settings).models), progress, read_passphrase)


def warn_of_delay(changed: DocumentsChanged | None) -> None:
    """Say where the index does not follow as soon as it should."""
    if changed is not None and changed.is_by_worker and not changed.is_indexed:
        echo("warning: it is stored, and not searchable yet: `tidegate sync status` says how far it is", err=True)


@index.command("status")
@with_options("site", "tenant", "as_json")
def index_status(options: CommandOptions) -> None:
    """Count documents, passages and tombstones."""
    hybrid = open_index(options, must_exist=True)
    status = msgspec.to_builtins(hybrid.status())
    lines = [f"{name}: {value}" for name, value in status.items()]
    print_result({**status, "ids": sorted(hybrid.document_ids())}, "\n".join(lines), options.as_json)


def read_paths(paths: Sequence[Path], progress: ProgressReporter) -> tuple[list[Document], list[PackFault]]:
    """The documents in files and folders, and what is to be known about files that are not read, or not all of them.

    Raises `PackError` for Markdown that cannot be used and for two documents with one id, `NothingReadError`.
    """
    files = list(dict.fromkeys(find_files(paths)))
    folders = [path.absolute() for path in paths if path.is_dir()]
    places = [*(file.parent for file in files), *folders]
    root = Path(os.path.commonpath(places)) if places else Path.cwd()
    findings = PackFindings(root)
    for folder in folders:
        name_passed_over(folder, findings)
    if any(file.suffix.lower() in INGESTED for file in files):
        progress.start("reading documents", len(files))
    documents = list(read_documents(files, LANGUAGES, findings, progress.step, progress.show))
    findings.raise_faults(root)
    if not documents:
        reasons = "; ".join(map(str, findings.warnings)) or f"there is no document in {', '.join(map(str, paths))}"
        raise NothingReadError(reasons)
    return documents, findings.warnings


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """The files that were named, and those in the folders that may be documents."""
    for path in paths:
        if path.is_dir():
            yield from (file.absolute() for file in list_files(path) if file.suffix.lower() in SUFFIXES)
        else:
            yield path.absolute()


def is_unread(note: PackFault) -> bool:
    """Whether a note is on a file that was left out."""
    return note.reason.startswith(UNREAD)


def open_index(options: CommandOptions, *, must_exist: bool) -> Any:
    """The tenant's index at the site. Raises `IndexMissingError`, `ModelsNotBuiltError`, `UnknownTenantError`, …"""
    settings, tenant = find_tenant(options)
    check_models(settings)
    from tidegate.services.knowledge.embedding import Embedder
    from tidegate.services.knowledge.index.hybrid import HybridIndex

    paths = StatePaths(settings)
    if must_exist and not paths.index(tenant).is_dir():
        raise IndexMissingError(f"{settings.site} has no index of {tenant} below {settings.state_dir}")
    embedder = Embedder.load(paths.models)
    return HybridIndex.open(paths.index(tenant), embedder, exact_below=settings.retriever.exact_below)


def find_tenant(options: CommandOptions) -> tuple[Settings, str]:
    """The settings of the site, and the tenant that is meant. Raises `SettingsError`, `UnknownTenantError`, …"""
    settings = options.settings()
    return settings, options.tenant or settings.tenants[0]
