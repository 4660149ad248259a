"""Changes that are made while the keyword leg is written anew are in the new one."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.branch_index import LETTERS, found
from tests.support.corpus import document
from tests.support.index_files import assert_the_leg_holds_what_the_database_says, keyword_folder
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import LOGGED_GENERATIONS, IndexChange
from tidegate.services.knowledge.index.keyword import KeywordLeg
from tidegate.services.knowledge.index.storage import Storage

COUNT = 1_200


def matter(number: int, edition: int = 0) -> Document:
    return document(f"d{number}", f"# Matter {number}\n\nEdition {edition} of matter {number}.")


def wait_until_written(leg: Path, rows: int) -> None:
    deadline = time.monotonic() + 60.0
    while not (leg / "meta.json").exists() or KeywordLeg(leg).refresh().count != rows:
        assert time.monotonic() < deadline, "the new leg is not written"
        time.sleep(0.01)  # only to look again


@pytest.mark.parametrize("is_log_gone", [False, True])
def test_what_changes_while_the_keyword_leg_is_written_is_in_the_new_one(tmp_path: Path, is_log_gone: bool) -> None:
    path = tmp_path / "i"
    index, reader = (HybridIndex.open(path, LETTERS, exact_below=3, fold_at=100_000) for _ in range(2))
    index.upsert([matter(number) for number in range(COUNT)])
    old = keyword_folder(path)
    with index._storage.lock():  # the compaction cannot put its leg in force
        index.delete([f"d{number}" for number in range(1_050)])
        wait_until_written(Storage(path).keyword(1), COUNT - 1_050)
        index.apply(IndexChange(documents=[matter(1_100, 1), document("lantern", "# Lantern\n\nIt hangs.")]))
        index.delete(["d1101", "lantern"])
        index.upsert([document("zorblax", "# Zorblax\n\nIt stays."), matter(0, 2)])
        if is_log_gone:
            with closing(sqlite3.connect(path / "index.sqlite", isolation_level=None)) as other:
                other.execute("UPDATE head SET generation = generation + ?", (LOGGED_GENERATIONS,))
                other.execute("DELETE FROM removals")
        assert keyword_folder(path) == old
        for each in (index, reader):
            assert found(each, "zorblax", 1) == ["zorblax"]
    index.wait_for_compaction()
    assert keyword_folder(path) != old
    assert_the_leg_holds_what_the_database_says(path)
    for each in (index, reader):
        assert found(each, "zorblax", 1) == ["zorblax"]
        assert not each.stated_terms(["lantern"], "en")
        assert not {"lantern", "d1101", "d3"} & set(found(each, "matter lantern edition", 400))
    HybridIndex.open(path, LETTERS, exact_below=3).close()
    assert not old.exists()
    assert found(reader, "zorblax", 1) == ["zorblax"]
