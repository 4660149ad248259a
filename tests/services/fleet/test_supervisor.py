"""Children are kept alive, are distinguished from those that cannot start, and all end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from tidegate.services.fleet.supervisor import ChildFailedError, Program, Supervisor

pytestmark = pytest.mark.anyio

STEADY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"


def program(tmp_path: Path, code: str) -> Program:
    ready = tmp_path / "ready"
    return Program(
        name="child", argv=(sys.executable, "-c", code, str(ready)), env={}, log=tmp_path / "child.log", ready=ready
    )


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def naming(argument: str) -> list[str]:
    """The ids of living processes that were started with `argument`."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and argument.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                found.append(process.name)
        except OSError:
            continue
    return found


async def test_a_child_that_dies_is_started_again_and_ends_with_the_supervisor(tmp_path: Path) -> None:
    async with Supervisor([program(tmp_path, STEADY)], grace_s=5.0) as supervisor:
        child = supervisor.children["child"]
        first = child.pid
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(10):
            while child.pid == first:  # noqa: ASYNC110 - a process tells nobody
                await asyncio.sleep(0.01)
        second = child.pid
        assert child.restarts == 1
    assert not runs(first)
    assert not runs(second)


async def test_a_child_that_never_gets_ready_is_an_error_with_its_last_words_and_its_log(tmp_path: Path) -> None:
    with pytest.raises(ChildFailedError, match="no model here") as failed:
        async with Supervisor([program(tmp_path, "raise SystemExit('no model here')")], grace_s=1.0):
            pass
    assert str(tmp_path / "child.log") in failed.value.hint


async def test_of_a_child_that_printed_an_error_the_reason_and_the_hint_are_shown(tmp_path: Path) -> None:
    code = 'print(\'error: no disk\\nhint: buy one\\n{"action": "closed"}\'); raise SystemExit(1)'
    with pytest.raises(ChildFailedError) as failed:
        async with Supervisor([program(tmp_path, code)], grace_s=1.0):
            pass
    assert failed.value.reason == "child ended with 1 before it was ready: no disk"
    assert failed.value.hint == f"buy one; its whole log is {tmp_path / 'child.log'}"


async def test_a_child_that_is_just_being_started_again_ends_too(tmp_path: Path) -> None:
    only = program(tmp_path, STEADY)

    def written() -> int:
        """When the file that says that it is ready was written; 0 where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return only.ready.stat().st_mtime_ns
        return 0

    async with Supervisor([only], grace_s=5.0) as supervisor:
        before = written()
        os.kill(supervisor.children["child"].pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while written() == before:  # noqa: ASYNC110 - it goes when the next start begins, and may be back by now
                await asyncio.sleep(0)
    assert naming(str(only.ready)) == []


async def test_a_child_that_will_not_end_is_killed_after_the_grace(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STEADY
    only = program(tmp_path, deaf)
    async with asyncio.timeout(20), Supervisor([only], grace_s=0.2):
        assert naming(str(only.ready))
    assert naming(str(only.ready)) == []
