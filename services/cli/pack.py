"""`tidegate pack`: makes a pack, checks one, calibrates one. Next: services/packs/new.py, services/packs/load.py."""

from __future__ import annotations

from pathlib import Path

import click

from tidegate.services.cli.groups import CommandGroup
from tidegate.services.cli.options import OPTIONS, CommandOptions, print_result, with_options


@click.group(cls=CommandGroup)
def pack() -> None:
    """Make a pack of a folder of documents, check one, or calibrate one."""


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


@pack.command("calibrate")
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--risk",
    type=click.FloatRange(0.0, 0.5, min_open=True),
    default=0.05,
    show_default=True,
    help="The share of questions, at most, that may be answered wrongly.",
)
@click.option("--train", is_flag=True, help="Tune the reader for the tenant first; it is kept where it is better.")
@click.option("--write", is_flag=True, help="Put the thresholds into the pack: a policy, and site.toml.")
@click.option("--keep", is_flag=True, help="Put the confidence into the pack: its sites then need not fit it.")
@with_options("tenant", "as_json")
def pack_calibrate(options: CommandOptions, directory: Path, risk: float, train: bool, write: bool, keep: bool) -> int:
    """Fit the confidence of the pack in DIRECTORY on its calibration.yaml, and say which thresholds hold a risk.

    Prints the risk at every coverage by class, kind and language, each question judged by a model that has not seen it.
    With --train a reader that is better for the tenant is put into DIRECTORY, for the hub and all sites.
    """
    from tidegate.services.cli.calibration import run_calibrate

    return run_calibrate(options, directory, risk, train=train, write=write, keep=keep)
