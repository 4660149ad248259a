"""What a full disk, a lock or a damaged file makes of an index is said in its own errors, with what to do."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from loadtests.index_copying import copy_index
from tests.support.branch_index import LETTERS, branch_index, found
from tests.support.corpus import BRANCH, document
from tests.support.index_files import assert_the_leg_holds_what_the_database_says, keyword_folder
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.database import IndexDatabase, read_head_of
from tidegate.services.knowledge.index.errors import IndexDamagedError, IndexLockedError, IndexUnusableError
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import KeywordLeg, KeywordRow
from tidegate.services.knowledge.index.storage import Storage


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The system refuses to write more, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def long_document(name: str) -> Document:
    lines = (f"## Part {number}\n\nLantern {number} hangs at the harbour of {name}." for number in range(400))
    return document(name, f"# {name}\n\n" + "\n\n".join(lines))


def test_a_disk_that_has_no_room_is_named_and_the_index_stays_as_it_was(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "i")
    before = index.status().version
    with no_file_longer_than(400_000), pytest.raises(IndexUnusableError, match="has room") as caught:
        index.upsert([long_document("long")], state={"position": b"1"})
    assert "index.sqlite" in str(caught.value)
    assert (index.status().version, index.state("position")) == (before, None)
    assert index.upsert([long_document("long")]) == 1
    assert_the_leg_holds_what_the_database_says(tmp_path / "i")


def test_a_keyword_leg_that_cannot_be_written_changes_nothing_and_can_be_written_later(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "i")
    leg = keyword_folder(tmp_path / "i")
    with KeywordLeg(leg)._index.writer(16_000_000, 1) as _busy, pytest.raises(IndexUnusableError, match="keyword-"):
        index.upsert([document("more", "# More\n\nA lantern.")], state={"position": b"1"})
    assert index.document_ids() == {each.id for each in BRANCH}
    assert index.state("position") is None
    assert index.upsert([document("more", "# More\n\nA lantern.")]) == 1
    assert found(index, "lantern", 1) == ["more"]


def test_an_error_that_somebody_keeps_does_not_keep_the_keyword_leg_locked(tmp_path: Path) -> None:
    leg = KeywordLeg(tmp_path / "leg")
    row = KeywordRow(number=1, mark=1, language="en", head="", body="lantern")

    def rows() -> Iterator[KeywordRow]:
        yield row
        raise InterruptedError

    with pytest.raises(InterruptedError) as kept:
        leg.replace(rows())
    leg.replace([row])
    assert (leg.refresh().count, kept.type) == (1, InterruptedError)


def test_a_database_that_another_program_keeps_locked_is_named(tmp_path: Path) -> None:
    branch_index(tmp_path / "i").close()
    storage = Storage(tmp_path / "i")
    with closing(sqlite3.connect(storage.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(IndexLockedError, match="keeps it locked"), IndexDatabase(storage, busy_s=0.01).writing():
            pass


@pytest.mark.parametrize("statement", ["DROP TABLE head", "DELETE FROM head", "UPDATE head SET digest = NULL"])
def test_a_database_that_is_not_what_was_made_is_damaged(tmp_path: Path, statement: str) -> None:
    branch_index(tmp_path / "i").close()
    with closing(sqlite3.connect(tmp_path / "i" / "index.sqlite", isolation_level=None)) as other:
        if "NULL" in statement:
            other.execute("ALTER TABLE head RENAME COLUMN digest TO other")
        else:
            other.execute(statement)
    with pytest.raises(IndexDamagedError, match="index the documents again"):
        HybridIndex.open(tmp_path / "i", LETTERS)
    with pytest.raises(IndexDamagedError):
        read_head_of(tmp_path / "i")


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(IndexUnusableError, match="file"):
        HybridIndex.open(tmp_path / "file" / "i", LETTERS)
    (tmp_path / "i" / "index.sqlite").mkdir(parents=True)
    with pytest.raises(IndexUnusableError, match="may read and write"):
        HybridIndex.open(tmp_path / "i", LETTERS)
    with pytest.raises(IndexDamagedError, match="is gone"):
        copy_index(tmp_path / "none", tmp_path / "copy")
    assert not (tmp_path / "none" / "index.sqlite").exists()


def test_an_index_whose_making_was_cut_off_is_empty_for_who_asks_and_made_by_who_opens(tmp_path: Path) -> None:
    (tmp_path / "i").mkdir()
    sqlite3.connect(tmp_path / "i" / "index.sqlite").execute("PRAGMA journal_mode = WAL").close()
    assert read_head_of(tmp_path / "i").generation == 0
    assert branch_index(tmp_path / "i").status().documents == len(BRANCH)


@pytest.mark.parametrize("exact_below", [2, 1_000])
def test_a_keyword_leg_that_is_lost_or_torn_under_a_reader_is_made_again(tmp_path: Path, exact_below: int) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS, exact_below=exact_below)
    index.upsert(BRANCH)
    leg, text = keyword_folder(tmp_path / "i"), "banker's draft"
    before = index.search(text, LETTERS.embed(text), 5, "en")
    shutil.rmtree(leg)
    assert index.search(text, LETTERS.embed(text), 5, "en") == before
    torn = tmp_path / "torn"
    torn.write_bytes(b"torn")
    torn.replace(leg / "meta.json")
    assert index.search(text, LETTERS.embed(text), 5, "en") == before
    assert_the_leg_holds_what_the_database_says(tmp_path / "i")


def test_a_reader_does_not_bring_back_a_leg_that_is_no_longer_in_force(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "i")
    head, leg = read_head_of(tmp_path / "i"), keyword_folder(tmp_path / "i")
    shutil.move(leg, Storage(tmp_path / "i").keyword(1))  # as if another process had compacted since `head` was read
    with IndexDatabase(Storage(tmp_path / "i")).writing() as connection:
        connection.execute("UPDATE head SET keyword = 1")
    assert index._reader.leg(head).path.name.endswith("-1")
    assert not leg.exists()


def test_a_thread_that_writes_may_lock_again_and_no_other_may(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    refused: list[str] = []

    def try_it() -> None:
        try:
            with storage.lock(patience_s=0.0):
                pass
        except IndexLockedError as error:
            refused.append(str(error))

    with storage.lock():
        with storage.lock():
            pass
        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
    assert len(refused) == 1
    try_it()
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("table", "column", "what"),
    [("passages", "passage", "passage"), ("passages", "units", "passage"), ("vectors", "halves", "vectors of passage")],
)
@pytest.mark.parametrize("exact_below", [2, 1_000])
def test_a_flipped_bit_in_the_file_is_found_by_who_reads_it_and_no_other_answer_is_given(
    tmp_path: Path, table: str, column: str, what: str, exact_below: int
) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS, exact_below=exact_below)
    index.upsert(BRANCH)
    index.close()
    flip_a_bit(tmp_path / "i" / "index.sqlite", table, column)
    with pytest.raises(IndexDamagedError, match=rf"{what} \d+ is not what was written.*index the documents again"):
        found(HybridIndex.open(tmp_path / "i", LETTERS, exact_below=exact_below), "coins fees lobby")


def test_a_flipped_bit_in_a_document_is_found_where_it_is_read(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "i")
    index.close()
    flip_a_bit(tmp_path / "i" / "index.sqlite", "documents", "document")
    index = HybridIndex.open(tmp_path / "i", LETTERS)
    with pytest.raises(IndexDamagedError, match=r"document \d+ is not what was written"):
        print([index.units(each.id, each.version) for each in BRANCH])


@pytest.mark.parametrize("table", ["passages", "vectors"])
def test_rows_that_are_missing_are_found_by_who_reads_them(tmp_path: Path, table: str) -> None:
    index = branch_index(tmp_path / "i")
    with closing(sqlite3.connect(tmp_path / "i" / "index.sqlite", isolation_level=None)) as other:
        other.execute(f"DELETE FROM {table} WHERE number = (SELECT max(number) FROM {table})")
    with pytest.raises(IndexDamagedError):
        print([index.units(each.id, each.version) for each in BRANCH])


def flip_a_bit(file: Path, table: str, column: str) -> None:
    """In the middle of a value, as a disk does it: SQLite does not see it."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (value,) = connection.execute(f"SELECT {column} FROM {table} ORDER BY length({column}) LIMIT 1").fetchone()
    whole = bytearray(file.read_bytes())
    assert whole.count(value) == 1, "it stands on one page"
    whole[whole.index(value) + len(value) // 2] ^= 1
    file.write_bytes(whole)
