"""Finds a nats-server that another process of this machine keeps up, by the files in its directory.

Next: nats_server.py, which starts one."""

from __future__ import annotations

import os
import time
from pathlib import Path


def find_server_pid(directory: Path) -> int | None:
    """The process of the server whose directory this is; None when none is alive. A file may outlive its server."""
    for path in directory.glob("nats-server_*.ports"):
        pid = path.stem.rpartition("_")[2]
        if pid.isdecimal() and is_alive(int(pid)):
            return int(pid)
    return None


def is_alive(pid: int, since_s: float | None = None) -> bool:
    """Whether the process runs; with `since_s`, Unix time, whether it is the one that ran then and not a successor."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    started_s = started_at_s(pid)
    return since_s is None or started_s is None or started_s <= since_s + 1.0


def started_at_s(pid: int) -> float | None:
    """Unix time at which the process began, to about a second; None where the system does not say (proc(5))."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            return float("inf")
        uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None
    return time.time() - uptime_s + int(fields[19]) / os.sysconf("SC_CLK_TCK")
