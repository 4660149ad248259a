"""`make bench`: ours and a peer, block by block in one run; says which ratios hold and exits 1 when any does not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtests.bench import answers_extraction, answers_followups, answers_models, answers_reader, answers_xquad
from loadtests.bench.entries import ENTRIES
from loadtests.bench.measure import MIN_REPEATS, Entry, Measured, MeasurementError, measure, named

REPORT = Path("bench.json")
OVER_DATA: tuple[Any, ...] = (answers_extraction, answers_followups, answers_models, answers_reader, answers_xquad)
"""Entries that read texts of `--data`, each a module with `NAME`, `FILE` and `entry`; in `NEEDED`, where it has that,
are models that `make models` does not build.
"""
REPEATS = 7


async def measure_all(entries: Sequence[Entry], repeats: int, console: Console) -> tuple[list[Measured], list[str]]:
    """Measure every entry, with a bar that moves at every block; and why those failed that could not be measured."""
    measured, failures = [], []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(entries) * repeats * 2)
        for entry in entries:
            progress.update(task, description=entry.name)
            try:
                measured.append(await measure(entry, repeats, lambda: progress.advance(task)))
            except MeasurementError as error:  # what the others measured in minutes is not to be lost by it
                failures.append(str(error))
    return measured, failures


def table_of(measured: Sequence[Measured]) -> Table:
    """Medians with the spread of their blocks, and the verdicts."""
    table = Table(box=SIMPLE, caption="medians over blocks that alternate; below them the lowest and the highest block")
    for title in ("entry", "ours", "peer", "ratio", "target", "holds"):
        table.add_column(title, overflow="fold")
    for each in measured:
        result = each.result
        table.add_row(
            f"{result.name}\n{result.unit}; the peer is {result.peer_name}",
            f"{result.ours:.2f}\n{spread_of(each.ours)}",
            f"{result.peer:.2f}\n{spread_of(each.peer)}",
            f"{result.ratio:.2f}",
            result.target,
            verdict(result.holds),
        )
        for bar in result.bars:
            value = "-" if bar.value is None else f"{bar.value:.2f}"
            table.add_row(f"  {bar.name}", f"{value} {bar.unit}", "", "", bar.target, verdict(bar.holds))
    return table


def verdict(holds: bool | None) -> str:
    """Yes or no, in colour; nothing where nothing was to hold."""
    return "" if holds is None else "[green]yes[/]" if holds else "[bold red]no[/]"


def spread_of(values: Sequence[float]) -> str:
    """The lowest and the highest block."""
    return f"{min(values):.2f}…{max(values):.2f}"


def report(entries: Sequence[Entry], *, repeats: int, as_json: bool, path: Path) -> int:
    """Measure, write `path`, print; the exit code: 1 when an entry does not hold or failed."""
    measured, failures = uvloop.run(measure_all(entries, repeats, Console(stderr=True)))
    results = [each.result for each in measured]
    document = msgspec.json.format(msgspec.json.encode(results), indent=2)
    path.write_bytes(document + b"\n")
    if as_json:
        click.echo(document.decode())
    else:
        Console().print(table_of(measured))
    for failure in failures:
        click.echo(f"not measured: {failure}", err=True)
    return 0 if all(result.holds for result in results) and not failures else 1


def measurable(entries: Sequence[Entry], only: str) -> list[Entry]:
    """The entries for which all is here that they need; the others are named on stderr.

    Raises `click.UsageError` where `only` is one of those.
    """
    found = []
    for entry in entries:
        lacking = entry.find_lacking()
        if lacking and only:
            raise click.UsageError(f"{entry.name} cannot be measured here: {lacking}")
        if lacking:
            click.echo(f"{entry.name}: skipped, {lacking}", err=True)
        else:
            found.append(entry)
    return found


def over_data(data: Path | None, only: str) -> tuple[Entry, ...]:
    """The entries that read texts, over those of `data`; which of them are left out is said on stderr."""
    found: list[Entry] = []
    for module in OVER_DATA:
        lacking = find_lacking(module, data)
        if data is not None and not lacking:
            found.append(module.entry(data / module.FILE))
        elif only == module.NAME:
            raise click.UsageError(f"{only} needs --data DIR with {module.FILE}: {lacking}")
        elif not only:
            click.echo(f"{module.NAME}: skipped, {lacking}", err=True)
    return tuple(found)


def find_lacking(module: Any, data: Path | None) -> str:
    """What an entry that reads texts cannot be measured without; empty where all is there."""
    if data is None:
        return "no --data"
    if not (data / module.FILE).exists():
        return f"no {module.FILE} in {data}"
    missing = [path for path in getattr(module, "NEEDED", ()) if not path.is_dir()]
    return f"no {missing[0]} (`make lm` builds it)" if missing else ""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default="", metavar="NAME", help="Measure this entry only.")
@click.option(
    "--repeats", type=click.IntRange(min=MIN_REPEATS), default=REPEATS, show_default=True, help="Blocks a side."
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="TIDEGATE_BENCH_DATA",
    help="A folder of texts with what they say; without it what reads texts is skipped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what bench.json holds instead of a table.")
def main(only: str, repeats: int, data: Path | None, as_json: bool) -> None:
    """Measure ours against a peer, in blocks that alternate; exit code 1 when a target is not met."""
    try:
        entries = named((*ENTRIES, *over_data(data, only)), only)
    except KeyError as error:
        raise click.UsageError(error.args[0]) from error
    sys.exit(report(measurable(entries, only), repeats=repeats, as_json=as_json, path=REPORT))
