"""Every command refuses the state of a later version, and leaves it as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tidegate.brokers.process.state_directory import FORMAT_FILE, STATE_FORMAT

COMMANDS = (
    ("up",),
    ("demo", "--exit"),
    ("worker", "all", "--site", "site1"),
    ("status",),
    ("ask", "When do you open?"),
    ("audit", "verify"),
    ("keys", "issue"),
    ("keys", "init"),
    ("keys", "list"),
    ("site", "add", "site1"),
    ("site", "accept", "site1"),
    ("privacy", "accept", "--reason", "restored"),
    ("privacy", "erase", "--asker", "ann", "--vault-only"),
    ("index", "status"),
    ("sync", "status"),
    ("publish", "pack", "."),
    ("topology", "apply"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_leaves_the_state_of_a_later_version_alone(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / FORMAT_FILE).write_text(f"{STATE_FORMAT + 1}\n")
    command_line = CommandLine(str(tmp_path))
    command_line.capsys = capsys
    printed = command_line.run(*command, expected=1)
    assert "was used by a later version" in printed
    assert "install that version again" in printed
    assert [path.name for path in tmp_path.iterdir()] == [FORMAT_FILE]
