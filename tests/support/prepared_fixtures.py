"""Fixtures of the suites that start fleets: a state directory prepared once, copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.prepared_state import fill_once, prepare_once, run_directory, settings_for
from tidegate.services.settings import Settings


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory in which the hub and two sites are ready to start; made once for all workers of a run."""
    return prepare_once(run_directory(tmp_path_factory))


@pytest.fixture
def settings(prepared: Path, tmp_path: Path) -> Settings:
    """Settings of a fleet of one's own, prepared."""
    state = tmp_path / "state"
    shutil.copytree(prepared, state)
    return settings_for(state)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory whose hub and two sites were filled by sync; made once for all workers of a run."""
    return fill_once(run_directory(tmp_path_factory))


@pytest.fixture
def filled_settings(filled: Path, tmp_path: Path) -> Settings:
    """Settings of a fleet of one's own, filled."""
    state = tmp_path / "state"
    shutil.copytree(filled, state)
    return settings_for(state)


@pytest.fixture(scope="module")
def site(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a prepared site and its hub, which no test of the module changes."""
    state = tmp_path_factory.mktemp("runtime") / "state"
    shutil.copytree(prepared, state)
    return settings_for(state)
