"""The disk that a path is on. Promises an answer for a path that is not made yet: the disk it will be on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple


class DiskUsage(NamedTuple):
    """Bytes of one file system."""

    total: int
    free: int


def disk_usage(path: Path) -> DiskUsage:
    """What the disk of `path`, or of its nearest parent that exists, holds. Raises `OSError`."""
    nearest = path.absolute()
    while True:
        try:
            usage = shutil.disk_usage(nearest)
        except FileNotFoundError:
            if nearest == nearest.parent:
                raise
            nearest = nearest.parent
        else:
            return DiskUsage(usage.total, usage.free)
