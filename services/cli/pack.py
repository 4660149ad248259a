"""`tidegate pack`: makes a pack, and checks one. Next: services/packs/new.py, services/packs/load.py."""

from __future__ import annotations

from pathlib import Path

import click

from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import OPTIONS, print_result


@click.group(cls=CommandGroup)
def pack() -> None:
    """Make a pack of a folder of documents, or check one."""


@pack.command("new")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@OPTIONS["as_json"]
def pack_new(directory: Path, as_json: bool) -> int:
    """Write what DIRECTORY, a folder of documents, lacks to be a pack; no file that exists is touched."""
    from tidegate.services.packs.new import complete_pack

    made = complete_pack(directory)
    print_result(made, made, as_json)
    return 1 if made.report.faults else 0


@pack.command("check")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@OPTIONS["as_json"]
def pack_check(directory: Path, as_json: bool) -> int:
    """Say everything that is wrong with the pack in DIRECTORY."""
    from tidegate.services.packs.load import check_pack

    report = check_pack(directory)
    print_result(report, report, as_json)
    return 1 if report.faults else 0
