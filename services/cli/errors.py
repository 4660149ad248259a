"""How an error reaches a person or a script: one reason, one hint, an exit code, and never a traceback.

What nobody foresaw is kept in a file below the state directory, without the values that it quotes. Next: __init__.py.
"""

from __future__ import annotations

import errno
import os
import secrets
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from tidegate.schemas import TidegateError
from tidegate.services.cli.terminal import echo

HINTS = {
    errno.EACCES: "check who may read and write there, or name another directory",
    errno.EPERM: "check who may read and write there, or name another directory",
    errno.EROFS: "that file system is read-only; name another directory",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.EISDIR: "the path is a directory; name a file",
    errno.EEXIST: "something else lies there; move it away, or name another path",
    errno.ENOSPC: "the disk is full; make room and try again",
    errno.EADDRINUSE: "another process listens there; end it, or choose another port",
    errno.EADDRNOTAVAIL: "this machine has no such address; choose another host",
    errno.ECONNREFUSED: "nothing listens there; `tidegate status` says what is up",
    errno.ECONNRESET: "the server went away; `tidegate status` says what is up",
    errno.EMFILE: "too many files are open; raise the limit with `ulimit -n`",
}
OF_CODE = (AttributeError, ImportError, NameError, TypeError)
"""Errors whose message names things of the program, never of a request."""


class ErrorReport(msgspec.Struct, frozen=True):
    """What is printed of an error, and the exit code that goes with it."""

    code: str
    reason: str
    hint: str
    exit_code: int = 1


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Print the error, as JSON on stdout where `--json` was asked for, else as text on stderr; the exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it ends
        return 1
    described = describe(error) or _keep_internal_error(error, find_state_dir(arguments))
    with suppress(OSError):  # there is nowhere to print it
        code, reason, hint = (_make_printable(each) for each in (described.code, described.reason, described.hint))
        if "--json" in arguments:
            echo(msgspec.json.encode({"error": {"code": code, "reason": reason, "hint": hint}}))
        else:
            echo(f"error: {reason}\nhint: {hint}", err=True)
    return described.exit_code


def _make_printable(text: str) -> str:
    """The text with what a name of a file holds that is no UTF-8 replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def describe(error: BaseException) -> ErrorReport | None:
    """What to say of an error that was foreseen; None for any other."""
    match error:
        case BaseExceptionGroup():
            return next(filter(None, map(describe, error.exceptions)), None)
        case TidegateError():
            return ErrorReport(error.code, error.reason, error.hint)
        case click.ClickException():
            reason = error.message if hasattr(error, "possibilities") else error.format_message()
            return ErrorReport("usage", reason, _usage_hint(error), error.exit_code)
        case ModuleNotFoundError() if not (error.name or "").startswith("tidegate"):
            hint = "install what this command needs: pip install 'tidegate[edge,gateway]'"
            return ErrorReport("not_installed", f"the package {error.name} is not installed", hint)
        case UnicodeDecodeError():
            return ErrorReport("not_utf8", f"the text is not UTF-8: {error.reason}", "save it as UTF-8")
        case TimeoutError():
            reason = str(error) or "no answer in time"
            return ErrorReport("timeout", reason, "`tidegate status` says what is up and how busy it is")
        case OSError():
            return _os_report(error)
        case Exception():
            return _sqlite_report(error)
    return None


def _sqlite_report(error: Exception) -> ErrorReport | None:
    """Where the system, and no fault of ours, keeps a database from being used; None for any other error."""
    if type(error).__module__ != "sqlite3":
        return None
    import sqlite3

    from tidegate.brokers.process.sqlite_errors import SYSTEM_HINT, is_of_system

    is_refused = isinstance(error, sqlite3.Error) and is_of_system(error)
    return ErrorReport("disk_unusable", f"a database cannot be used: {error}", SYSTEM_HINT) if is_refused else None


def _os_report(error: OSError) -> ErrorReport:
    reason = error.strerror or str(error) or type(error).__name__
    if error.filename is not None:
        reason = f"{os.fsdecode(error.filename)}: {reason}"
    code = errno.errorcode.get(error.errno or 0, "os_error").lower()
    return ErrorReport(code, reason, HINTS.get(error.errno or 0, "the operating system refused it; see the reason"))


def _usage_hint(error: click.ClickException) -> str:
    if hint := getattr(error, "hint", ""):
        return str(hint)
    if close := getattr(error, "possibilities", None):
        return f"did you mean {close[0]}?"
    ctx = getattr(error, "ctx", None)
    return f"see `{ctx.command_path if ctx else 'tidegate'} --help`"


def find_state_dir(arguments: Sequence[str]) -> Path:
    """The state directory that a command line names, whether or not the rest of it can be read."""
    for position, argument in enumerate(arguments):
        if argument == "--state" and position + 1 < len(arguments):
            return Path(arguments[position + 1])
        if argument.startswith("--state="):
            return Path(argument.removeprefix("--state="))
    return Path(os.environ.get("TIDEGATE_STATE_DIR") or ".tidegate")


def _keep_internal_error(error: BaseException, state_dir: Path) -> ErrorReport:
    """Write where it happened into a file; messages of errors may quote a request and are left out."""
    number = secrets.token_hex(4)
    reason = f"internal error {number} ({type(error).__name__})"
    text = "\n".join(_trace_lines(error))
    for directory in (state_dir / "errors", Path(tempfile.gettempdir())):
        file = directory / f"tidegate-error-{number}.log"
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as log:
                log.write(text + "\n")
        except OSError:
            continue
        hint = f"this is a fault of Tidegate; please report it with {file}"
        return ErrorReport("internal", reason, hint)
    return ErrorReport("internal", reason, "no log of it could be written")


def _trace_lines(error: BaseException) -> list[str]:
    lines = []
    if cause := error.__cause__ or error.__context__:
        lines += [*_trace_lines(cause), "", "then:"]
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            lines += [*_trace_lines(each), "", "in a group:"]
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    name = type(error).__name__
    return [
        *lines,
        "Traceback (most recent call last):",
        frames,
        f"{name}: {error}" if isinstance(error, OF_CODE) else name,
    ]
