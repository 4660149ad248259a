"""Writes files so that a crash leaves the old one or the new one, and never a half.

Written beside, flushed, renamed, and the folder flushed too. Next: keys.py, repository.py, which write so."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

PRIVATE, PUBLIC = 0o600, 0o644
"""Modes: readable by this user alone; by everybody."""


def replace_file(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Put `data` under `path`, durably and whole, with this mode from the first byte on. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Make what was renamed in the folder durable. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
