"""The command line as a process of its own: one call, or a fleet that stays up beside the test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

COMMAND = (sys.executable, "-m", "tidegate.services.cli")


def tidegate(*arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run one command and return when it has ended."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(environ or {})},
    )


def start_tidegate(
    *arguments: str, environ: Mapping[str, str] | None = None, together: bool = False
) -> subprocess.Popen[bytes]:
    """Start one command in a session of its own; its stdout can be read, and `together` with it what it logs."""
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if together else subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **(environ or {})},
    )


def read_line(process: subprocess.Popen[bytes]) -> bytes:
    """The next line of its stdout."""
    assert process.stdout is not None
    return process.stdout.readline()
