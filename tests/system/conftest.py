"""What the system tests share: a state directory prepared once, copied for each of them."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from pathlib import Path

import pytest

from tests.support.paths import MODELS
from tidegate.services.cli.options import find_default_pack
from tidegate.services.cli.progress import LineProgress
from tidegate.services.fleet.prepare import prepare_all
from tidegate.services.packs.load import load_pack
from tidegate.services.settings import Settings

SITES = ("site1", "site2")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory in which the hub and two sites are ready to start; made once for all workers of a run."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    state, done = root / "prepared", root / "prepared.done"
    with (root / "prepared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(state, ignore_errors=True)  # a worker that failed in the middle
            pack = load_pack(find_default_pack())
            asyncio.run(prepare_all(settings_for(state), SITES, pack, LineProgress()))
            done.touch()
    return state


@pytest.fixture
def settings(prepared: Path, tmp_path: Path) -> Settings:
    """Settings of a fleet of one's own, prepared."""
    state = tmp_path / "state"
    shutil.copytree(prepared, state)
    return settings_for(state)


@pytest.fixture(scope="module")
def site(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a prepared site and its hub, which no test of the module changes."""
    state = tmp_path_factory.mktemp("runtime") / "state"
    shutil.copytree(prepared, state)
    return settings_for(state)


def settings_for(state: Path) -> Settings:
    return Settings(state_dir=str(state), models_dir=str(MODELS), pack_dir=str(find_default_pack()))
