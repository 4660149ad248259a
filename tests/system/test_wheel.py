"""What is installed is one package that carries everything it runs with."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DATA = (".md", ".json", ".safetensors", ".yaml", ".toml", ".html", ".css", ".js")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a wheel built of this tree."""
    room = tmp_path_factory.mktemp("wheel")
    source = room / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)  # what is committed, and no build folder
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(room), "."]
    subprocess.run(command, cwd=source, check=True, timeout=120)
    [wheel] = room.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def committed(*folders: str) -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, check=True, text=True)
    return {name for name in listed.stdout.split("\0") if name}


def test_the_only_name_that_is_installed_is_ours(packed: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in packed} == {"tidegate"}


def test_every_module_and_every_file_that_it_reads_is_in_it(packed: set[str]) -> None:
    folders = ("schemas", "brokers", "sync", "services", "infra/models", "infra/packs")
    wanted = {f"tidegate/{name}" for name in committed(*folders) if Path(name).suffix in (".py", *DATA)}
    assert len(wanted) > 300
    assert sorted(wanted - packed) == []


def test_tests_secrets_and_what_only_a_checkout_needs_are_not_in_it(packed: set[str]) -> None:
    assert not [name for name in packed if "/tests/" in name or name.endswith((".nk", ".key", ".sqlite"))]
    assert not [name for name in packed if name.startswith("tidegate/infra/docs/")]
