"""One package is installed, `tidegate`, and the folders of the repository are it (decision 0017)."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

import pytest

import tidegate
from tests.support.paths import ROOT

PACKAGE = ROOT / "infra" / "package" / "tidegate"
ROOMS = ("schemas", "brokers", "sync", "services")
LINKED = (*ROOMS, "infra/models", "infra/packs", "infra/docs")


@pytest.mark.parametrize("name", LINKED)
def test_a_folder_of_the_repository_is_the_package_s_own(name: str) -> None:
    link = PACKAGE / name
    assert link.is_symlink()
    assert link.resolve() == (ROOT / name).resolve()
    assert not Path(link.readlink()).is_absolute()


def test_nothing_else_is_in_the_package() -> None:
    linked = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*") if path.is_symlink()}
    assert linked == set(LINKED)
    written = {str(path.relative_to(PACKAGE)) for path in PACKAGE.glob("**/*.py") if not path.parent.is_symlink()}
    assert {name for name in written if not name.startswith(LINKED)} == {"__init__.py", "infra/__init__.py"}


def test_nothing_is_imported_under_a_second_name() -> None:
    found = []
    gc.disable()  # a collection in mid-parse may itself parse, which Python 3.11 takes for a fault (gh-106905)
    try:
        for folder in (*ROOMS, "infra", "loadtests", "tests"):
            for path in (ROOT / folder).rglob("*.py"):
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                    names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                    found += [(path, name) for name in names if name.split(".")[0] in (*ROOMS, "infra")]
    finally:
        gc.enable()
    assert not found


def test_the_runtime_is_at_the_top_and_nothing_else() -> None:
    assert tidegate.__all__ == ["EdgeRuntime"]
    assert tidegate.EdgeRuntime.__module__ == "tidegate.services.runtime"
    with pytest.raises(AttributeError, match="no attribute 'Runtime'"):
        _ = tidegate.Runtime
