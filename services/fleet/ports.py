"""Keeps a port from one run to the next, so that clients, bookmarks and dashboards find a site where it was."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def keep_port(host: str, memory: Path) -> int:
    """The port in the file `memory` where it is free at `host`, else one that the system chooses, which is written there.

    Raises `OSError` where `host` is no address of this machine.
    """
    try:
        remembered = int(memory.read_text())
    except (OSError, ValueError):  # never written, or by nobody of ours
        remembered = 0
    port = _free_port(host, remembered)
    if port != remembered:
        memory.parent.mkdir(parents=True, exist_ok=True)
        draft = memory.with_name(f".{memory.name}.{os.getpid()}")
        draft.write_text(str(port))
        draft.replace(memory)
    return port


def _free_port(host: str, wanted: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, wanted), family=family) as probe:
            return int(probe.getsockname()[1])
    except (OSError, OverflowError):
        if not wanted:
            raise
        return _free_port(host, 0)
