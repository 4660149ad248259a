"""What a person watching a demo sees: progress while it runs, tables when it is done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tidegate.services.evaluation.report import Tally
    from tidegate.services.fleet.prepare import Progress


class Quiet:
    """Not a terminal: one line per piece of work on stderr."""

    def start(self, what: str, total: int | None = None) -> None:
        click.echo(what if total in (None, 1) else f"{what} ({total})", err=True)

    def step(self, detail: str = "") -> None:
        """Nothing per step."""


class Bars:
    """A terminal: a bar per piece of work."""

    def __init__(self, progress: object) -> None:
        from rich.progress import Progress, TaskID

        assert isinstance(progress, Progress)
        self._progress = progress
        self._task: TaskID | None = None

    def finish(self) -> None:
        """Fill the bar of what was done last."""
        if self._task is not None:
            known = self._progress.tasks[-1].total
            self._progress.update(self._task, total=known or 1, completed=known or 1, detail="")

    def start(self, what: str, total: int | None = None) -> None:
        self.finish()
        self._task = self._progress.add_task(what, total=total, detail="")

    def step(self, detail: str = "") -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=1, detail=detail[:48])


@contextmanager
def steps() -> Iterator[Progress]:
    """Bars on a terminal, lines elsewhere; both on stderr, so that stdout stays for results."""
    if not sys.stderr.isatty():
        yield Quiet()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.SpinnerColumn(),
        progress.TextColumn("{task.description:<34}"),
        progress.BarColumn(bar_width=24),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("[dim]{task.fields[detail]}"),
    )
    with progress.Progress(*columns, console=Console(stderr=True)) as shown:
        bars = Bars(shown)
        yield bars
        bars.finish()


def show_tally(tally: Tally) -> None:
    """Three small tables: what became of the questions, how right they were, where the time went.

    `leaked` counts personal values of the questions that were found in clear in any file of any store or log.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(width=110)
    counts = Table(title="questions", title_justify="left", box=box.SIMPLE)
    names = ("asked", "answered", "withheld", "abstained", "refused", "escalated", "lost", "duplicates", "dead")
    for name in (*names, "leaked"):
        counts.add_column(name, justify="right")
    counts.add_row(*(str(getattr(tally, name)) for name in names), str(tally.personal_values_found))
    console.print(counts)

    right = Table(title="correct, by kind of question", title_justify="left", box=box.SIMPLE)
    right.add_column("kind")
    right.add_column("asked", justify="right")
    right.add_column("correct", justify="right")
    right.add_column("share", justify="right")
    for kind, row in tally.by_kind.items():
        right.add_row(kind, str(row["asked"]), str(row["correct"]), f"{row['correct'] / row['asked']:.1%}")
    console.print(right)

    times = Table(title="milliseconds", title_justify="left", box=box.SIMPLE)
    times.add_column("")
    times.add_column("p50", justify="right")
    times.add_column("p95", justify="right")
    rows = {
        "first content, edge": tally.ttft_edge_ms,
        "first content, all": tally.ttft_ms,
        "end to end": tally.e2e_ms,
        **tally.stages,
    }
    for name, spread in rows.items():
        times.add_row(name, f"{spread.p50:.1f}", f"{spread.p95:.1f}")
    console.print(times)
