"""Files that only this user reads, and the directory of a machine's state. Next: whoever keeps a database in one."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from tidegate.schemas import TidegateError

OTHERS = stat.S_IRWXO


class SharedDirectoryError(TidegateError, PermissionError):
    """Every user of the machine may put files, and links, into the directory."""

    hint = "name a directory of your own in it"


def make_private_file(path: Path) -> None:
    """An empty file where there is none. Raises `OSError`.

    One that is there is not opened: a process that closes a file gives up all its locks on it (POSIX, fcntl), those of
    SQLite's connections too, and the next one to close would delete a log that others write (sqlite.org/howtocorrupt).
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def close_to_others(directory: Path) -> None:
    """The directory, made now where there is none, so that other users of the machine neither list it nor reach what
    is below: documents of tenants, indices, logs. One of another owner stays as that one has it; its group too.

    Raises `SharedDirectoryError` for one such as /tmp, `OSError`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = directory.stat().st_mode
    if mode & stat.S_ISVTX and mode & stat.S_IWOTH:
        raise SharedDirectoryError(f"{directory} is a directory in which everybody writes")
    if mode & OTHERS:
        with suppress(PermissionError):
            directory.chmod(stat.S_IMODE(mode) & ~OTHERS)
