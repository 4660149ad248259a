"""A keyword leg of which a file is not what tantivy wrote: no panic leaves it, and whoever opens the index mends it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.branch_index import LETTERS, branch_index, found
from tests.support.corpus import BRANCH
from tests.support.index_files import assert_the_leg_holds_what_the_database_says, keyword_folder, overwrite
from tidegate.services.knowledge.index.database import FORMAT, IndexDatabase
from tidegate.services.knowledge.index.errors import IndexDamagedError
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import KeywordLeg
from tidegate.services.knowledge.index.keyword_errors import KeywordLegDamagedError
from tidegate.services.knowledge.index.segment_files import find_damaged_files
from tidegate.services.knowledge.index.storage import Storage

SUFFIXES = ("fast", "term", "idx", "pos", "fieldnorm", "store")


def damage(folder: Path, suffix: str, byte: int) -> None:
    """All but the footer of a segment's file."""
    [file] = folder.glob(f"*.{suffix}")
    data = file.read_bytes()
    overwrite(file, bytes([byte]) * (len(data) - 100) + data[-100:])


@pytest.mark.parametrize("byte", [0, 0x55, 0xFF])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_whatever_tantivy_says_of_it_is_an_error_of_ours_and_opening_mends_it(
    tmp_path: Path, suffix: str, byte: int
) -> None:
    path = tmp_path / "index"
    branch_index(path).close()
    folder = keyword_folder(path)
    assert find_damaged_files(folder) == []
    damage(folder, suffix, byte)
    assert [name.split(".")[-1] for name in find_damaged_files(folder)] == [suffix]
    with suppress(ValueError):
        view = KeywordLeg(folder).refresh()
        for ask in (view.entries, lambda: view.search("fees", "en", 3, lambda numbers: {n: ("", n) for n in numbers})):
            with suppress(KeywordLegDamagedError):
                ask()
    index = HybridIndex.open(path, LETTERS)
    assert index.document_ids() == {each.id for each in BRANCH}
    assert_the_leg_holds_what_the_database_says(path)


def test_a_question_to_a_leg_that_was_damaged_in_use_gets_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "index")
    damage(keyword_folder(tmp_path / "index"), "term", 0)
    index.close()
    leg = KeywordLeg(keyword_folder(tmp_path / "index")).refresh()
    with pytest.raises(KeywordLegDamagedError) as damaged:
        leg.search("banker's draft", "en", 3, lambda numbers: {n: ("", n) for n in numbers})
    assert damaged.value.hint


def positions_that_panic(folder: Path) -> list[int]:
    """The bytes of a leg that, flipped, are noticed when its rows are read, and not when it is opened."""
    [file] = folder.glob("*.fast")
    whole, found = file.read_bytes(), []
    for position in range(len(whole) - 100):
        overwrite(file, whole[:position] + bytes([whole[position] ^ 2]) + whole[position + 1 :])
        with suppress(ValueError):
            view = KeywordLeg(folder).refresh()
            try:
                view.entries()
            except KeywordLegDamagedError:
                found.append(position)
    overwrite(file, whole)
    return found


@pytest.mark.parametrize("exact_below", [2, 1_000])
def test_a_leg_that_cannot_be_read_through_is_written_anew(tmp_path: Path, exact_below: int) -> None:
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS, exact_below=exact_below, fold_at=1_000)
    index.upsert(BRANCH)
    index.close()
    folder = keyword_folder(path)
    positions = positions_that_panic(folder)
    assert positions, "none of the bytes makes tantivy panic any more"
    [file] = folder.glob("*.fast")
    whole = file.read_bytes()
    overwrite(file, whole[: positions[0]] + bytes([whole[positions[0]] ^ 2]) + whole[positions[0] + 1 :])
    again = HybridIndex.open(path, LETTERS, exact_below=exact_below, fold_at=1_000)
    again.repair()
    again.delete(["coins"])
    assert "coins" not in found(again, "foreign coins")
    assert_the_leg_holds_what_the_database_says(path)


def test_an_index_of_the_last_format_is_brought_to_this_one_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "index"
    version = branch_index(path).version
    shutil.copytree(path, tmp_path / "old")
    for user_version, tables in ((FORMAT - 1, "DROP TABLE sources;"), (FORMAT + 1, "")):
        with sqlite3.connect(tmp_path / "old" / "index.sqlite") as connection:
            connection.executescript(f"{tables} PRAGMA user_version = {user_version}")
        connection.close()
        if user_version > FORMAT:
            with pytest.raises(IndexDamagedError, match=f"format {user_version}"):
                HybridIndex.open(tmp_path / "old", LETTERS)
            return
        assert IndexDatabase(Storage(tmp_path / "old")).is_made()
        index = HybridIndex.open(tmp_path / "old", LETTERS)
        assert index.version == version
        assert index.sources("documents") == {}
        index.close()
