"""Every promise of a bus is asked of both buses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker_harness import OpenRig, memory, on_jetstream


@pytest.fixture(params=["memory", "jetstream"])
def open_rig(request: pytest.FixtureRequest, tmp_path: Path) -> OpenRig:
    """Every promise holds for both buses."""
    opener: Callable[..., Any] = memory if request.param == "memory" else on_jetstream
    return lambda *stages, **more: opener(tmp_path, *stages, **more)


@pytest.fixture
def open_server_rig(tmp_path: Path) -> OpenRig:
    """What only a server can break."""
    return lambda *stages, **more: on_jetstream(tmp_path, *stages, **more)
