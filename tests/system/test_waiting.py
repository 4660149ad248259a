"""What answers waits until a pack is in force, says why, and waits for nobody where there is one."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.command import until
from tests.support.nats_fleet import linked, nats_of
from tests.support.paths import MODELS
from tests.support.small_pack import pack_at
from tidegate.brokers.process.ready import ready_file
from tidegate.brokers.settings import NatsSettings
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.fleet.waiting import find_missing_pack, wait_until_in_force
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.parts import parts_of
from tidegate.services.settings import Settings

TENANTS = ("bank", "kiosk", "shop")


def settings_at(tmp_path: Path, site: str = "site1", **given: object) -> Settings:
    return Settings(
        site=site,
        state_dir=str(tmp_path / "state"),
        models_dir=str(MODELS),
        pack_dir=str(tmp_path / "no pack"),
        **given,  # type: ignore[arg-type]
    )


def bring_into_force(settings: Settings, pack: Path, tenant: str = "kiosk") -> None:
    """A generation of the pack's parts, as a sync worker leaves it."""
    parts = parts_of(pack)
    epochs = {part.path: 1 for part in parts}
    store = GenerationStore(StatePaths(settings).active(tenant))
    store.activate(parts, epochs, lambda _draft, _before: {}, lambda _draft, _record: None)


@pytest.mark.parametrize(("site", "command"), [("site1", "site add site1"), (HUB, "keys init")])
def test_a_disk_that_was_never_provisioned_is_told_by_which_command_it_is(
    tmp_path: Path, site: str, command: str
) -> None:
    missing = find_missing_pack(settings_at(tmp_path, site))
    assert missing is not None
    assert missing.reason == f"{site} was never provisioned"
    assert f"tidegate {command}`" in missing.hint


def test_a_provisioned_domain_waits_for_a_pack_and_says_whose(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    provision_fleet(settings, ["site1"])
    missing = find_missing_pack(settings)
    assert missing is not None
    assert missing.reason == "no pack of kiosk is in force at site1 yet"
    assert "tidegate publish pack" in missing.hint


@given(filled=st.sets(st.sampled_from(TENANTS)), begun=st.sets(st.sampled_from(TENANTS)))
def test_a_site_waits_exactly_while_no_tenant_has_a_generation(
    tmp_path_factory: pytest.TempPathFactory, filled: set[str], begun: set[str]
) -> None:
    path = tmp_path_factory.mktemp("site")
    settings, pack = settings_at(path, tenants=TENANTS), pack_at(path)
    for tenant in begun:  # a directory in which nothing ever was whole
        StatePaths(settings).active(tenant).mkdir(parents=True)
    for tenant in filled:
        bring_into_force(settings, pack, tenant)
    assert (find_missing_pack(settings) is None) == bool(filled)


@pytest.mark.anyio
async def test_a_tenant_of_which_nothing_is_in_force_is_closed_and_not_looked_for_in_a_folder(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, tenants=TENANTS)
    bring_into_force(settings, pack_at(tmp_path), "bank")
    await wait_until_in_force(settings)
    assert all(StatePaths(settings).active(tenant).is_dir() for tenant in TENANTS)


@pytest.mark.anyio
async def test_a_prepared_folder_is_answered_from_as_it_is(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    paths = StatePaths(settings)
    paths.home.mkdir(parents=True)
    paths.calibration.write_text("{}")
    assert find_missing_pack(settings) is not None, "what was prepared of a folder that is gone is nothing"
    paths.pack.mkdir()
    assert find_missing_pack(settings) is None
    await wait_until_in_force(settings)
    assert not paths.active("kiosk").exists()


class Worker:
    """`tidegate worker policy` as a process, and the lines that it logs."""

    def __init__(self, settings: Settings, login: NatsSettings) -> None:
        self.ready = ready_file(settings, "policy")
        environment = {
            "TIDEGATE_STATE_DIR": settings.state_dir,
            "TIDEGATE_MODELS_DIR": settings.models_dir,
            "TIDEGATE_PACK_DIR": settings.pack_dir,
            "TIDEGATE_NATS__URL": login.url,
            "TIDEGATE_NATS__NKEY_SEED_FILE": login.nkey_seed_file,
        }
        command = [sys.executable, "-m", "tidegate.services.cli", "worker", "policy", "--site", settings.site]
        self.process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def event(self) -> dict[str, object]:
        """The next thing that it logs of itself, after how many files it may open."""
        found: dict[str, object] = {"action": "open_files"}
        while found["action"] == "open_files":
            found = json.loads(self._lines.get(timeout=60))
        return found

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self._reading.join()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self._lines.put(line)


@contextmanager
def running(settings: Settings, login: NatsSettings) -> Iterator[Worker]:
    worker = Worker(settings, login)
    try:
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.process.kill()
            worker.process.wait()


@pytest.mark.anyio
async def test_a_worker_is_ready_when_the_first_pack_comes_and_at_once_where_there_is_one(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    provision_fleet(settings, ["site1"])
    async with linked(tmp_path / "servers", ["site1"]) as fleet:
        login = nats_of(fleet.fleet, "site1", "policy")
        with running(settings, login) as worker:  # ended while it waits
            logged = worker.event()
            assert (logged["action"], logged["reason"]) == (
                "waiting_for_pack",
                "no pack of kiosk is in force at site1 yet",
            )
            assert not worker.ready.exists()
            assert worker.end() == 0
        with running(settings, login) as worker:
            assert worker.event()["action"] == "waiting_for_pack"
            bring_into_force(settings, pack_at(tmp_path))
            assert worker.event()["action"] == "pack_in_force"
            until(worker.ready.exists, seconds=60)
            assert worker.end() == 0
        with running(settings, login) as worker:  # neither a hub nor a sync worker is asked
            assert worker.event()["action"] == "ready"
            assert worker.end() == 0
