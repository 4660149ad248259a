"""The archive of answers is held against the log: what was changed, or added, is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.message_samples import SAMPLES
from tidegate.brokers.base import StoredMessage
from tidegate.schemas import Published, encode, replace
from tidegate.services.evidence.archive_check import ArchiveReport, check_archive
from tidegate.services.evidence.entries import draft_of
from tidegate.services.evidence.log import AuditLog
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.fleet.answer_archive import AnswerArchive
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

ANSWER = next(sample for sample in SAMPLES if isinstance(sample, Published))


def stored(number: int, text: str = "") -> StoredMessage:
    published = replace(ANSWER, rid=f"r{number}", tenant="kiosk", text=text or f"Answer {number}.")
    subject, headers = f"answers.kiosk.r{number}", {"Nats-Msg-Id": f"r{number}"}
    return StoredMessage("ANSWERS", number, 1.0 * number, subject, headers, encode(published))


def checked(state: Path, logged: Sequence[StoredMessage], archived: Sequence[StoredMessage]) -> ArchiveReport:
    paths = StatePaths(Settings(state_dir=str(state)))
    with AuditLog.open(paths.audit, "site1") as log:
        log.append(list(map(draft_of, logged)), 10)
    with AnswerArchive.open(paths.answer_archive) as archive, AuditReader.open(paths.audit) as reader:
        archive.add(archived)
        return check_archive(archive, reader)


def test_answers_are_as_they_were_logged_also_while_some_are_still_in_their_stream(tmp_path: Path) -> None:
    answers = [stored(number) for number in range(1, 5)]
    report = checked(tmp_path, answers, answers[:2])
    assert (report.answers, report.as_logged, report.unlogged, report.faults) == (2, 2, 0, ())
    assert report.is_good


def test_an_answer_with_another_text_or_that_was_never_logged_is_a_fault(tmp_path: Path) -> None:
    answers = [stored(1), stored(2)]
    report = checked(tmp_path, answers, [stored(1, "Another text."), stored(2), stored(3)])
    assert (report.answers, report.as_logged, report.unlogged) == (3, 1, 1)
    assert report.faults == ("the archived answer of kiosk/r1 is not what was logged",)
    assert not report.is_good


def test_who_changes_the_digest_too_is_found_by_the_log_and_the_exit_code_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = CommandLine(str(tmp_path))
    command.capsys = capsys
    assert "0 answers are archived at site1" in command.run("audit", "archive")
    assert checked(tmp_path, [stored(1)], [stored(1)]).is_good
    assert "1 answers are archived at site1, 1 of them as they were logged" in command.run("audit", "archive")
    forged = stored(1, "Another text.").data
    with closing(sqlite3.connect(StatePaths(Settings(state_dir=str(tmp_path))).answer_archive)) as there, there:
        there.execute("UPDATE answers SET data = ?, digest = ?", (forged, sha256(forged).digest()))
    assert "fault: the archived answer of kiosk/r1 is not what was logged" in command.run(
        "audit", "archive", expected=1
    )
