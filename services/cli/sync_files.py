"""`tidegate sync export` and `import`: a collection as one file, for a site that no link leads to.

Promises that a file is whole or not there, and that it is believed at a site no more than a link is. Next:
services/fleet/carrying.py; sync/bundle.py, the file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from tidegate.schemas import replace
from tidegate.schemas.subjects import HUB
from tidegate.services.cli.keys import read_passphrase
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.run import run_until_stopped
from tidegate.services.fleet.carrying import export_collection, import_collection
from tidegate.sync.bundle import check_bundle


@click.command("export")
@click.argument("collection")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_options("tenant", "as_json")
def sync_export(options: CommandOptions, collection: str, file: Path) -> int:
    """Write COLLECTION at the hub into FILE: its newest snapshot and the log behind it, with all that verifies them.

    FILE holds the hub's signed metadata, so that nothing else has to be carried to the site. It is not encrypted.
    """
    hub = replace(options, site=HUB).settings()
    which = (options.tenant or hub.tenants[0], collection)

    async def work() -> int:
        with show_progress() as progress:
            written = await export_collection(hub, which, file, read_passphrase, progress)
        text = (
            f"{file}: {written.tenant}/{written.collection} up to {written.position}, {written.documents} documents, "
            f"{written.deltas} deltas behind the snapshot, {written.size} bytes"
        )
        result = {**msgspec.to_builtins(written), "position": str(written.position), "file": str(file)}
        print_result(result, text, options.as_json)
        return 0

    return run_until_stopped(work())


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_options("site", "as_json")
def sync_import(options: CommandOptions, file: Path) -> None:
    """Join the collection in FILE, which was exported at the hub, as the site: verified as over the link.

    What the site holds already stays; a file that is older than that changes nothing.
    """
    settings = options.site_settings()
    check_bundle(file)
    with show_progress() as progress:
        progress.start(f"{settings.site}: joining {file.name}", 1)
        joined = import_collection(settings, file)
        progress.step()
    known = datetime.fromtimestamp(joined.known_at_ms / 1000, UTC).isoformat(timespec="seconds")
    text = f"{joined.tenant}/{joined.collection} is at {joined.position}: {joined.documents} documents, as of {known}"
    print_result(joined, text if joined.is_new else f"{text}; the site had all of it already", options.as_json)
