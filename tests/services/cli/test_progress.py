"""What is shown while long work runs: lines off a terminal, bars on one, and any text of a pack as it is."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from tidegate.services.cli.progress import BarProgress, LineProgress, make_bars, show_progress

BRACKETS = "[/b] is not [red] nor [closed"


def test_off_a_terminal_each_piece_of_work_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with show_progress() as progress:
        assert isinstance(progress, LineProgress)
        progress.start("asking", 3)
        progress.step("never shown")
        progress.start("reading", 1)
    assert capsys.readouterr() == ("", "asking (3)\nreading\n")


def test_on_a_terminal_there_is_a_bar_for_each_piece_of_work_and_brackets_are_text() -> None:
    output = io.StringIO()
    with make_bars(Console(file=output, force_terminal=True, width=140)) as shown:
        progress = BarProgress(shown)
        progress.start(f"asking {BRACKETS}", 3)
        progress.step(BRACKETS)
        shown.refresh()
        progress.start("reading")
        progress.finish()
    text = output.getvalue()
    assert f"asking {BRACKETS}" in text
    assert text.count(BRACKETS) > text.count(f"asking {BRACKETS}")
    assert [(task.completed, task.total) for task in shown.tasks] == [(3, 3), (1, 1)]
