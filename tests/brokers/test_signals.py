"""A process and who may end it: drained on the first signal, dead on the second, gone with its parent."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tidegate.brokers.process.ready import ready_file
from tidegate.services.settings import Settings

HERE = Path(__file__).parent
SERVED = """
import asyncio, sys
from contextlib import asynccontextmanager
from tidegate.brokers.process.lifecycle import WorkerProcess, serve, start
from tidegate.brokers.process.telemetry import open_telemetry
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.services.settings import Settings

@asynccontextmanager
async def open_bus(settings):
    yield MemoryBus(settings.site)
    if "stubborn" in sys.argv:
        await asyncio.Event().wait()

parent = int(sys.argv[2]) if sys.argv[2].isdigit() else None
settings = Settings(state_dir=sys.argv[1])
with open_telemetry(settings) as telemetry:
    start(serve(WorkerProcess("all", [], open_bus, parent=parent), settings, telemetry))
"""
PARENT = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SERVED!r}, sys.argv[1], str(os.getpid())])
print(child.pid, flush=True)
sys.stdin.read()
os._exit(1)
"""


@contextlib.contextmanager
def a_process(code: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    with a_process(SERVED, str(tmp_path), "free") as process:
        wait_for(ready_file(Settings(state_dir=str(tmp_path)), "all").exists)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert [json.loads(line)["action"] for line in errors.splitlines()] == ["open_files", "ready", "draining", "closed"]
    assert not ready_file(Settings(state_dir=str(tmp_path)), "all").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_kills(tmp_path: Path, number: signal.Signals) -> None:
    ready = ready_file(Settings(state_dir=str(tmp_path)), "all")
    with a_process(SERVED, str(tmp_path), "stubborn") as process:
        wait_for(ready.exists)
        process.send_signal(number)
        wait_for(lambda: not ready.exists())
        assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=10)
    assert process.returncode == -number


def test_a_process_does_not_outlive_the_parent_that_asked_for_it(tmp_path: Path) -> None:
    ready = ready_file(Settings(state_dir=str(tmp_path)), "all")
    with a_process(PARENT, str(tmp_path)) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for(ready.exists)
        parent.kill()
        wait_for(lambda: not is_alive(child))
    assert not ready.exists()


def test_a_process_whose_parent_is_gone_already_ends_at_once(tmp_path: Path) -> None:
    with a_process(SERVED, str(tmp_path), "999999999") as process:
        process.communicate(timeout=10)
    assert process.returncode == 0


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
