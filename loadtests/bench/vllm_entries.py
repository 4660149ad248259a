"""The lines of the bench that need a real vLLM engine; it runs beside the bench, in its own environment."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from functools import cache, partial
from pathlib import Path

import msgspec

from loadtests.bench.measure import Entry, Measurement, MeasurementError, Target
from loadtests.bench.vllm_cases import cases_of
from loadtests.bench.vllm_side import Case

PYTHON = Path(".venv-vllm/bin/python")
MODELS = Path(".models")
PACK = Path("infra/packs/kiosk")
CASES = 12
PLAIN = "the same engine, nothing proposed"
WARNINGS = 4000
"""Characters of what the engine's process wrote last that a failure quotes."""


class EngineFailedError(MeasurementError):
    """The engine's process failed; the message quotes what it wrote last."""


def find_lacking() -> str:
    """What these entries cannot be measured without."""
    return "" if PYTHON.exists() else f"no {PYTHON.parent.parent} (`make vllm` builds it)"


async def blocks(repeats: int, *, entry: str) -> AsyncIterator[Measurement]:
    """What the process beside us measures, block by block. Raises `EngineFailedError`."""
    cases = await asyncio.to_thread(_cases)
    asked = {"entry": entry, "repeats": repeats, "model": str(MODELS / "lm" / "target"), "cases": cases}
    with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryFile() as errors:
        file.write(msgspec.json.encode(asked))
        file.flush()
        process = await asyncio.create_subprocess_exec(
            str(PYTHON),
            "-m",
            "loadtests.bench.vllm_side",
            file.name,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": "."},
        )
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                yield msgspec.json.decode(line, type=Measurement)
            if await process.wait():
                errors.seek(0)
                output = errors.read().decode("utf-8", "replace")
                raise EngineFailedError(f"{entry} ended with {process.returncode}:\n{output[-WARNINGS:]}")
        finally:
            if process.returncode is None:
                process.terminate()  # its engine ends with it
                await process.wait()


@cache
def _cases() -> list[Case]:
    return cases_of(PACK, MODELS, CASES)


def _entry(name: str, unit: str, peer_name: str, target: Target) -> Entry:
    return Entry(
        name=name,
        unit=unit,
        peer_name=peer_name,
        target=target,
        blocks=partial(blocks, entry=name),
        find_lacking=find_lacking,
    )


ENTRIES: tuple[Entry, ...] = (
    _entry("vllm_steps_shipped_draft", "forward passes per answer", PLAIN, Target("≤", 0.33)),
    _entry("vllm_time_shipped_draft", "ms to final, p50", PLAIN, Target("≤", 0.5)),
    _entry("vllm_time_vs_ngram", "ms to final, p50", "vLLM's own ngram speculation, 16 tokens", Target("≤", 1.0)),
    _entry("vllm_time_wrong_draft", "ms to final, p50", PLAIN, Target("≤", 1.05)),
)
