"""`tidegate pack`: what is wrong with a pack. Next: services/packs/load.py."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import OPTIONS


@click.group(cls=CommandGroup)
def pack() -> None:
    """Check a pack directory."""


@pack.command("check")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@OPTIONS["as_json"]
def pack_check(directory: Path, as_json: bool) -> int:
    """Say everything that is wrong with the pack in DIRECTORY."""
    from tidegate.services.packs.load import check_pack

    report = check_pack(directory)
    click.echo(msgspec.json.encode(report) if as_json else str(report))
    return 1 if report.faults else 0
