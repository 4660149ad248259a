"""Models that are missing are found and built; a build that fails says why, one that is interrupted leaves nothing."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tidegate.services.fleet.models import (
    BUILDERS,
    ModelBuildError,
    ModelsNotBuiltError,
    check_models,
    find_missing_models,
    interrupt,
    run_builder,
)
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

BUILDER = "tests.support.slow_builder"


class Heard:
    """Keeps what is reported, and says when there is something."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.something = asyncio.Event()

    def start(self, what: str, total: int | None = None) -> None:
        self.lines.append(f"{what} {total}")

    def step(self, detail: str = "") -> None:
        self.lines.append(detail)
        self.something.set()

    def show(self, detail: str) -> None:
        self.lines.append(detail)


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_what_a_builder_prints_is_progress_and_what_it_makes_is_found(tmp_path: Path) -> None:
    settings, heard = Settings(models_dir=str(tmp_path)), Heard()
    assert find_missing_models(settings) == tuple(BUILDERS)
    for name in BUILDERS:
        await run_builder(BUILDER, tmp_path / name, heard)
    assert heard.lines == ["fetching", "ready"] * len(BUILDERS)
    assert find_missing_models(settings) == ()
    check_models(settings)


async def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ModelBuildError, match="the package index is not reachable"):
        await run_builder(BUILDER, tmp_path / "fails", Heard())
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("inherited", [signal.default_int_handler, signal.SIG_IGN])
async def test_a_build_that_is_interrupted_leaves_nothing(tmp_path: Path, inherited: Any) -> None:
    before = signal.signal(signal.SIGINT, inherited)  # ignored is what a program inherits from a script or `nohup`
    try:
        heard = Heard()
        build = asyncio.create_task(run_builder(BUILDER, tmp_path / "waits", heard))
        await asyncio.wait_for(heard.something.wait(), 30)
        assert len(names_in(tmp_path)) == 1
        build.cancel()
        with pytest.raises(asyncio.CancelledError):
            await build
    finally:
        signal.signal(signal.SIGINT, before)
    assert names_in(tmp_path) == []


DEAF = """
import signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("started", flush=True)
child.wait()
"""


async def test_a_builder_that_does_not_heed_an_interrupt_is_killed_with_what_it_started() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DEAF, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    await interrupt(process, within_s=0.2)
    assert process.returncode == -signal.SIGKILL
    async with asyncio.timeout(10):  # the pipe is at its end when both have ended
        assert await process.stdout.read() == b""


async def test_models_that_are_missing_are_an_error_with_the_commands_that_build_them(tmp_path: Path) -> None:
    with pytest.raises(ModelsNotBuiltError) as missing:
        check_models(Settings(models_dir=str(tmp_path / "none")))
    assert all(
        f"python -m {module} --out {tmp_path / 'none' / name}" in missing.value.hint
        for name, module in BUILDERS.items()
    )
