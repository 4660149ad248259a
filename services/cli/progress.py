"""What a person sees while long work runs: bars on a terminal, lines elsewhere. Next: tables.py.

Both go to stderr, so that stdout stays for results.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console

from tidegate.schemas.readable import readable
from tidegate.services.cli.terminal import ReadableConsole, echo
from tidegate.services.fleet.models import ProgressReporter


class LineProgress:
    """Not a terminal: one line per piece of work on stderr."""

    def start(self, what: str, total: int | None = None) -> None:
        echo(what if total in (None, 1) else f"{what} ({total})", err=True)

    def step(self, detail: str = "") -> None:
        """Nothing per step."""

    def show(self, detail: str) -> None:
        """Nothing within a step."""


class BarProgress:
    """A terminal: a bar per piece of work."""

    def __init__(self, progress: bars.Progress) -> None:
        self._progress = progress
        self._task: bars.TaskID | None = None

    def finish(self) -> None:
        """Fill the bar of what was done last."""
        if self._task is not None:
            known = self._progress.tasks[-1].total
            self._progress.update(self._task, total=known or 1, completed=known or 1, detail="")

    def start(self, what: str, total: int | None = None) -> None:
        self.finish()
        self._task = self._progress.add_task(readable(what), total=total, detail="")

    def step(self, detail: str = "") -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=1, detail=readable(detail[:48]))

    def show(self, detail: str) -> None:
        """What is being worked on within a step."""
        if self._task is not None:
            self._progress.update(self._task, detail=readable(detail[:48]))


@contextmanager
def show_progress() -> Iterator[ProgressReporter]:
    """Bars on a terminal, lines elsewhere."""
    if not sys.stderr.isatty():
        yield LineProgress()
        return
    with make_bars(ReadableConsole(stderr=True)) as shown:
        reporter = BarProgress(shown)
        yield reporter
        reporter.finish()


def make_bars(console: Console) -> bars.Progress:
    """Bars with a description, how far the work is, the time, and a detail; square brackets are shown as they are."""
    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description:<34}", markup=False),
        bars.BarColumn(bar_width=24),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.fields[detail]}", style="dim", markup=False),
    )
    return bars.Progress(*columns, console=console)
