"""Asked of the hub, or of a site or a number of processes that there is none of: a reason, a hint, and nothing left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

NO_SITE = ("the hub is no site", "name a site with --site")
UNKNOWN = ("no site nope was provisioned", "`tidegate site add` provisions it")


@pytest.mark.parametrize(
    ("command", "code", "texts"),
    [
        ("gaps --site hub", 1, NO_SITE),
        ("bisect --question x --from 1 --site hub", 1, NO_SITE),
        ("site attest --site hub", 1, NO_SITE),
        (f"sync import {__file__} --site hub", 1, NO_SITE),
        (f"policy diff {__file__} --site hub", 1, NO_SITE),
        ("site accept nope", 1, UNKNOWN),
        ("site revoke nope", 1, UNKNOWN),
        ("up --replicas x", 2, ("'x' names no worker", "drafter=2")),
        ("worker drafter --site site1 --replicas 0", 2, ("drafter cannot have 0 processes", "1 to 64")),
    ],
)
def test_it_is_said_what_there_is_none_of(
    command: str, code: int, texts: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command_line = CommandLine(str(tmp_path))
    command_line.capsys = capsys
    printed = command_line.run(*command.split(), expected=code)
    assert [each for each in texts if each not in printed] == []
    assert list(tmp_path.iterdir()) == []
