"""The ready files of this machine: one per process that serves, there while it is ready, with what finds and names it.

Next: lifecycle.py, which writes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import msgspec

from tidegate.brokers.settings import ProcessSettings


class ReadyProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that is ready: `site` is a site's name or `hub`, `name` a stage's name, `gateway` or `all`."""

    site: str
    name: str
    pid: int
    version: str
    stages: tuple[str, ...] = ()
    metrics_host: str = ""
    metrics_port: int = 0
    """Where it serves `/metrics`; 0: it does not."""
    metrics_tls: bool = False
    """Whether who reads them has to show a certificate."""


def ready_file(settings: ProcessSettings, name: str) -> Path:
    """The file that exists while the process `name` is ready."""
    return Path(settings.state_dir) / settings.site / "ready" / name


def read_ready_processes(state_dir: Path) -> tuple[ReadyProcess, ...]:
    """Every process below `state_dir` that is marked as ready, the hub's too. One that was killed leaves its file
    behind, so that the `pid` may be of no process any more. Files that are not whole are left out.
    """
    found = []
    for path in sorted(state_dir.glob("*/ready/*")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=ReadyProcess))
        except (OSError, msgspec.DecodeError):  # it ended just now, or is no ready file
            continue
    return tuple(found)


@contextmanager
def mark_ready(settings: ProcessSettings, name: str, stages: tuple[str, ...], metrics_port: int) -> Iterator[None]:
    """Write the ready file, whole or not at all; remove it on leaving."""
    path = ready_file(settings, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    ready = ReadyProcess(
        site=settings.site,
        name=name,
        pid=os.getpid(),
        version=version("tidegate"),
        stages=stages,
        metrics_host=settings.metrics_host if metrics_port else "",
        metrics_port=metrics_port,
        metrics_tls=bool(settings.metrics_tls.certificate),
    )
    fresh = path.with_name(f".{name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(ready))
    fresh.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
