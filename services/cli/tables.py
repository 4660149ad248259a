"""Results as tables for people: the report of a run, and the status of a fleet. Next: services/evaluation/report.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.table import Table

from tidegate.schemas.readable import readable
from tidegate.services.cli.terminal import ReadableConsole
from tidegate.services.evaluation.report import RunReport
from tidegate.services.evaluation.sync_report import SyncDemonstration

COUNTS = ("asked", "answered", "withheld", "abstained", "refused", "escalated", "lost", "duplicates", "dead")


def print_report(report: RunReport) -> None:
    """Three small tables: what became of the questions, how right they were, where the time went.

    `leaked` counts personal values of the questions that were found in clear in any file of any store or log.
    """
    counts = [str(getattr(report, name)) for name in COUNTS]
    kinds = [
        (kind, str(row["asked"]), str(row["correct"]), f"{row['correct'] / row['asked']:.1%}")
        for kind, row in report.by_kind.items()
    ]
    spreads = {
        "first content, edge": report.ttft_edge_ms,
        "first content, all": report.ttft_ms,
        "end to end": report.e2e_ms,
        **report.stages,
    }
    times = [(name, f"{spread.p50:.1f}", f"{spread.p95:.1f}") for name, spread in spreads.items()]
    console = ReadableConsole(width=110)
    console.print(make_table("questions", (*COUNTS, "leaked"), [(*counts, str(report.personal_values_found))], left=0))
    console.print(make_table("correct, by kind of question", ("kind", "asked", "correct", "share"), kinds))
    console.print(make_table("milliseconds", ("", "p50", "p95"), times))


def make_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """A table whose first `left` columns hold words; the others hold numbers, which end on one line."""
    table = Table(title=readable(title), title_justify="left", box=box.SIMPLE)
    for number, name in enumerate(columns):
        table.add_column(readable(name), justify="left" if number < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*map(readable, row))
    return table


def describe_sync(shown: SyncDemonstration) -> list[str]:
    """What the demonstration of sync saw, line by line."""
    quoted, named = (
        ", ".join(f"{site} after {seconds:g} s" for site, seconds in each.items())
        for each in (shown.quoted_after_s, shown.epoch_after_s)
    )
    checksum = next(iter(shown.checksums.values()))[:12]
    return [
        "sync",
        f"  the sites {'began empty and ' if shown.began_empty else ''}caught up in {shown.caught_up_s:g} s",
        f"  a document changed at the hub was quoted: {quoted}",
        f"  one document was edited at two ends of a link that was down: {shown.healed_s:g} s after it was back all of "
        f"{', '.join(shown.checksums)} hold the same {shown.siblings} versions and their merge ({checksum})",
        f"  the policy {shown.policy} was pushed: answers name its epoch {shown.epoch}: {named}",
    ]
