"""A state directory in which the hub and two sites of the kiosk are ready to start, made once for a run.

As a program it makes one, in the background: see `prepare_early`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loadtests.prepared import prepare_all
from tests.support.paths import MODELS, ROOT
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import LineProgress
from tidegate.services.fleet.deployment import deploy
from tidegate.services.fleet.filling import fill_sites
from tidegate.services.fleet.provision import provision_fleet
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

SITES = ("site1", "site2")


def settings_for(state: Path) -> Settings:
    return Settings(state_dir=str(state), models_dir=str(MODELS), pack_dir=str(find_default_pack()))


def prepare_once(root: Path) -> Path:
    """The directory; who comes second waits for the first."""
    state, done = root / "prepared", root / "prepared.done"
    with (root / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(state, ignore_errors=True)  # a process that ended in the middle
            pack = load_pack(find_default_pack())
            asyncio.run(prepare_all(settings_for(state), SITES, pack, LineProgress()))
            done.touch()
    return state


def fill_once(root: Path) -> Path:
    """A directory whose hub and sites were filled as `tidegate up` fills them; who comes second waits for the first."""
    state, done = root / "filled", root / "filled.done"
    with (root / "filled.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(state, ignore_errors=True)
            asyncio.run(_fill(settings_for(state)))
            for ports in (*state.glob("*/gateway.port"), *state.glob("*/nats/ports.json")):
                ports.unlink()  # each copy has ports of its own
            done.touch()
    return state


async def _fill(settings: Settings) -> None:
    provision_fleet(settings, SITES)

    async def fill() -> None:
        await fill_sites(settings, SITES, LineProgress())

    async with deploy(settings, SITES, fill=fill):
        pass


def run_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary directory that all workers of a run share."""
    root = tmp_path_factory.getbasetemp()
    return root.parent if "PYTEST_XDIST_WORKER" in os.environ else root


def prepare_early(root: Path) -> subprocess.Popen[bytes]:
    """Begin in a process of its own, so that no worker waits for it that has other tests to run."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.prepared_state", str(root)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


if __name__ == "__main__":
    prepare_once(Path(sys.argv[1]))
    fill_once(Path(sys.argv[1]))
