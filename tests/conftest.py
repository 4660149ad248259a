"""What every test may count on: one event loop backend, a clean environment, no telemetry.

Where several workers share a run, what the system tests need is prepared while they run others.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import hypothesis
import pytest

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
# numpy reads it when it is imported: on a busy machine threads of OpenBLAS that wait for each other take 100 times as
# long. Every worker has it, too.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# No authorities: servers on loopback speak plain HTTP, and each of hundreds of clients would read all of certifi's.
os.environ["SSL_CERT_DIR"] = os.path.dirname(__file__)
# On a busy machine an example takes what it takes. Each run draws others: ten runs make up for fewer in each.
hypothesis.settings.register_profile("untimed", deadline=None, max_examples=60)
hypothesis.settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seeds", type=int, default=60, help="How many seeds of the simulation are run.")


def pytest_collection() -> None:
    """What is collected stays to the end: walking it again and again for garbage costs each worker a second."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)  # behind the shuffle
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have each worker begin its share of the system tests a third of its way: at first what they need is being
    prepared, and the longest of them, begun last, would keep one worker busy while the others have nothing to do."""
    slow = [item for item in items if item.get_closest_marker("system")]
    quick = [item for item in items if not item.get_closest_marker("system")]
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    items[:] = []
    for number in range(workers):  # the scheduler gives each a part of the list, and moves what is left at the end
        part = quick[number * len(quick) // workers : (number + 1) * len(quick) // workers]
        items += [*part[: len(part) // 3], *slow[number::workers], *part[len(part) // 3 :]]


@pytest.fixture(scope="session", autouse=True)
def _prepared_early(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The first worker begins to prepare what the system tests of the run need."""
    is_needed = any(item.get_closest_marker("system") for item in request.session.items)
    if not is_needed or os.environ.get("PYTEST_XDIST_WORKER") != "gw0":
        yield
        return
    from tests.support.prepared_state import prepare_early, run_directory

    process = prepare_early(run_directory(tmp_path_factory))
    yield
    process.kill()
    process.wait()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TIDEGATE_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="session", params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Tests that must hold on uvloop too override this with both parameters."""
    return request.param
