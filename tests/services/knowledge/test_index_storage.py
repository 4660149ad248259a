"""What an index holds: what is added stays, what is deleted is gone, whatever happens in between."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.support.branch_index import LETTERS, branch_index, found
from tests.support.corpus import BRANCH, COINS, Letters, document
from tests.support.index_files import (
    assert_the_leg_holds_what_the_database_says,
    copy_database,
    keyword_folder,
    wanted_rows,
)
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.database import IndexDatabase
from tidegate.services.knowledge.index.errors import IndexDamagedError, IndexLockedError
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import DocumentRefusedError
from tidegate.services.knowledge.index.keyword import KeywordLeg, KeywordRow
from tidegate.services.knowledge.index.storage import Storage


@pytest.fixture
def index(tmp_path: Path) -> HybridIndex:
    return branch_index(tmp_path / "index")


def test_the_same_version_again_changes_nothing_and_a_new_one_replaces_every_passage(index: HybridIndex) -> None:
    before = index.version
    assert index.upsert(BRANCH) == 0
    assert index.version == before
    assert index.upsert([document("fees", "# Fees\n\nA draft now costs nothing.")]) == 1
    assert index.version != before
    texts = [p.text for p in index.search("fees draft card account", LETTERS.embed("fees"), 50, "en")]
    assert "A draft now costs nothing." in texts
    assert not any("Replacement card" in text or "passport" in text for text in texts)


def test_another_process_that_writes_is_seen_at_the_next_question(index: HybridIndex, tmp_path: Path) -> None:
    other = HybridIndex.open(tmp_path / "index", LETTERS)
    assert "coins" in found(other, "foreign coins")
    index.delete(["coins"])
    assert "coins" not in found(other, "foreign coins")
    index.upsert([document("coins", COINS + "\nIt is new.")])
    assert "coins" in found(other, "foreign coins")
    assert other.status() == index.status()


@pytest.mark.parametrize(
    "refused",
    [
        [document("blank", " \n")],
        [document("twice", "One."), document("twice", "Two.")],
        [document("../beside", "Outside.")],
        [document("Hours", "In capitals.")],
        [document("", "Nameless.")],
    ],
)
def test_a_document_that_cannot_be_indexed_is_refused_before_anything_is_written(
    tmp_path: Path, refused: list[Document]
) -> None:
    index = branch_index(tmp_path / "index")
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    with pytest.raises(DocumentRefusedError) as caught:
        index.upsert([document("good", "Good."), *refused])
    assert caught.value.hint
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_one_process_writes_at_a_time(index: HybridIndex, tmp_path: Path) -> None:
    with Storage(tmp_path / "index").lock(), pytest.raises(IndexLockedError, match="another process is writing"):
        index.upsert([document("more", "More.")])


def test_a_crash_before_the_transaction_ends_adds_nothing_and_the_next_write_removes_what_it_left(
    tmp_path: Path,
) -> None:
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS)
    index.upsert(BRANCH[:2])
    index.close()
    copy_database(path, tmp_path / "before")
    index = HybridIndex.open(path, LETTERS)
    index.upsert([document("coins", COINS)])
    index.close()
    copy_database(tmp_path / "before", path)  # as if the process had died when the keyword leg was written
    for written in ("other", "another"):
        again = HybridIndex.open(path, LETTERS)
        assert "coins" not in found(again, "foreign coins", 50)
        again.upsert([document(written, f"# {written}\n\nForeign matters.")])
    assert again.document_ids() == {"fees", "hours", "other", "another"}
    assert again.status().passages == len(again.search("e", LETTERS.embed("e"), 50, "en"))
    assert_the_leg_holds_what_the_database_says(path)


@pytest.mark.parametrize("exact_below", [2, 1_000])
def test_a_writer_that_was_open_removes_what_another_one_left_when_it_was_killed(
    tmp_path: Path, exact_below: int
) -> None:
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS, exact_below=exact_below)
    index.upsert(BRANCH)
    number = wanted_rows(path)[-1][0] + 1
    left = KeywordRow(number=number, mark=1, language="en", head="Zorblax", body="A Zorblax that never was.")
    KeywordLeg(keyword_folder(path)).change(added=[left])  # its transaction was not reached
    index.upsert([document("other", "# Other\n\nForeign matters.")])
    assert_the_leg_holds_what_the_database_says(path)


def test_a_crash_after_the_transaction_deletes_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS)
    index.upsert(BRANCH)
    index.close()
    leg = keyword_folder(path)
    shutil.copytree(leg, tmp_path / "before")
    index = HybridIndex.open(path, LETTERS)
    index.delete(["coins"])
    index.close()
    shutil.rmtree(leg)
    shutil.copytree(tmp_path / "before", leg)  # the keyword leg as it was before the delete
    for _ in range(2):
        again = HybridIndex.open(path, LETTERS)
        assert "coins" not in found(again, "foreign coins", 50)
        again.upsert([document("other", "# Other\n\nForeign matters.")])
    assert again.status().tombstones == 1
    assert_the_leg_holds_what_the_database_says(path)


def test_a_change_that_fails_half_way_changes_nothing(index: HybridIndex) -> None:
    before = index.status()

    def stop(each: Document) -> None:
        if each.id == "second":
            raise InterruptedError

    with pytest.raises(InterruptedError):
        index.upsert([document("first", "First."), document("second", "Second.")], on_document=stop, state={"at": b"9"})
    assert (index.status().version, index.state("at")) == (before.version, None)
    assert index.document_ids() == {each.id for each in BRANCH}


def test_a_callers_value_changes_with_the_documents_or_alone(index: HybridIndex, tmp_path: Path) -> None:
    assert index.state("position") is None
    index.upsert([document("more", "More.")], state={"position": b"17"})
    index.delete(["no-such"], state={"position": b"18", "other": b"x"})
    other = HybridIndex.open(tmp_path / "index", LETTERS)
    assert (other.state("position"), other.state("other")) == (b"18", b"x")
    assert other.version == index.version


def test_a_keyword_leg_that_lost_passages_is_repaired_when_the_index_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "index"
    HybridIndex.open(path, LETTERS).upsert(BRANCH)
    shutil.rmtree(keyword_folder(path))
    text = "banker's draft"
    best = HybridIndex.open(path, LETTERS).search(text, LETTERS.embed(text), 1, "en")[0]
    assert best.document_id == "fees"
    assert best.bm25 > 0.0


def test_another_embedding_model_rebuilds_the_index_from_the_documents_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "index"
    HybridIndex.open(path, LETTERS).upsert(BRANCH)
    rebuilt = HybridIndex.open(path, Letters("letters-2"))
    assert rebuilt.status().embedder == "letters-2"
    assert rebuilt.status().documents == len(BRANCH)
    assert found(rebuilt, "foreign coins", 1) == ["coins"]


@pytest.mark.parametrize("damage", [b"torn", b"", b"\0" * 4096])
def test_a_damaged_database_is_named_with_what_to_do(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS)
    index.upsert(BRANCH)
    index.close()
    database = path / "index.sqlite"
    database.write_bytes(database.read_bytes()[:20] + damage)
    with pytest.raises(IndexDamagedError, match=r"index.sqlite: .*index the documents again"):
        HybridIndex.open(path, LETTERS)


def test_a_damaged_document_is_named_with_what_to_do(index: HybridIndex, tmp_path: Path) -> None:
    with IndexDatabase(Storage(tmp_path / "index")).writing() as connection:
        connection.execute("UPDATE passages SET passage = x'c1'")
    with pytest.raises(IndexDamagedError, match=r"index the documents again"):
        found(index, "foreign coins")


class Life(RuleBasedStateMachine):
    """Random adds, replacements, deletions, re-openings and crashes; what is deleted is never returned."""

    @initialize()
    def begin(self) -> None:
        self.path = Path(mkdtemp())
        self.index = HybridIndex.open(self.path, LETTERS)
        self.live: dict[str, str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    @rule(name=st.sampled_from("abcde"), word=st.sampled_from(["coin", "fee", "hour"]), lines=st.integers(1, 3))
    def add(self, name: str, word: str, lines: int) -> None:
        text = f"# {name}\n\n" + "\n\n".join(
            f"## {word} {n}\n\nThe {word} of {name}, number {n}." for n in range(lines)
        )
        self.index.upsert([document(name, text)])
        self.live[name] = text

    @rule(name=st.sampled_from("abcde"))
    def delete(self, name: str) -> None:
        self.index.delete([name])
        self.live.pop(name, None)

    @rule()
    def reopen(self) -> None:
        self.index = HybridIndex.open(self.path, LETTERS)

    @rule(name=st.sampled_from("abcde"))
    def crash_while_adding(self, name: str) -> None:
        """The transaction was not reached; its rows are in the keyword leg."""
        self.index.close()
        copy_database(self.path, self.path / "aside")
        self.index = HybridIndex.open(self.path, LETTERS)
        self.index.upsert([document(name, f"# {name}\n\nA coin, a fee and an hour that never were.")])
        self.index.close()
        copy_database(self.path / "aside", self.path)
        self.reopen()

    @rule(name=st.sampled_from("abcde"))
    def crash_while_deleting(self, name: str) -> None:
        """The transaction is in force; the rows are still in the keyword leg."""
        leg = keyword_folder(self.path)
        shutil.copytree(leg, self.path / "leg")
        self.delete(name)
        self.index.close()
        shutil.rmtree(leg)
        shutil.move(self.path / "leg", leg)
        self.reopen()

    @invariant()
    def only_what_is_live_is_found_and_all_of_it(self) -> None:
        if not hasattr(self, "index"):
            return
        passages = self.index.search("coin fee hour", LETTERS.embed("coin fee hour"), 50, "en")
        assert {passage.document_id for passage in passages} == set(self.live)
        for passage in passages:
            assert self.live[passage.document_id][passage.start : passage.end] == passage.text


def test_a_deleted_document_never_comes_back_in_any_order_of_events() -> None:
    run_state_machine_as_test(
        Life, settings=settings(max_examples=8, stateful_step_count=12, derandomize=True, deadline=None)
    )
