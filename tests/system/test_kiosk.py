"""The main job: the kiosk's questions over both transports of two sites, and the bars it has to clear."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.support.prepared_fixtures import filled_settings as settings
from tidegate.services.settings import Settings

pytestmark = pytest.mark.system
__all__ = ["settings"]

IN_THE_DOCUMENTS_WORDS = ("answerable", "language", "personal", "hub")
"""Kinds whose questions share words with the document; how paraphrases fare the demo shows, and is no bar yet."""


def demo(settings: Settings, *arguments: str) -> dict[str, Any]:
    call = ("demo", "--json", "--sites", "2", "--state", settings.state_dir, *arguments)
    run = subprocess.run(
        [sys.executable, "-m", "tidegate.services.cli", *call],
        capture_output=True,
        timeout=200,
        check=False,
        env={**os.environ, "TIDEGATE_MODELS_DIR": settings.models_dir},
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    counted: dict[str, Any] = msgspec.json.decode(run.stdout.splitlines()[-1])
    return counted


def check(counted: dict[str, Any]) -> None:
    kinds = counted["by_kind"]
    asked = sum(kinds[kind]["asked"] for kind in IN_THE_DOCUMENTS_WORDS if kind in kinds)
    correct = sum(kinds[kind]["correct"] for kind in IN_THE_DOCUMENTS_WORDS if kind in kinds)
    answerable, outside = kinds["answerable"], kinds["out_of_scope"]
    assert (counted["lost"], counted["duplicates"], counted["dead"], counted["refused"]) == (0, 0, 0, 0)
    assert counted["personal_values_found"] == 0
    assert answerable["correct"] >= 0.90 * answerable["asked"], kinds
    assert correct >= 0.85 * asked, kinds
    assert outside["correct"] >= 0.95 * outside["asked"], kinds
    assert set(counted["stages"]) >= {"prefilter", "router", "retriever", "drafter", "cloud-verifier", "policy"}


def test_the_kiosk_clears_its_bars_and_again_on_what_the_first_run_left_behind(settings: Settings) -> None:
    whole = demo(settings)
    assert whole["asked"] >= 150
    check(whole)
    beginning = demo(settings, "--limit", "67")  # of every kind of answer some: the whole again tells nothing more
    assert beginning["asked"] == 67
    check(beginning)
