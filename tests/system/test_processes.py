"""Whatever ends a command that does long work, nothing of it is left: no process, no half-written file."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.support.command import domain, read_line, running_below, start_tidegate, status, tidegate, until
from tests.support.paths import MODELS
from tests.support.prepared_fixtures import filled_settings as settings
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system
__all__ = ["settings"]

GONE_WITHIN_S = 25.0
READY = "site1/ready/all"


def test_nothing_is_left_running_when_the_parent_ends_and_it_comes_back_where_it_was(settings: Settings) -> None:
    listened = []
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        environ = {"TIDEGATE_MODELS_DIR": settings.models_dir}
        parent = start_tidegate("up", "--sites", "1", "--json", "--state", settings.state_dir, environ=environ)
        endpoints = msgspec.json.decode(read_line(parent))
        assert endpoints.pop("pid") == parent.pid
        listened.append(endpoints)
        assert len(running_below(settings.state_dir)) >= 5, "two servers, two workers, the parent"
        left = kill_a_worker(settings) if number == signal.SIGKILL else b""
        parent.send_signal(number)
        assert parent.wait(GONE_WITHIN_S) == code
        until(lambda: not running_below(settings.state_dir), GONE_WITHIN_S)
        assert (Path(settings.state_dir) / "fleet.json").exists() is (number == signal.SIGKILL)
    assert listened[0]["http"]
    assert listened == [listened[0]] * 3
    check_what_was_left_behind(settings, parent.pid, left)


def kill_a_worker(settings: Settings) -> bytes:
    """Kill the site's worker, which so cannot remove its ready file; what was in it."""
    left = (Path(settings.state_dir) / READY).read_bytes()
    os.kill(msgspec.json.decode(left)["pid"], signal.SIGKILL)
    return left


def check_what_was_left_behind(settings: Settings, parent: int, left: bytes) -> None:
    ready = Path(settings.state_dir) / READY
    if not ready.exists():  # the parent had removed it, to start the worker again
        ready.write_bytes(left)
    code, found = status(settings)
    [process] = [each for each in domain(found, "site1")["processes"] if each["name"] == "all"]
    assert code == 1
    assert process["is_stale"]
    assert f"process {parent}, which kept the fleet up, is gone" in found["problems"][0]
    assert any("no process runs the drafter" in problem for problem in found["problems"])


def wait_for_line(process: subprocess.Popen[bytes], text: str) -> None:
    while text.encode() not in (line := read_line(process)):
        assert line, f"it ended without {text!r}"


def unfinished_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in {".new", ".part"}]


def test_an_interrupted_preparation_ends_soon_and_goes_on_the_next_time(tmp_path: Path) -> None:
    environ = {"TIDEGATE_MODELS_DIR": str(MODELS)}
    state = str(tmp_path / "state")
    child = start_tidegate("up", "--sites", "1", "--state", state, environ=environ, together=True)
    wait_for_line(child, "documents: documents")
    child.send_signal(signal.SIGINT)
    assert child.wait(GONE_WITHIN_S) == 130
    assert running_below(state) == []
    assert unfinished_files(tmp_path) == []
    assert not (tmp_path / "state" / "site1" / "ready" / "all").exists(), "it went on"
    status = tidegate("index", "status", "--site", "hub", "--state", state, environ=environ)
    assert status.returncode == 0 or "no index" in status.stderr


def test_an_interrupted_addition_to_an_index_leaves_an_index_that_can_be_used(tmp_path: Path) -> None:
    environ = {"TIDEGATE_MODELS_DIR": str(MODELS), "TIDEGATE_STATE_DIR": str(tmp_path / "state")}
    files = [tmp_path / f"d{number}.md" for number in range(150)]
    for number, file in enumerate(files):
        lines = [f"Room {number} has {chairs} chairs at table {chairs * number}." for chairs in range(60)]
        file.write_text(f"# Room {number}\n\n" + "\n\n".join(lines))  # each takes a vector of its own: minutes in all
    child = start_tidegate("index", "add", *map(str, files), environ=environ, together=True)
    wait_for_line(child, "adding documents")
    child.send_signal(signal.SIGINT)
    assert child.wait(GONE_WITHIN_S) == 130
    assert unfinished_files(tmp_path / "state") == []
    again = tidegate("index", "add", str(files[0]), "--json", environ=environ)
    assert again.returncode == 0, again.stderr
    status = tidegate("index", "status", "--json", environ=environ)
    assert msgspec.json.decode(status.stdout)["documents"] in (1, len(files))
