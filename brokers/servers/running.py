"""Finds a nats-server that another process of this machine keeps up, by the files in its directory.

Next: nats_server.py, which starts one."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tidegate.schemas import TidegateError

RELOADED_WITHIN_S = 10.0


class ServerNotReloadedError(TidegateError, TimeoutError):
    """A server did not take up its configuration in time, or refused it."""

    hint = "nats.log in its directory has the cause; what was written counts once it is started again"


def reload_server(directory: Path) -> None:
    """Have the server whose directory this is take up its configuration, and return when it has.

    Twice: what an account that is new imports is bound by the reload after the one that brings the account (seen on
    nats-server 2.15.1). Raises `ServerNotReloadedError`.
    """
    for _ in range(2):
        pid = find_server_pid(directory)
        before = _loaded_at(directory, pid)
        if pid is not None:
            os.kill(pid, signal.SIGHUP)
        deadline = time.monotonic() + RELOADED_WITHIN_S
        while (now := _loaded_at(directory, pid)) == before or not now:
            if time.monotonic() > deadline or pid is None or not is_alive(pid):
                raise ServerNotReloadedError(f"the server of {directory} did not take up its configuration")
            time.sleep(0.005)


def _loaded_at(directory: Path, pid: int | None) -> str:
    """When the server has read its configuration, as it says; empty where it does not."""
    try:
        reported = json.loads((directory / f"nats-server_{pid}.ports").read_bytes())
        address = urlsplit(reported["monitoring"][0])
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=1.0)
        try:
            connection.request("GET", "/varz")
            known: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    return str(known.get("config_load_time", ""))


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
