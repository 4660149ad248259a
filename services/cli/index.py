"""`tidegate index`: a site's documents. Next: services/knowledge/index/hybrid.py.

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
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.fleet.models import ProgressReporter, check_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.languages.words import LANGUAGES
from tidegate.services.packs.documents import INGESTED, SUFFIXES, UNREAD, name_passed_over, read_documents
from tidegate.services.packs.findings import PackFault, PackFindings
from tidegate.services.packs.folder import list_files


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


@index.command("add")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@with_options("site", "tenant", "as_json")
def index_add(options: CommandOptions, paths: tuple[Path, ...]) -> int:
    """Add the documents in PATHS, files or folders, or newer versions of them; workers see them at the next question.

    They are Markdown, PDF, Word (.docx), Excel (.xlsx), HTML, CSV, text, or, with the extra `vision`, pictures of pages
    (.png, .jpg, .tif). A file that cannot be read is named and left
    out, and makes the exit code 1.
    """
    with show_progress() as progress:
        documents, notes = read_paths(paths, progress)
        hybrid = open_index(options, must_exist=False)
        progress.start("adding documents", len(documents))
        hybrid.upsert(documents, on_document=lambda document: progress.step(document.title))
    rows = [
        {"id": document.id, "version": document.version, "title": document.title, "pages": len(document.page_starts)}
        for document in documents
    ]
    if not options.as_json:
        click.echo("".join(f"warning: {note}\n" for note in notes), nl=False, err=True)
    lines = "\n".join(f"{row['id']}@{row['version']}" for row in rows)
    print_result({"documents": rows, "notes": notes}, lines, options.as_json)
    return 1 if any(is_unread(note) for note in notes) else 0


@index.command("delete")
@click.argument("ids", nargs=-1, required=True)
@with_options("site", "tenant", "as_json")
def index_delete(options: CommandOptions, ids: tuple[str, ...]) -> int:
    """Delete documents by id, for good: they never come back by themselves."""
    hybrid = open_index(options, must_exist=True)
    known = hybrid.document_ids()
    found, missing = ([each for each in dict.fromkeys(ids) if (each in known) is wanted] for wanted in (True, False))
    hybrid.delete(found)
    if options.as_json:
        click.echo(msgspec.json.encode({"deleted": found, "unknown": missing}))
    elif missing:
        raise UnknownDocumentError(f"not in the index: {', '.join(missing)}")
    return 1 if missing else 0


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
    settings = options.settings()
    check_models(settings)
    from tidegate.services.knowledge.embedding import Embedder
    from tidegate.services.knowledge.index.hybrid import HybridIndex

    paths = StatePaths(settings)
    tenant = options.tenant or settings.tenants[0]
    if must_exist and not paths.index(tenant).is_dir():
        raise IndexMissingError(f"{settings.site} has no index of {tenant} below {settings.state_dir}")
    embedder = Embedder.load(paths.models)
    return HybridIndex.open(paths.index(tenant), embedder, exact_below=settings.retriever.exact_below)
