"""What this machine says of itself: the time by its wall clock, and the digests of what runs on it.

A file is read again only where its size or its times changed. Next: attestation_link.py; rules/staleness.py."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tidegate.sync.trust.attestation import measure

PRODUCT = ("schemas", "brokers", "sync", "services")
"""What of the package answers questions; the rest builds and deploys it."""


def wall_ms() -> int:
    """The wall clock, which at the hub is the time that counts."""
    return time.time_ns() // 1_000_000


class Measures:
    """Digests of files and directories, remembered as long as nothing of them looks changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[str, str]] = {}

    def digest(self, path: Path) -> str:
        """See `measure`; of nothing where there is nothing. Raises `OSError`."""
        look = sha256("\n".join(_looks(path)).encode()).hexdigest()
        known = self._known.get(path)
        if known is None or known[0] != look:
            digest = measure(path) if path.exists() else sha256().hexdigest()
            known = self._known[path] = (look, digest)
        return known[1]


@functools.cache
def running_code() -> str:
    """The digest of the package that this process runs, as far as it answers questions: as it was at the first call."""
    package = Path(__file__).absolute().parents[2]
    whole = sha256()
    for name in PRODUCT:
        whole.update(bytes.fromhex(measure((package / name).resolve())))
    return whole.hexdigest()


def _looks(path: Path) -> Iterator[str]:
    """What changes when a file does, as far as can be seen from outside."""
    for folder, folders, files in os.walk(path):
        folders.sort()
        if "__pycache__" in folders:
            folders.remove("__pycache__")
        for name in sorted(files):
            found = (Path(folder) / name).stat()
            yield f"{folder}/{name} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
    if path.is_file():
        found = path.stat()
        yield f"{path} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"
