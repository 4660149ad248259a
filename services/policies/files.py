"""Which files of a folder are policies, and which are tests of them: `branch_test.yaml` beside `branch.yaml`.

Promises that of what was published to a site every file is a policy: nothing there is left out for its name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

SUFFIXES = (".yaml", ".yml")
_TEST = "_test"


def is_test(path: Path) -> bool:
    """Whether a file holds tests of policies, by its name."""
    return path.stem.endswith(_TEST)


def list_policies(files: Iterable[Path]) -> list[Path]:
    """Those of a pack's files that are policies, in one order."""
    return sorted(file for file in files if file.suffix in SUFFIXES and not is_test(file))


def list_tests(files: Iterable[Path]) -> list[Path]:
    """Those that are tests of policies, in one order."""
    return sorted(file for file in files if file.suffix in SUFFIXES and is_test(file))
