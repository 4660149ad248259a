"""`tidegate worker audit` as a process, and the log beside the stages: one writes, a kill loses nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.audit_logs import attack
from tests.support.audit_worlds import AuditWorld, open_world, publish
from tests.support.nats_fleet import until
from tests.support.sync_parts import fast_directory
from tidegate.brokers.process.ready import ready_file
from tidegate.schemas.audit import AuditedAnswer
from tidegate.schemas.subjects import HUB
from tidegate.services.evidence.worker import open_audit_beside
from tidegate.services.fleet.audit_status import STALE_MS, AuditStatus, find_audit_problems, read_audit_status
from tidegate.services.fleet.deployment import plan_programs
from tidegate.services.settings import Settings
from tidegate.sync.trust.keys import KeyStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def path() -> Iterator[Path]:
    with fast_directory() as directory:
        yield Path(directory)


@contextmanager
def worker(world: AuditWorld, *, is_first: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """`tidegate worker audit` of site1 as `tidegate up` starts it."""
    programs = plan_programs(world.settings("site1"), {"site1": world.fleet.sites["site1"].url}, per_stage=True)
    [program] = [each for each in programs if each.name == "site1/audit"]
    if is_first:
        program.ready.unlink(missing_ok=True)  # of one that was killed
    process = subprocess.Popen(program.argv, env={**os.environ, **program.env}, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


async def is_ready(world: AuditWorld) -> bool:
    return ready_file(world.settings("site1"), "audit").exists()


async def test_a_worker_that_is_killed_goes_on_and_a_second_one_is_refused(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus:
        for rids in (("r1", "r2"), ("r3",)):
            with worker(world) as process:
                await publish(bus, *rids)
                await until(lambda: is_ready(world))
                with worker(world, is_first=False) as second:
                    _, errors = second.communicate(timeout=30)
                    assert second.returncode == 1
                    assert b"another process writes the audit log" in errors
                await world.logged("site1", 3 if "r1" in rids else 4)
                process.send_signal(signal.SIGKILL)
        rids_logged = [entry.body.rid for entry in world.entries("site1") if isinstance(entry.body, AuditedAnswer)]
    assert rids_logged == ["r1", "r2", "r3"]


async def test_beside_the_stages_a_damaged_log_is_shown_and_goes_on_when_it_is_mended(path: Path) -> None:
    async with open_world(path) as world, world.bus("site1") as bus:
        async with world.worker("site1"):
            await publish(bus, "r1")
            await world.logged("site1", 2)
        attack(world.directory("site1"), "UPDATE entries SET counter = 9 WHERE counter = 1")
        async with open_audit_beside(world.settings("site1"), bus):
            await world.faulty("site1", "is not the one that was written here")
            await publish(bus, "r2")
            attack(world.directory("site1"), "UPDATE entries SET counter = 1 WHERE counter = 9")
            await world.logged("site1", 3)

            async def is_good() -> bool:
                return not world.status("site1").faults

            await until(is_good)


def test_every_domain_with_a_key_has_an_audit_worker_of_its_own_or_in_the_one_for_all(path: Path) -> None:
    for domain in (HUB, "site1"):
        KeyStore(path / "keys").generate("author", domain, 1)
    urls = {HUB: "nats://x", "site1": "nats://y", "site2": "nats://z"}
    names = [each.name for each in plan_programs(Settings(state_dir=str(path)), urls, per_stage=True)]
    assert [name for name in names if name.endswith("/audit")] == ["hub/audit", "site1/audit"]
    names = [each.name for each in plan_programs(Settings(state_dir=str(path)), urls, per_stage=False)]
    assert not [name for name in names if name.endswith("/audit")]


def test_a_status_says_what_somebody_has_to_look_at(path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    assert read_audit_status(path) is None
    good = AuditStatus(domain="site1", size=3, at_ms=now_ms)
    assert find_audit_problems("site1", good) == []
    (refused,) = find_audit_problems("site1", AuditStatus(domain="site1", at_ms=now_ms, faults=("witness: forked",)))
    assert refused == "site1: audit log: witness: forked"
    (silent,) = find_audit_problems("site1", AuditStatus(domain="site1", at_ms=now_ms - STALE_MS - 5_000))
    assert "does not run" in silent
