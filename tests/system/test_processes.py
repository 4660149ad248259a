"""Whatever ends a command that does long work, nothing of it is left: no process, no half-written file."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.support.command import read_line, start_tidegate, tidegate
from tests.support.paths import MODELS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system

GONE_WITHIN_S = 25.0


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
    environ = {"TIDEGATE_MODELS_DIR": settings.models_dir}
    child = start_tidegate("up", "--sites", "1", "--json", "--state", settings.state_dir, environ=environ)
    assert set(msgspec.json.decode(read_line(child))["sites"]) == {"site1"}
    assert len(running_below(settings.state_dir)) >= 5, "two servers, two workers, the parent"
    child.send_signal(number)
    assert child.wait(GONE_WITHIN_S) == code
    assert until(lambda: not running_below(settings.state_dir), GONE_WITHIN_S), running_below(settings.state_dir)
    if number != signal.SIGKILL:
        assert not (Path(settings.state_dir) / "fleet.json").exists()


def wait_for_line(process: subprocess.Popen[bytes], text: str) -> None:
    while text.encode() not in (line := read_line(process)):
        assert line, f"it ended without {text!r}"


def unfinished_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in {".new", ".part"}]


def test_an_interrupted_preparation_ends_soon_and_goes_on_the_next_time(tmp_path: Path) -> None:
    environ = {"TIDEGATE_MODELS_DIR": str(MODELS)}
    state = str(tmp_path / "state")
    child = start_tidegate("up", "--sites", "1", "--state", state, environ=environ, together=True)
    wait_for_line(child, "hub: documents")
    child.send_signal(signal.SIGINT)
    assert child.wait(GONE_WITHIN_S) == 130
    assert running_below(state) == []
    assert unfinished_files(tmp_path) == []
    assert not (tmp_path / "state" / "site1").exists(), "it went on"
    status = tidegate("index", "status", "--site", "hub", "--state", state, environ=environ)
    assert status.returncode == 0 or "no index" in status.stderr


def test_an_interrupted_addition_to_an_index_leaves_an_index_that_can_be_used(tmp_path: Path) -> None:
    environ = {"TIDEGATE_MODELS_DIR": str(MODELS), "TIDEGATE_STATE_DIR": str(tmp_path / "state")}
    files = [tmp_path / f"d{number}.md" for number in range(150)]
    for number, file in enumerate(files):
        file.write_text(f"# Room {number}\n\n" + f"Room {number} opens at nine and has {number} chairs.\n\n" * 20)
    child = start_tidegate("index", "add", *map(str, files), environ=environ, together=True)
    wait_for_line(child, "adding documents")
    child.send_signal(signal.SIGINT)
    assert child.wait(GONE_WITHIN_S) == 130
    assert unfinished_files(tmp_path / "state") == []
    again = tidegate("index", "add", str(files[0]), "--json", environ=environ)
    assert again.returncode == 0, again.stderr
    status = tidegate("index", "status", "--json", environ=environ)
    assert msgspec.json.decode(status.stdout)["documents"] in (1, len(files))
