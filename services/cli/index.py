"""`tidegate index`: a site's documents. Next: services/knowledge/index/hybrid.py.

Promises that a command that is refused writes nothing, and that two files never become one document.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.fleet.models import check_models
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.documents import read_document


class DuplicateDocumentError(TidegateError, ValueError):
    """Two of the files that are to be added have the same id; only one of them would be kept."""

    hint = "give each document an id of its own in its front matter"


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
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_options("site", "tenant", "as_json")
def index_add(options: CommandOptions, files: tuple[Path, ...]) -> None:
    """Add Markdown FILES, or newer versions of them; workers see them at the next question."""
    documents = read_documents(files)
    hybrid = open_index(options, must_exist=False)
    with show_progress() as progress:
        progress.start("adding documents", len(documents))
        hybrid.upsert(documents)
    rows = [{"id": document.id, "version": document.version} for document in documents]
    print_result(rows, "\n".join(f"{row['id']}@{row['version']}" for row in rows), options.as_json)


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


def read_documents(files: tuple[Path, ...]) -> list[Document]:
    """The documents in the files. Raises `PackError` for one that cannot be used, `DuplicateDocumentError`."""
    by_id: dict[str, list[Path]] = defaultdict(list)
    documents = [read_document(path) for path in files]
    for path, document in zip(files, documents, strict=True):
        by_id[document.id].append(path)
    for name, paths in by_id.items():
        if len(paths) > 1:
            raise DuplicateDocumentError(f"{' and '.join(map(str, paths))} have the same id, {name}")
    return documents


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
