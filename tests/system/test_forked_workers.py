"""Workers that are forked share their memory, end with what forks them, and are begun again; no end goes unnoticed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from loadtests.size.processes import read_usage
from tests.support.command import read_line, running_below, start_tidegate, tidegate, until
from tests.support.prepared_fixtures import filled_settings as settings
from tidegate.services.cli.forking import MODULE
from tidegate.services.fleet.fork_server import ForkedProcess, ForkServer, ForkServerError, can_fork
from tidegate.services.settings import Settings

pytestmark = [
    pytest.mark.system,
    pytest.mark.anyio,
    pytest.mark.skipif(not can_fork(), reason="nothing is forked here"),
]
__all__ = ["settings"]

GRACE_S = 1.0
GONE_WITHIN_S = 25.0
SERVER = (sys.executable, "-m", "tests.support.forking_process")
QUESTIONS = ("What does a coin roll cost?", "When is the branch open?", "How do I block my card?", "What is an IBAN?")


@asynccontextmanager
async def server_in(folder: Path) -> AsyncIterator[ForkServer]:
    server = ForkServer(SERVER, {"TIDEGATE_TEST": "of the server"}, folder / "server.log", GRACE_S)
    try:
        yield server
    finally:
        await server.close()


async def fork(server: ForkServer, log: Path, *arguments: str) -> ForkedProcess:
    return await server.fork(("python", "-m", MODULE, *arguments), {"TIDEGATE_TEST": "its own"}, log)


async def until_said(log: Path, text: str) -> None:
    await asyncio.to_thread(until, lambda: log.exists() and text in log.read_text())


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def test_a_worker_has_an_environment_a_log_and_a_session_of_its_own_and_its_exit_code_is_told(
    tmp_path: Path,
) -> None:
    async with server_in(tmp_path) as server:
        codes = [await (await fork(server, tmp_path / "w.log", "exit", str(code))).wait() for code in (0, 7)]
        shows = await fork(server, tmp_path / "shown.log", "show", "TIDEGATE_TEST")
        assert (codes, await shows.wait()) == ([0, 7], 0)
        assert (tmp_path / "shown.log").read_text() == "its own True True\n"
        sleeps = await fork(server, tmp_path / "w.log", "sleep")
        assert sleeps.returncode is None
        sleeps.kill()
        assert await sleeps.wait() == sleeps.returncode == -signal.SIGKILL
        sleeps.kill()  # an end is no fault


async def test_where_the_server_is_killed_its_workers_end_however_they_are_and_the_next_one_is_forked_anew(
    tmp_path: Path,
) -> None:
    async with server_in(tmp_path) as server:
        sleeps = await fork(server, tmp_path / "sleeps.log", "sleep")
        ignores = await fork(server, tmp_path / "ignores.log", "ignore")
        await until_said(tmp_path / "ignores.log", "it runs")
        os.kill(parent_of(sleeps.pid), signal.SIGKILL)
        async with asyncio.timeout(GONE_WITHIN_S):
            assert await sleeps.wait() != 0
            assert await ignores.wait() != 0
        assert is_gone(sleeps.pid)
        assert is_gone(ignores.pid)
        again = await fork(server, tmp_path / "again.log", "exit", "3")
        assert await again.wait() == 3


async def test_an_end_is_noticed_while_the_server_is_frozen(tmp_path: Path) -> None:
    async with server_in(tmp_path) as server:
        sleeps = await fork(server, tmp_path / "sleeps.log", "sleep")
        frozen = parent_of(sleeps.pid)
        os.kill(frozen, signal.SIGSTOP)
        try:
            sleeps.send_signal(signal.SIGTERM)
            async with asyncio.timeout(GONE_WITHIN_S):
                assert await sleeps.wait() != 0
        finally:
            os.kill(frozen, signal.SIGCONT)


async def test_a_server_that_cannot_start_says_where_its_log_is(tmp_path: Path) -> None:
    server = ForkServer((sys.executable, "-c", "raise SystemExit('no')"), {}, tmp_path / "server.log", GRACE_S)
    with pytest.raises(ForkServerError) as raised:
        await fork(server, tmp_path / "w.log", "exit", "0")
    assert str(tmp_path / "server.log") in raised.value.hint
    assert (tmp_path / "server.log").read_text() == "no\n"
    await server.close()


def workers_of(settings: Settings) -> dict[str, int]:
    """The processes of site1 that are ready, by name."""
    found: dict[str, int] = {}
    for file in Path(settings.state_dir, "site1", "ready").iterdir():
        with suppress(FileNotFoundError):  # it was removed, to begin the worker again
            found[file.name] = msgspec.json.decode(file.read_bytes())["pid"]
    return {name: pid for name, pid in found.items() if not is_gone(pid)}


def site_memory(settings: Settings, *options: str) -> tuple[float, subprocess.Popen[bytes]]:
    """The memory of all processes of a site that has answered, in MiB, and what keeps it up."""
    environ = {"TIDEGATE_MODELS_DIR": settings.models_dir}
    up = start_tidegate("up", "--sites", "1", "--json", "--state", settings.state_dir, *options, environ=environ)
    assert read_line(up)
    for question in QUESTIONS:
        asked = tidegate("ask", question, "--site", "site1", "--state", settings.state_dir)
        assert asked.returncode == 0, asked.stderr
    workers = set(workers_of(settings).values())
    servers = {parent_of(pid) for pid in workers} - {up.pid}
    return sum(read_usage(pid).pss_mib for pid in workers | servers), up


def test_nine_processes_more_take_200_mib_more_and_each_is_kept_alive(settings: Settings) -> None:
    one, up = site_memory(settings)
    up.send_signal(signal.SIGTERM)
    assert up.wait(GONE_WITHIN_S) == 143
    several, up = site_memory(settings, "--processes")
    try:
        print(f"a site in two processes {one:.0f} MiB, a process for each stage {several:.0f} MiB")
        assert several - one < 200
        assert one < 400
        before = workers_of(settings)
        os.kill(before["drafter"], signal.SIGKILL)
        until(lambda: workers_of(settings).get("drafter", before["drafter"]) != before["drafter"])
        after = workers_of(settings)
        assert parent_of(after["drafter"]) == parent_of(before["router"])
        assert {name for name in before if before[name] != after[name]} == {"drafter"}
        os.kill(parent_of(before["router"]), signal.SIGKILL)
        until(lambda: all(map(is_gone, after.values())))
        until(lambda: workers_of(settings).keys() == before.keys())
        assert tidegate("ask", QUESTIONS[0], "--site", "site1", "--state", settings.state_dir).returncode == 0
    finally:
        up.kill()
        up.wait(GONE_WITHIN_S)
        until(lambda: not running_below(settings.state_dir), GONE_WITHIN_S)
