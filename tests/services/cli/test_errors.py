"""What a person or a script gets to see of an error: a reason, a hint, an exit code; never a traceback or a value."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from tidegate.brokers.process.sqlite_errors import SYSTEM_HINT
from tidegate.schemas import TidegateError
from tidegate.services.cli import errors
from tidegate.services.cli.groups import suggest

SECRET = "ann@private.example"


class LostError(TidegateError):
    """Something is lost."""

    hint = "look for it"


def printed(capsys: pytest.CaptureFixture[str], error: BaseException, *arguments: str) -> tuple[int, str, str]:
    code = errors.report(error, arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_an_error_of_ours_is_one_reason_and_one_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, LostError("it is gone")) == (1, "", "error: it is gone\nhint: look for it\n")


def test_with_json_it_is_one_line_of_json_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = printed(capsys, LostError("it is gone", "look left"), "ask", "--json", "x")
    assert (code, err) == (1, "")
    assert msgspec.json.decode(out) == {"error": {"code": "lost", "reason": "it is gone", "hint": "look left"}}


@pytest.mark.parametrize(
    ("error", "reason", "hint"),
    [
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "a/b"), "a/b: No such file or directory", "path"),
        (OSError(errno.EADDRINUSE, "cannot listen on 127.0.0.1:80: in use"), "cannot listen", "another port"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x"), "x: No space left", "disk is full"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused", "tidegate status"),
        (TimeoutError(), "no answer in time", "tidegate status"),
        (OSError("odd"), "odd", "see the reason"),
        (ModuleNotFoundError("No module named 'tantivy'", name="tantivy"), "tantivy is not installed", "tidegate[edge"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "not UTF-8", "UTF-8"),
    ],
)
def test_an_error_of_the_system_has_a_hint(error: Exception, reason: str, hint: str) -> None:
    described = errors.describe(error)
    assert described is not None
    assert reason in described.reason
    assert hint in described.hint
    assert described.exit_code == 1


def test_every_code_of_the_system_that_has_a_hint_has_a_name() -> None:
    assert all(code in errno.errorcode and hint for code, hint in errors.HINTS.items())


def test_of_a_group_the_error_that_was_foreseen_is_shown() -> None:
    group = BaseExceptionGroup("many", [ValueError("x"), ExceptionGroup("few", [LostError("it is gone")])])
    described = errors.describe(group)
    assert described is not None
    assert described.reason == "it is gone"


def test_a_wrong_call_is_exit_code_2_with_what_was_meant() -> None:
    described = errors.describe(click.NoSuchOption("--tenat", possibilities=["--tenant", "--state", "--text"]))
    assert described is not None
    assert described.exit_code == 2
    assert described.hint == "did you mean --tenant?"


def log_files(folder: Path) -> Iterator[Path]:
    return folder.rglob("tidegate-error-*.log")


def test_an_error_that_nobody_foresaw_is_kept_in_a_file_without_what_it_quotes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    try:
        try:
            raise KeyError(SECRET)
        except KeyError as cause:
            raise RuntimeError(SECRET) from cause
    except RuntimeError as error:
        code, out, err = printed(capsys, error, "ask", "--state", str(tmp_path), SECRET)
    [log] = log_files(tmp_path)
    assert (code, out) == (1, "")
    assert err.splitlines()[0].startswith("error: internal error ")
    assert str(log) in err.splitlines()[1]
    text = log.read_text()
    assert text.count("Traceback") == 2
    assert "test_errors.py" in text
    assert "KeyError" in text
    assert SECRET not in text + err
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_where_the_state_directory_cannot_be_written_the_file_lies_with_the_temporary_ones(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    printed(capsys, RuntimeError("x"), f"--state={tmp_path / 'file'}")
    assert len(list(log_files(tmp_path))) == 1


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (["ask", "--state", "a", "x"], "", "a"),
        (["ask", "--state=b"], "c", "b"),
        (["ask", "--state"], "", ".tidegate"),
        (["ask"], "c", "c"),
    ],
)
def test_the_state_directory_is_read_from_any_command_line(
    arguments: list[str], environ: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEGATE_STATE_DIR", environ)
    assert errors.find_state_dir(arguments) == Path(expected)


def test_a_suggestion_is_what_is_close_or_else_everything() -> None:
    assert suggest("stat", ["status", "trace"]) == "did you mean 'status'?"
    assert suggest("xyz", ["status", "trace"]) == "there are: status, trace"


def test_a_database_that_the_system_keeps_closed_is_no_fault_of_ours(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(sqlite3.OperationalError) as refused:
        sqlite3.connect(tmp_path / "folder")
    described = errors.describe(refused.value)
    assert described is not None
    assert (described.code, described.hint) == ("disk_unusable", SYSTEM_HINT)
    with pytest.raises(sqlite3.OperationalError) as wrong:
        sqlite3.connect(":memory:").execute("SELECT nothing FROM nowhere")
    assert errors.describe(wrong.value) is None, "that is a fault of ours"
