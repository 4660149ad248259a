"""The directory of a machine's state, and which versions of this program may use it: what a later one has written is
not touched. Why: decision 0070. Next: private_files.py."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from tidegate.brokers.process.private_files import close_to_others
from tidegate.schemas import TidegateError

STATE_FORMAT = 1
"""One more with each change after which the version before could not use what is stored, or would do it harm."""
FORMAT_FILE = "format"


class StateTooNewError(TidegateError):
    """A later version of this program has used the directory."""

    hint = "install that version again, or put back a backup of the whole directory from before the upgrade"


class FormatUnreadableError(TidegateError):
    """It is not known which versions may use the directory."""

    hint = "restore the file from a backup; it has one number, the newest that a version which ran here has written"


def check_state(directory: Path) -> None:
    """Raises `StateTooNewError` for the state of a later version, `FormatUnreadableError`. Changes nothing."""
    file = directory / FORMAT_FILE
    found = _read_format(file)
    if found > STATE_FORMAT:
        raise StateTooNewError(
            f"{directory} was used by a later version: its state has format {found}, this version uses {STATE_FORMAT}"
        )


def open_state(directory: Path) -> tuple[str, ...]:
    """The directory for this version to write, made now where there is none, and closed to other users; the keys that
    were open to them before.

    Raises as `check_state`, before anything is changed, and as `close_to_others`.
    """
    check_state(directory)
    closed = close_to_others(directory)
    if _read_format(directory / FORMAT_FILE) < STATE_FORMAT:
        with suppress(PermissionError):  # of another owner, whose processes write it
            _write_format(directory / FORMAT_FILE)
    return closed


def _read_format(file: Path) -> int:
    """0 where there is none, as up to format 1."""
    try:
        return int(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, PermissionError):  # whoever uses the directory says what it is
        return 0
    except (OSError, ValueError) as error:
        raise FormatUnreadableError(f"{file} cannot be read: {error}") from error


def _write_format(file: Path) -> None:
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        fresh.write_bytes(b"%d\n" % STATE_FORMAT)
        os.replace(fresh, file)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
