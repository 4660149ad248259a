"""What fails on a machine, a site's workers or a server, ends nothing else: it is tried on, and status can say why."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import nats
import pytest

from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.servers.running import is_alive
from tidegate.services.fleet.deployment import find_failed_sites
from tidegate.services.fleet.faults import clear_fault, read_faults, report_fault
from tidegate.services.fleet.server_guard import ServerGuard, keep_servers
from tidegate.services.fleet.status import gather_status
from tidegate.services.fleet.supervisor import ChildFailedError, Program, Supervisor
from tidegate.services.pipeline import SITE_WORKERS
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
STEADY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
BROKEN = f"import os, sys\nif not os.path.exists(sys.argv[2]): sys.exit('error: no index')\n{STEADY}"


async def until(is_so: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110  processes tell nobody
            await asyncio.sleep(0.02)


def program(home: Path, name: str, code: str) -> Program:
    ready = home / "ready" / name
    ready.parent.mkdir(parents=True, exist_ok=True)
    return Program(
        name=f"{home.name}/{name}",
        argv=(sys.executable, "-c", code, str(ready), str(home / "index")),
        env={},
        log=home / "logs" / f"{name}.log",
        ready=ready,
        fault=home / "faults" / name,
    )


async def test_a_site_that_cannot_start_leaves_the_others_at_work_and_starts_when_it_can(tmp_path: Path) -> None:
    hub, good, bad = (tmp_path / name for name in ("hub", "site1", "site2"))
    async with Supervisor([program(hub, "all", STEADY)], grace_s=5.0) as supervisor:
        faults = await supervisor.start([program(good, "all", STEADY), program(bad, "all", BROKEN)])
        assert [fault.program.name for fault in faults] == ["site2/all"]
        assert find_failed_sites(faults, ["site1", "site2"]) == {"site2"}
        watching = asyncio.create_task(supervisor.watch())
        [fault] = read_faults(bad)
        assert (fault.name, "no index" in fault.reason) == ("site2/all", True)
        assert not read_faults(good)
        restarts = supervisor.children["site2/all"].restarts
        await until(lambda: supervisor.children["site2/all"].restarts > restarts)
        assert not watching.done()
        (bad / "index").touch()
        await until(lambda: supervisor.children["site2/all"].fault is None)
        assert not read_faults(bad)
        assert {supervisor.children[name].restarts for name in ("hub/all", "site1/all")} == {0}
        watching.cancel()


def fault_of(tmp_path: Path, name: str) -> ChildFailedError:
    return ChildFailedError(program(tmp_path / name, "all", ""), 1)


@pytest.mark.parametrize("failed", [("hub",), ("hub", "site1"), ("site1", "site2")])
async def test_a_fleet_in_which_nobody_could_answer_is_not_up(tmp_path: Path, failed: tuple[str, ...]) -> None:
    with pytest.raises(ChildFailedError, match=failed[0]):
        find_failed_sites([fault_of(tmp_path, name) for name in failed], ["site1", "site2"])


async def test_a_server_that_cannot_be_started_again_leaves_the_others_alone_and_comes_back(tmp_path: Path) -> None:
    one, two = (Server(name, tmp_path / name / "nats") for name in ("site1", "site2"))
    await one.start()
    await two.start()
    keeping = asyncio.create_task(keep_servers({"site1": one, "site2": two}, tmp_path))
    try:
        store, aside = tmp_path / "site1" / "nats" / "store", tmp_path / "aside"
        one.kill()
        shutil.move(store, aside)
        store.write_text("no directory")
        await until(lambda: bool(read_faults(tmp_path / "site1")))
        os.kill(two.pid or 0, signal.SIGKILL)
        await until(lambda: two.pid is not None and two.health() == "healthy")
        store.unlink()
        await until(lambda: one.pid is not None and one.health() == "healthy")
        await until(lambda: not read_faults(tmp_path / "site1"))
        assert not keeping.done()
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        one.stop()
        two.stop()


async def test_a_frozen_server_is_killed_and_started_again_with_what_it_had_accepted(tmp_path: Path) -> None:
    server = Server("site1", tmp_path / "nats")
    await server.start()
    guard = ServerGuard(server, tmp_path / "faults" / "nats-server", patience_s=1.0)
    keeping = asyncio.create_task(guard.keep())
    try:
        async with JetStreamBus.open(server.nats, "site1") as bus:
            stream = bus.link.client.jetstream()
            await stream.add_stream(name="KEPT", subjects=["kept.>"], allow_direct=True)
            await stream.publish("kept.1", b"accepted")
            frozen = server.pid
            assert frozen
            os.kill(frozen, signal.SIGSTOP)
            await until(lambda: guard.restarts == 1)
            assert server.pid != frozen
            assert not is_alive(frozen)
            await until(lambda: bus.link.is_up)
            assert await bus.last("KEPT", "kept.1") == b"accepted"
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        server.stop()


async def test_a_server_that_answers_is_left_alone(tmp_path: Path) -> None:
    async with Server("site1", tmp_path / "nats") as server:
        guard = ServerGuard(server, tmp_path / "faults" / "nats-server", patience_s=0.5)
        keeping = asyncio.create_task(guard.keep())
        await asyncio.sleep(2.5)
        keeping.cancel()
        assert (guard.restarts, keeping.done()) == (0, False)
        await asyncio.gather(keeping, return_exceptions=True)


async def test_status_says_what_cannot_be_kept_up_and_why_until_it_is_up_again(tmp_path: Path) -> None:
    fault = tmp_path / "site1" / "faults" / "all"
    error = ChildFailedError(program(tmp_path / "site1", "all", ""), 3)
    async with Server("site1", tmp_path / "site1" / "nats") as server:
        client = await nats.connect(server.url)
        await declare_site(client, "site1", SITE_WORKERS)
        await client.close()
        settings = Settings(state_dir=str(tmp_path), site="site1", nats=server.nats)
        report_fault(fault, "site1/all", error)
        since_ms = read_faults(tmp_path / "site1")[0].since_ms
        report_fault(fault, "site1/all", error)
        assert [each.since_ms for each in read_faults(tmp_path / "site1")] == [since_ms]
        named = [problem for problem in (await gather_status(settings)).problems if "kept up" in problem]
        assert named == [f"site1: site1/all cannot be kept up: {error.reason} ({error.hint})"]
        clear_fault(fault)
        assert not [problem for problem in (await gather_status(settings)).problems if "kept up" in problem]
