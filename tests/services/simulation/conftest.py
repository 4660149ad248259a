"""The world of the simulation, opened once for each worker of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.paths import MODELS
from tidegate.services.simulation.engine import Simulator
from tidegate.services.simulation.world import open_world


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    with open_world(MODELS) as world:
        yield Simulator(world)
