"""What every test may count on: one event loop backend, a clean environment, no telemetry."""

from __future__ import annotations

import os

import pytest

os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TIDEGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Tests that must hold on uvloop too override this with both parameters."""
    return request.param
