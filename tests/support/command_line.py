"""The command line in the test's own thread, in front of whatever is up below a state directory."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tidegate.services.cli import main


class CommandLine:
    """`tidegate …` with one state directory; `capsys` is that of the test that calls."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.capsys: pytest.CaptureFixture[str] | None = None

    def run(self, *arguments: str, expected: int = 0) -> str:
        """What a command prints, which ends as expected."""
        assert self.capsys is not None
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--state", self.state])
        printed = self.capsys.readouterr()
        assert "Traceback" not in printed.err
        assert "internal error" not in printed.out + printed.err
        assert ended.value.code == expected, printed
        return printed.out + printed.err

    def json(self, *arguments: str, expected: int = 0) -> Any:
        """Its result."""
        printed = self.run(*arguments, "--json", expected=expected).splitlines()
        return msgspec.json.decode(next(line for line in printed if line.startswith("{")))  # beside it a worker may log
