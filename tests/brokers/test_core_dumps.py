"""A worker that crashes leaves no memory on the disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SCRIPT = (
    "import os, resource\nfrom tidegate.brokers.process.core_dumps import forbid_core_dumps\n"
    "hard = resource.getrlimit(resource.RLIMIT_CORE)[1]\n"
    "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))\n"
    "forbid_core_dumps()\n"
    "print(resource.getrlimit(resource.RLIMIT_CORE), flush=True)\n"
    "os.abort()\n"
)


def test_a_process_that_aborts_writes_no_core(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.stdout.startswith("(0, "), run.stderr
    assert run.returncode < 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unit", sorted((ROOT / "infra" / "systemd").glob("*.service")), ids=lambda unit: unit.name)
def test_no_unit_writes_one_either(unit: Path) -> None:
    assert "LimitCORE=0" in unit.read_text().splitlines()
