"""Files that only this user reads. Next: whoever keeps a database in one."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def make_private_file(path: Path) -> None:
    """An empty file where there is none. Raises `OSError`.

    One that is there is not opened: a process that closes a file gives up all its locks on it (POSIX, fcntl), those of
    SQLite's connections too, and the next one to close would delete a log that others write (sqlite.org/howtocorrupt).
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
