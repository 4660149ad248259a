"""A disk of a few MiB that can be filled for real: a file system in memory, mounted for one test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class SmallDisk:
    """`path`: its root."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    def fill(self) -> None:
        """Write until there is no room for another byte."""
        for size in (1 << 16, 512, 1):
            try:
                with self._filler.open("ab", buffering=0) as file:
                    while file.write(bytes(size)) == size:
                        pass
            except OSError:
                continue

    def make_room(self) -> None:
        """Take away what `fill` has written."""
        self._filler.unlink()


@contextmanager
def mounted(path: Path, mib: int) -> Iterator[SmallDisk]:
    """The disk, mounted at `path`; the test is skipped where the user may not mount."""
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(path)]
    ran = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"a file system cannot be mounted here: {ran.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)
