"""What a process uses, as the kernel of Linux counts it: memory, open handles, processor time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tidegate.services.fleet.deployment import Deployment

PROC = Path("/proc")
_UTIME, _STIME = 11, 12
"""Fields of /proc/PID/stat after the name of the program, from 0 on (proc(5) has them as 14 and 15)."""


class ProcessUsage(msgspec.Struct, frozen=True, kw_only=True):
    """One process at one moment. `pss_mib` counts a page that n processes share as 1/n of one, so that processes may be
    added up; `cpu_s` is user and system time since its start."""

    rss_mib: float
    pss_mib: float
    handles: int
    cpu_s: float


def read_usage(pid: int) -> ProcessUsage:
    """Raises `FileNotFoundError` or `ProcessLookupError` where there is no such process."""
    lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
    times = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    ticks = int(times[_UTIME]) + int(times[_STIME])
    return ProcessUsage(
        rss_mib=kib["Rss"] / 1024,
        pss_mib=kib["Pss"] / 1024,
        handles=len(os.listdir(PROC / str(pid) / "fd")),
        cpu_s=ticks / os.sysconf("SC_CLK_TCK"),
    )


def find_processes(deployment: Deployment) -> dict[str, int]:
    """The process ids of a fleet's workers (`site1/all`), of what forks them (`site1/forks`), and of its servers
    (`site1/nats-server`), by name."""
    children = deployment.supervisor.children
    workers = {name: child.pid for name, child in children.items()}
    for name, child in children.items():
        if child.program.forked_by is not None:
            workers[f"{name.partition('/')[0]}/forks"] = child.program.forked_by.pid
    servers = {f"{name}/nats-server": server.pid or 0 for name, server in deployment.servers.items()}
    return {**workers, **servers}


def read_usages(pids: Mapping[str, int]) -> dict[str, ProcessUsage]:
    """Of each process, by name. Raises as `read_usage`."""
    return {name: read_usage(pid) for name, pid in pids.items()}
