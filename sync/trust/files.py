"""Writes files so that a crash leaves the old one or the new one, and never a half.

Written beside, flushed, renamed, and the folder flushed too. Next: keys.py, repository.py, which write so."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PRIVATE, PUBLIC = 0o600, 0o644
"""Modes: readable by this user alone; by everybody."""
RESERVED = 1 << 16
"""More bytes than what tells of one act has."""


def replace_file(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Put `data` under `path`, durably and whole, with this mode from the first byte on. Raises `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with _naming(path), open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


@contextmanager
def reserved(path: Path, size: int = RESERVED, mode: int = PUBLIC) -> Iterator[Callable[[bytes], None]]:
    """Room on the disk for a file of `size` bytes, before that is done of which the file will tell; what puts the data
    under `path`, as `replace_file` does. Where nothing is put, nothing is left.

    Raises `OSError`, with the path: at once where there is no room or no right to write, and with data beyond `size`
    when there turns out to be no room.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")

    def put(data: bytes) -> None:
        with _naming(path), open(fresh, "r+b") as file:
            file.write(data)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        flush_folder(path.parent)

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _naming(path), open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(bytes(size))
        yield put
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """What writes to an open file says only that there is no room, not where."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def flush_folder(folder: Path) -> None:
    """Make what was renamed in the folder durable. Raises `OSError`."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
