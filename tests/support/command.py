"""The command line as a process of its own: one call, or a fleet that stays up beside the test."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tidegate.services.settings import Settings

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


def status(settings: Settings) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `tidegate status`."""
    shown = tidegate("status", "--json", "--state", settings.state_dir)
    return shown.returncode, msgspec.json.decode(shown.stdout)


def domain(found: dict[str, Any], name: str) -> dict[str, Any]:
    """What the status holds of one site, or of the hub."""
    [one] = [each for each in found["domains"] if each["name"] == name]
    return dict(one)


def running_below(state: str) -> list[int]:
    """Processes whose command line or environment names the state directory."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if state.encode() in text:
            found.append(int(process.name))
    return found


def until(holds: Callable[[], bool], seconds: float = 25.0) -> None:
    """Return as soon as it holds; fail after `seconds`."""
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it never came about"
        time.sleep(0.1)
