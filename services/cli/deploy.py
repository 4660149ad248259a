"""`tidegate topology`, `pack`, `index` and `config`: the commands of whoever deploys."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from tidegate.services.cli.options import CONFIG, JSON, SITE, load, load_settings

if TYPE_CHECKING:
    from tidegate.schemas.pack import Document
    from tidegate.services.knowledge.index.hybrid import HybridIndex


@click.group()
def pack() -> None:
    """Check a pack directory."""


@pack.command("check")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@JSON
def pack_check(directory: Path, as_json: bool) -> int:
    """Say everything that is wrong with the pack in DIRECTORY."""
    from tidegate.services.packs.load import check_pack

    report = check_pack(directory)
    if as_json:
        click.echo(msgspec.json.encode(report))
    else:
        click.echo(str(report))
    return 1 if report.faults else 0


@click.group()
def config() -> None:
    """Check the settings, or explain where each comes from."""


@config.command("check")
@CONFIG
@JSON
def config_check(config: Path | None, as_json: bool) -> int:
    """Read the settings as a worker would, and name every fault."""
    from tidegate.brokers.process.config import BadSettings

    try:
        load(config)
    except BadSettings as error:
        rows = [msgspec.to_builtins(fault) for fault in error.faults]
        click.echo(
            msgspec.json.encode({"ok": False, "faults": rows}) if as_json else f"error: {error}", err=not as_json
        )
        return 1
    click.echo(msgspec.json.encode({"ok": True, "faults": []}) if as_json else "the settings are good")
    return 0


@config.command("explain")
@CONFIG
@JSON
def config_explain(config: Path | None, as_json: bool) -> None:
    """Print each setting, its value, and where it was said."""
    from tidegate.brokers.process.config import explain

    rows = list(explain(load(config)))
    if as_json:
        click.echo(msgspec.json.encode(rows))
        return
    width = max(len(row.key) for row in rows)
    for row in rows:
        click.echo(f"{row.key:<{width}}  {row.value}  ({row.origin})")


@click.group()
def index() -> None:
    """Add, delete and count a site's documents."""


TENANT = click.option("--tenant", default=None, help="Whose index [default: the first tenant of the settings].")


def opened(config: Path | None, site: str, tenant: str | None) -> HybridIndex:
    """The tenant's index at `site`."""
    from tidegate.services.fleet.paths import Places
    from tidegate.services.knowledge.embedding import Embedder
    from tidegate.services.knowledge.index.hybrid import HybridIndex

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settings = load_settings(config, site=site)
    places = Places(settings)
    embedder = Embedder.load(places.models)
    return HybridIndex.open(
        places.index(tenant or settings.tenants[0]), embedder, exact_below=settings.retriever.exact_below
    )


@index.command("add")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@SITE
@TENANT
@CONFIG
@JSON
def index_add(files: tuple[Path, ...], site: str, tenant: str | None, config: Path | None, as_json: bool) -> None:
    """Add Markdown FILES with front matter, or newer versions of them; workers see them at the next question."""
    from tidegate.services.packs.load import read_document

    documents: list[Document] = [read_document(path) for path in files]
    opened(config, site, tenant).upsert(documents)
    said = [{"id": document.id, "version": document.version} for document in documents]
    click.echo(msgspec.json.encode(said) if as_json else "\n".join(f"{row['id']}@{row['version']}" for row in said))


@index.command("delete")
@click.argument("ids", nargs=-1, required=True)
@SITE
@TENANT
@CONFIG
@JSON
def index_delete(ids: tuple[str, ...], site: str, tenant: str | None, config: Path | None, as_json: bool) -> int:
    """Delete documents by id, for good: they never come back by themselves."""
    hybrid = opened(config, site, tenant)
    known = hybrid.document_ids()
    missing = [each for each in ids if each not in known]
    hybrid.delete([each for each in ids if each in known])
    if as_json:
        click.echo(msgspec.json.encode({"deleted": [each for each in ids if each in known], "unknown": missing}))
    elif missing:
        click.echo(f"error: not in the index: {', '.join(missing)}", err=True)
    return 1 if missing else 0


@index.command("status")
@SITE
@TENANT
@CONFIG
@JSON
def index_status(site: str, tenant: str | None, config: Path | None, as_json: bool) -> None:
    """Count documents, passages and tombstones."""
    status = msgspec.to_builtins(opened(config, site, tenant).status())
    if as_json:
        click.echo(msgspec.json.encode(status))
        return
    for name, value in status.items():
        click.echo(f"{name}: {value}")


@click.group()
def topology() -> None:
    """Compare streams and consumers with what is declared, or declare them."""


@topology.command("plan")
@SITE
@CONFIG
@JSON
def topology_plan(site: str, config: Path | None, as_json: bool) -> int:
    """Print what `apply` would change; exit code 1 when it would change something."""
    return asyncio.run(_plan_or_apply(site, config, as_json, applying=False))


@topology.command("apply")
@SITE
@CONFIG
@JSON
def topology_apply(site: str, config: Path | None, as_json: bool) -> int:
    """Declare the streams and consumers of the site (or of the hub); a second time changes nothing."""
    return asyncio.run(_plan_or_apply(site, config, as_json, applying=True))


async def _plan_or_apply(site: str, config: Path | None, as_json: bool, *, applying: bool) -> int:
    from tidegate.services.cli.declare import plan_or_apply

    changes: int = await plan_or_apply(load_settings(config, site=site), as_json=as_json, applying=applying)
    return changes
