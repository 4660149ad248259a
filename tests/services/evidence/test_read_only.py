"""A log on a disk that nobody can write, as a backup is, is read and checked there, or it is said why not."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.audit_logs import answer
from tests.support.small_disk import mounted
from tidegate.services.evidence.log import AuditLog
from tidegate.services.evidence.log_file import LOG, AuditUnusableError
from tidegate.services.evidence.log_reader import AuditReader


def test_a_log_that_was_closed_is_read_from_a_read_only_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 4) as disk:
        directory = disk.path / "audit"
        with AuditLog.open(directory, "site1") as log:
            log.append([answer(number) for number in range(3)], 10)
        make_read_only(disk.path)
        with AuditReader.open(directory) as reader:
            assert reader.state().size == 3
        assert not list(directory.glob("*-wal"))


def test_entries_that_are_in_a_wal_alone_are_not_passed_over(tmp_path: Path) -> None:
    own = tmp_path / "own"
    with AuditLog.open(own, "site1") as log:
        log.append([answer(0)], 10)
        with mounted(tmp_path / "disk", 4) as disk:
            shutil.copytree(own, disk.path / "audit")  # as a copy of a log that is in use
            make_read_only(disk.path)
            with (
                pytest.raises(AuditUnusableError, match="has entries in") as refused,
                AuditReader.open(disk.path / "audit"),
            ):
                pass
            assert "copy the directory" in refused.value.hint


def test_a_log_that_may_not_be_opened_is_no_internal_error(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        log.append([answer(0)], 10)
    with closing(sqlite3.connect(tmp_path / LOG)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    (tmp_path / f"{LOG}-wal").mkdir()
    with pytest.raises(AuditUnusableError, match=r"log\.sqlite: "), AuditReader.open(tmp_path):
        pass


def make_read_only(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
