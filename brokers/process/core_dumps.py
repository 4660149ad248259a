"""Whether a process that crashes leaves its memory on the disk. Next: lifecycle.py, which forbids it."""

from __future__ import annotations

import resource


def forbid_core_dumps() -> None:
    """Have this process and what it starts write no core file: what a worker has in hand is in clear in its memory.

    A system that hands cores to a program (`kernel.core_pattern` with a pipe) has to be told otherwise.
    """
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
