"""Whatever ends the command that started a fleet, nothing of the fleet is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tidegate.services.settings import Settings

pytestmark = pytest.mark.system

GONE_WITHIN_S = 25.0


def started(settings: Settings) -> tuple[subprocess.Popen[bytes], dict[str, object]]:
    """`tidegate up` with one site, once it has printed where it listens."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tidegate.services.cli", "up", "--sites", "1", "--json", "--state", settings.state_dir],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "TIDEGATE_MODELS_DIR": settings.models_dir},
    )
    assert child.stdout is not None
    return child, msgspec.json.decode(child.stdout.readline())


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


def until(holds: Callable[[], bool], seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while not holds() and time.monotonic() < give_up:
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_is_left_running_when_the_parent_ends(settings: Settings, number: signal.Signals, code: int) -> None:
    child, endpoints = started(settings)
    assert set(endpoints["sites"]) == {"site1"}  # type: ignore[call-overload]
    assert len(running_below(settings.state_dir)) >= 5, "two servers, two workers, the parent"
    child.send_signal(number)
    assert child.wait(GONE_WITHIN_S) == code
    assert until(lambda: not running_below(settings.state_dir), GONE_WITHIN_S), running_below(settings.state_dir)
    if number != signal.SIGKILL:
        assert not (Path(settings.state_dir) / "fleet.json").exists()
