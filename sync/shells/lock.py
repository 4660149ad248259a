"""The lock of a domain's replicas: one process writes them.

The kernel lets go of it however the process ends. Next: hub_shell.py, site_shell.py."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate.schemas.errors import TidegateError

LOCK = "lock"


class ReplicasBusyError(TidegateError, RuntimeError):
    """Another process writes the replicas of this domain."""

    hint = "stop the other sync worker of this domain: one of them writes, the others would undo its work"


@contextmanager
def lock_replicas(directory: Path) -> Iterator[None]:
    """Be the one writer below a directory, until left. Raises `ReplicasBusyError`, `OSError`."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ReplicasBusyError(f"process {file.read().strip() or 'unknown'} writes in {directory}") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
