"""An index that an older program kept in a manifest and files is taken over once, with all that it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.branch_index import LETTERS, branch_index
from tests.support.corpus import BRANCH, Letters
from tests.support.index_files import assert_the_leg_holds_what_the_database_says, keyword_folder, write_format_1
from tidegate.services.knowledge.index.database import IndexDatabase
from tidegate.services.knowledge.index.errors import IndexDamagedError
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_reader import IndexReader
from tidegate.services.knowledge.index.index_writer import IndexWriter
from tidegate.services.knowledge.index.keyword import ANALYZERS, TERMS
from tidegate.services.knowledge.index.storage import Storage, Tombstone
from tidegate.services.knowledge.text_embedder import TextRole, Vector

BUILT_BY = f"{ANALYZERS}-{LETTERS.version}"


class Unasked(Letters):
    """An embedder that must not be needed."""

    def embed(self, text: str, role: TextRole = "query") -> Vector:
        raise AssertionError(f"{role} is embedded again: {text}")


def assert_equals_the_branch(index: HybridIndex, folder: Path) -> None:
    fresh = branch_index(folder)
    assert index.version == fresh.version
    for text in ("banker's draft", "foreign coins", "Wann ist die Filiale offen?"):
        vector = LETTERS.embed(text)
        for language in ("en", "de"):
            assert index.search(text, vector, 9, language) == fresh.search(text, vector, 9, language)


def test_an_old_index_is_taken_over_with_its_vectors_origins_and_tombstones(tmp_path: Path) -> None:
    path = tmp_path / "i"
    write_format_1(path, BRANCH, {"gone": "0123456789ab"})
    (path / "keyword-7").mkdir()
    (path / "graph.bin").write_bytes(b"")
    index = HybridIndex.open(path, Unasked())
    assert index.origins() == {each.id: "pack" for each in BRANCH}
    assert index.tombstones() == {"gone": Tombstone(version="0123456789ab", by="added")}
    assert index.status().tombstones == 1
    assert_equals_the_branch(index, tmp_path / "fresh")
    assert_the_leg_holds_what_the_database_says(path)
    index.close()
    left = {file.name.split("-shm")[0].split("-wal")[0] for file in path.iterdir()}
    assert left == {"index.sqlite", f"keyword-{ANALYZERS}.{TERMS}-0", "lock", "compaction.lock"}


def test_where_terms_are_made_in_another_way_the_leg_is_made_anew_and_no_vector(tmp_path: Path) -> None:
    path = tmp_path / "i"
    branch_index(path).close()
    now = keyword_folder(path)
    now.rename(path / f"keyword-{ANALYZERS}-0")
    index = HybridIndex.open(path, Unasked())
    assert [folder.name for folder in path.glob("keyword-*")] == [now.name]
    assert_equals_the_branch(index, tmp_path / "fresh")
    assert_the_leg_holds_what_the_database_says(path)


@pytest.mark.parametrize("kind", ["old format", "other model"])
def test_what_another_process_brought_up_to_date_meanwhile_is_not_done_again(tmp_path: Path, kind: str) -> None:
    """It would bring back what was deleted since."""
    path = tmp_path / "i"
    if kind == "old format":
        write_format_1(path, BRANCH, {"gone": "0123456789ab"})
        manifest = (path / "manifest.json").read_bytes()
    storage = Storage(path)
    IndexDatabase(storage).create()
    late = IndexWriter(storage, IndexReader(storage, BUILT_BY, 1_000), Unasked())  # it has seen what is to be done
    index = branch_index(path)
    index.delete(["coins"])
    before = index.status()
    if kind == "old format":
        (path / "manifest.json").write_bytes(manifest)  # it has not been removed yet
    late.bring_up_to_date(BUILT_BY)
    assert index.status() == before
    assert index.document_ids() == {"fees", "hours", "stunden"}
    assert not (path / "manifest.json").exists()


def test_an_old_index_of_another_model_is_made_anew_from_its_texts(tmp_path: Path) -> None:
    write_format_1(tmp_path / "i", BRANCH, {}, analyzers="3")
    assert_equals_the_branch(HybridIndex.open(tmp_path / "i", LETTERS), tmp_path / "fresh")


def test_a_conversion_that_was_cut_off_is_done_again_and_one_that_was_done_is_not(tmp_path: Path) -> None:
    path = tmp_path / "i"
    write_format_1(path, BRANCH, {})
    file = next(path.glob("documents/coins@*.safetensors"))
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    with pytest.raises(IndexDamagedError, match="coins"):
        HybridIndex.open(path, LETTERS)
    file.write_bytes(whole)
    manifest = (path / "manifest.json").read_bytes()
    index = HybridIndex.open(path, LETTERS)
    index.delete(["coins"])
    index.close()
    (path / "manifest.json").write_bytes(manifest)  # as if the process had died before it was removed
    again = HybridIndex.open(path, LETTERS)
    assert again.document_ids() == {"fees", "hours", "stunden"}
    assert not (path / "manifest.json").exists()
