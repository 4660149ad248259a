"""Files that only this user reads, and the directory of a machine's state. Next: whoever keeps a database in one."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from tidegate.schemas import TidegateError

OTHERS = stat.S_IRWXO
KEYS_FOLDER = "keys"
"""The folder of a state directory with the keys of its machine."""


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


class KeyFileError(TidegateError, PermissionError):
    """A file among the keys is another user's, or no file: whoever made it may know, or choose, what is read there."""

    hint = "restore the keys from their backup, or exchange them, into a directory that is this user's alone"


def close_to_others(directory: Path) -> tuple[str, ...]:
    """The directory, made now where there is none, so that other users of the machine neither list it nor reach what
    is below: documents of tenants, indices, logs. Its group may read and not write, for who may put a file into a
    directory may put one in another's place; keys are the owner's alone. Returns the keys that were open
    before. A directory of another owner stays as that one has it.

    Raises `SharedDirectoryError` for one such as /tmp, `KeyFileError`, `OSError`.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    mode = directory.stat().st_mode
    if mode & stat.S_ISVTX and mode & stat.S_IWOTH:
        raise SharedDirectoryError(f"{directory} is a directory in which everybody writes")
    _close(directory, OTHERS | stat.S_IWGRP)
    closed: list[str] = []
    keys = directory / KEYS_FOLDER
    for path in (keys, *keys.rglob("*")) if keys.is_dir() else ():
        with suppress(FileNotFoundError):  # one that another process has put in place of an older one
            closed += [str(path)] if _close_key(path) else []
    return tuple(closed)


def _close_key(path: Path) -> bool:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return False
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise KeyFileError(f"{path} is no file and no directory")
    if found.st_uid not in (0, os.geteuid()):
        raise KeyFileError(f"{path} is of another user, {found.st_uid}")
    was_open = _close(path, OTHERS | stat.S_IRWXG)
    return was_open and found.st_size > 0  # a lock, of which nobody can have read anything


def _close(path: Path, bits: int) -> bool:
    """Take these rights away; whether any was there, and is not any more."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & bits:
        return False
    try:
        path.chmod(mode & ~bits)
    except PermissionError:  # it is another's
        return False
    return True
