"""What was appended is there after a kill, once for each source, in a tree whose proofs hold; one process writes."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.audit_logs import SITE1, act, answer, attack, fill, rebuild
from tests.support.paths import ROOT
from tidegate.schemas.audit import AuditedAnswer
from tidegate.services.evidence.log import KEPT_EVERY, AuditLog
from tidegate.services.evidence.log_file import (
    LOG,
    AuditBusyError,
    AuditDamagedError,
    AuditFullError,
    AuditMissingError,
)
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.merkle import check_consistency, check_inclusion, edge_of, leaf_hash

MANY = 1_100
"""More than four tiles of 256, and no power of two."""


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("audit")
    with AuditLog.open(directory, "site1") as log:
        for begin in range(0, MANY, 100):
            log.append([answer(number) for number in range(begin, begin + 100)], begin)
    return directory


def test_entries_are_numbered_and_dated_and_say_what_was_drafted(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        assert log.append([answer(0), act(1)], 70) == 2
        assert log.append([answer(2, "bank")], 60) == 1, "the clock went back"
        first, second, third = (stored.entry for stored in log.reader.entries())
    assert [first.counter, second.counter, third.counter] == [0, 1, 2]
    assert [first.logged_at_ms, second.logged_at_ms, third.logged_at_ms] == [70, 70, 70]
    assert (first.kind, first.domain, first.tenant, first.at_ms) == ("answered", "site1", "kiosk", 1_000)
    assert isinstance(first.body, AuditedAnswer)
    assert (second.kind, second.tenant, third.tenant) == ("key_rotated", "", "bank")
    assert len({first.salt, second.salt, third.salt}) == 3


def test_a_source_is_logged_once_whatever_comes_again(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        assert log.append([answer(0), answer(1), answer(0)], 1) == 2
        assert log.append([answer(1), answer(2)], 2) == 1
    with AuditLog.open(tmp_path, "site1") as log:
        assert log.append([answer(number) for number in range(3)], 3) == 0
        assert [stored.entry.source for stored in log.reader.entries()] == [
            answer(number).source for number in range(3)
        ]


def test_it_goes_on_where_it_was_with_the_same_tree(tmp_path: Path) -> None:
    for begin in (0, 3, 6):
        with AuditLog.open(tmp_path, "site1") as log:
            assert log.size == begin
            fill(log, 3, begin)
    with AuditReader.open(tmp_path) as reader:
        leaves = [leaf_hash(stored.leaf) for stored in reader.entries()]
        assert reader.head().root == edge_of(leaves).root
        assert reader.head().origin == "tidegate.audit/site1"


@pytest.mark.parametrize("index", [0, 1, 255, 256, 511, 1_023, 1_024, MANY - 1])
def test_a_proof_of_an_entry_is_found_by_tiles_and_holds(long_log: Path, index: int) -> None:
    with AuditReader.open(long_log) as reader:
        head = reader.head()
        (stored,) = reader.entries(index, index + 1)
        check_inclusion(leaf_hash(stored.leaf), index, head.size, reader.inclusion_proof(index, head.size), head.root)


@pytest.mark.parametrize("old", [0, 1, 3, 255, 256, 257, 700, 768, 1_024, 1_099, MANY])
def test_a_proof_that_a_log_went_on_is_found_by_tiles_and_holds(long_log: Path, old: int) -> None:
    with AuditReader.open(long_log) as reader:
        head, before = reader.head(), edge_of(stored.hash for stored in reader.entries(0, old))
        assert reader.root_at(old) == before.root
        check_consistency(old, before.root, head.size, head.root, reader.consistency_proof(old, head.size))


def test_a_log_of_many_tiles_has_tiles_of_tiles(tmp_path: Path) -> None:
    size = 65_536 + 300
    with AuditLog.open(tmp_path, "site1") as log:
        for begin in range(0, size, 4_096):
            log.append([act(number) for number in range(begin, min(size, begin + 4_096))], 1)
        whole = edge_of(stored.hash for stored in log.reader.entries())
        assert log.reader.tree_at(size) == whole
        assert log.reader.tree_at(65_536).hashes == whole.hashes[:1]


def test_of_signed_heads_the_newest_is_kept_and_one_among_so_many_entries(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        for begin in range(0, 3 * KEPT_EVERY, 64):
            log.append([act(number) for number in range(begin, begin + 64)], 1)
            log.keep_checkpoint(SITE1.sign_head(log))
        sizes = [size for size, _ in log.reader.checkpoints()]
    assert sizes == [256, 512, 768]


def test_one_process_writes_and_others_read_meanwhile(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 2)
        with pytest.raises(AuditBusyError), AuditLog.open(tmp_path, "site1"):
            pass
        with AuditReader.open(tmp_path) as reader:
            fill(log, 2, 2)
            assert reader.state().size == 2, "a reader sees one state"
        with AuditReader.open(tmp_path) as reader:
            assert reader.state().size == 4


def test_the_files_are_for_their_user_alone(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "audit", "site1") as log:
        fill(log, 1)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "audit").iterdir()}
    assert stat.S_IMODE((tmp_path / "audit").stat().st_mode) == 0o700
    assert set(modes.values()) == {0o600}, modes


def test_a_log_that_was_never_begun_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AuditMissingError), AuditReader.open(tmp_path):
        pass


@pytest.mark.parametrize(
    "statements",
    [
        ("DELETE FROM entries WHERE counter = 9",),
        ("DELETE FROM entries WHERE counter = 4",),
        ("UPDATE entries SET hash = randomblob(32) WHERE counter = 9",),
        ("UPDATE own SET state = x'00'",),
        ("DELETE FROM own", "DELETE FROM entries"),
    ],
)
def test_a_writer_does_not_go_on_with_a_log_that_is_not_its_own(tmp_path: Path, statements: tuple[str, ...]) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 10, signed_every=5)
    attack(tmp_path, *statements)
    with pytest.raises(AuditDamagedError), AuditLog.open(tmp_path, "site1"):
        pass


def test_a_writer_looks_at_what_is_not_signed_yet_and_at_what_was_made_to_agree(tmp_path: Path) -> None:
    for name, signed_every in (("unsigned", 7), ("agreeing", 5)):
        with AuditLog.open(tmp_path / name, "site1") as log:
            fill(log, 10, signed_every=signed_every)
    attack(tmp_path / "unsigned", "UPDATE entries SET hash = randomblob(32) WHERE counter = 9")
    attack(tmp_path / "agreeing", "UPDATE entries SET leaf = replace(leaf, 'answered', 'abstained') WHERE counter = 9")
    rebuild(tmp_path / "agreeing")
    for name, reason in (("unsigned", "written here"), ("agreeing", "signed at 10")):
        with pytest.raises(AuditDamagedError, match=reason), AuditLog.open(tmp_path / name, "site1"):
            pass


def test_a_writer_does_not_go_on_with_another_domain_s_log_nor_with_none_of_sqlite_s(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 1)
    with pytest.raises(AuditDamagedError, match="site1, not of site2"), AuditLog.open(tmp_path, "site2"):
        pass
    (tmp_path / LOG).write_bytes(b"no database" * 1_000)
    with pytest.raises(AuditDamagedError), AuditLog.open(tmp_path, "site1"):
        pass


def test_a_full_disk_is_named_and_logs_nothing_of_the_batch(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path, "site1") as log:
        fill(log, 3)
        pages = log.reader._connection.execute("PRAGMA page_count").fetchone()[0]
        log.reader._connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(AuditFullError):
            log.append([answer(number) for number in range(3, 300)], 1)
        assert log.size == len(list(log.reader.entries())) == 3
        log.reader._connection.execute("PRAGMA max_page_count=1000000")
        assert log.append([answer(number) for number in range(3, 300)], 1) == 297


def test_a_writer_that_is_killed_leaves_whole_batches(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from tests.support.audit_logs import act
        from tidegate.services.evidence.log import AuditLog
        with AuditLog.open(Path(sys.argv[1]), "site1") as log:
            begin = log.size
            while True:
                log.append([act(number) for number in range(begin, begin + 7)], 1)
                begin += 7
                print(begin, flush=True)
        """
    )
    shown = 0
    for lines in (3, 11, 5):
        writer = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        assert writer.stdout is not None
        for _ in range(lines):
            shown = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        with AuditLog.open(tmp_path, "site1") as log:
            assert log.size % 7 == 0
            assert log.size >= shown, "what append had returned from is lost"
            assert edge_of(leaf_hash(stored.leaf) for stored in log.reader.entries()).root == log.reader.head().root


def test_a_log_that_is_just_being_made_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / LOG).touch()
    with pytest.raises(AuditMissingError), AuditReader.open(tmp_path):
        raise AssertionError("an empty file was read")
    with sqlite3.connect(tmp_path / LOG) as connection:
        connection.execute("CREATE TABLE own (id INTEGER PRIMARY KEY, state BLOB)")
        connection.execute("CREATE TABLE entries (counter INTEGER PRIMARY KEY, hash BLOB, leaf BLOB)")
    connection.close()
    with pytest.raises(AuditMissingError), AuditReader.open(tmp_path):
        raise AssertionError("a log of nobody was read")
    (tmp_path / LOG).unlink()
    with AuditLog.open(tmp_path, "site1") as log, AuditReader.open(tmp_path) as reader:
        assert reader.state().domain == "site1"
        log.append([answer(1)], 1)
