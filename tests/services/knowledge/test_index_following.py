"""A reader that follows what other processes write sees, after any history, what a reader sees that was opened now."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from loadtests.index_copying import copy_index
from tests.support.branch_index import LETTERS, branch_index, found
from tests.support.corpus import BRANCH, document
from tests.support.index_files import assert_the_leg_holds_what_the_database_says, copy_database, keyword_folder
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import IndexChange

NAMES = st.sampled_from("abcdefgh")
QUESTIONS = ("coin fee hour", "the fee of b", "number 2")


class Following(RuleBasedStateMachine):
    """One process writes, is killed, opens again; another one has been reading since the beginning."""

    exact_below = 1_000
    fold_at = 1_000

    @initialize()
    def begin(self) -> None:
        self.path = Path(mkdtemp())
        self.writer = self.opened()
        self.follower = self.opened()
        self.live: dict[str, str] = {}
        self.position = b"0"

    def opened(self) -> HybridIndex:
        return HybridIndex.open(self.path, LETTERS, exact_below=self.exact_below, fold_at=self.fold_at)

    def teardown(self) -> None:
        for index in (self.writer, self.follower):
            index.close()
        shutil.rmtree(self.path)

    @rule(names=st.lists(NAMES, unique=True, max_size=4), gone=st.lists(NAMES, unique=True, max_size=3), word=NAMES)
    def change(self, names: list[str], gone: list[str], word: str) -> None:
        texts = {name: f"# {name}\n\nThe fee of {name}.\n\n## Coin\n\nAn hour of {word}, number 2." for name in names}
        self.position = str(int(self.position) + 1).encode()
        documents = [document(name, text) for name, text in texts.items()]
        self.writer.apply(IndexChange(documents=documents, deleted=gone, state={"position": self.position}))
        self.live = {name: text for name, text in self.live.items() if name not in gone} | texts

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.writer = self.opened()

    @rule(name=st.sampled_from("xyz"))
    def killed_before_the_transaction_ended(self, name: str) -> None:
        self.writer.close()
        copy_database(self.path, self.path / "aside")
        self.writer = self.opened()
        self.writer.upsert([document(name, f"# {name}\n\nA fee that never was.")], state={"position": b"-1"})
        self.writer.close()
        self.follower.close()
        copy_database(self.path / "aside", self.path)
        self.writer, self.follower = self.opened(), self.opened()

    @rule(name=NAMES)
    def killed_before_rows_were_removed(self, name: str) -> None:
        leg = keyword_folder(self.path)
        shutil.copytree(leg, self.path / "aside-leg")
        self.change([], [name], "a")
        self.writer.close()
        if keyword_folder(self.path) == leg:
            shutil.rmtree(leg)
            shutil.copytree(self.path / "aside-leg", leg)
        shutil.rmtree(self.path / "aside-leg")
        self.writer = self.opened()

    @precondition(lambda self: self.fold_at < 100)
    @rule()
    def compact(self) -> None:
        self.writer.wait_for_compaction()

    @invariant()
    def the_follower_sees_what_a_new_reader_sees(self) -> None:
        fresh = self.opened()
        for text in QUESTIONS:
            vector = LETTERS.embed(text)
            wanted = fresh.search(text, vector, 30, "en")
            assert {each.document_id for each in wanted} == set(self.live)
            assert all(self.live[each.document_id][each.start : each.end] == each.text for each in wanted)
            for index in (self.follower, self.writer):
                assert index.search(text, vector, 30, "en") == wanted
        assert self.follower.version == self.writer.version == fresh.version
        assert self.follower.document_ids() == set(self.live)
        assert fresh.state("position") in (self.position, None)
        fresh.close()
        assert_the_leg_holds_what_the_database_says(self.path)


class FollowingLarge(Following):
    """The same with a graph, which is made anew after every few changes."""

    exact_below = 2
    fold_at = 6


@pytest.mark.parametrize("machine", [Following, FollowingLarge])
def test_a_follower_equals_a_reader_that_was_opened_now(machine: type[Following]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=8, stateful_step_count=10, derandomize=True, deadline=None)
    )


def test_the_version_does_not_depend_on_the_order_of_what_happened(tmp_path: Path) -> None:
    one, two = branch_index(tmp_path / "one"), HybridIndex.open(tmp_path / "two", LETTERS)
    two.upsert([document("more", "More."), BRANCH[3]])
    two.upsert([document("fees", "Older fees."), BRANCH[1]])
    assert one.version != two.version
    two.upsert([BRANCH[2], BRANCH[0]])
    two.delete(["more"])
    assert one.version == two.version
    one.delete(["fees"])
    assert one.version != two.version


@pytest.mark.parametrize("exact_below", [2, 1_000])
def test_a_question_sees_all_of_a_change_or_nothing(tmp_path: Path, exact_below: int) -> None:
    """Ten documents are always replaced together; whoever asks must find ten of one edition."""
    path = tmp_path / "i"

    def edition(number: int) -> IndexChange:
        texts = [document(f"d{n}", f"# Lantern\n\nLantern {n} of edition {number}.") for n in range(10)]
        return IndexChange(documents=texts)

    writer = HybridIndex.open(path, LETTERS, exact_below=exact_below, fold_at=30)
    writer.apply(edition(0))
    ended = threading.Event()
    halves: list[set[str]] = []
    asked = 0

    def ask(index: HybridIndex) -> None:
        nonlocal asked
        while not ended.is_set():
            found = index.search("lantern", LETTERS.embed("lantern"), 50, "en")
            editions = {(each.text.split()[-1], each.bm25 > 0.0) for each in found}
            if len(found) != 10 or len(editions) != 1 or not found[0].bm25:
                halves.append({f"{len(found)} {each}" for each in editions})
            asked += 1

    readers = [writer, HybridIndex.open(path, LETTERS, exact_below=exact_below, fold_at=30)]
    threads = [threading.Thread(target=ask, args=(index,)) for index in readers]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 8):
            writer.apply(edition(number))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert asked > 2
    assert not halves


def test_a_reading_that_goes_on_neither_stops_a_writer_nor_sees_it(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "i")
    other = HybridIndex.open(tmp_path / "i", LETTERS)
    with other._reader.reading() as now:
        index.delete(["coins"])
        assert now.connection.execute("SELECT count(*) FROM documents").fetchone() == (4,)
    assert other.document_ids() == {"fees", "hours", "stunden"}


def test_what_a_thread_looks_up_meanwhile_is_of_one_version_and_no_other_thread_s(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "i")
    other = HybridIndex.open(tmp_path / "i", LETTERS)
    seen: list[frozenset[str]] = []
    with other.as_of_now():
        index.delete(["coins"])
        with other.as_of_now():
            assert "coins" in other.document_ids()
        assert "coins" in other.document_ids(), "what is held within it ends with the outer one"
        beside = threading.Thread(target=lambda: seen.append(other.document_ids()))
        beside.start()
        beside.join()
    assert seen == [other.document_ids()] == [frozenset({"fees", "hours", "stunden"})]


def test_a_copy_of_an_index_in_use_holds_what_it_holds(tmp_path: Path) -> None:
    index = HybridIndex.open(tmp_path / "i", LETTERS, exact_below=2, fold_at=1)
    index.upsert(BRANCH)
    index.wait_for_compaction()
    index.delete(["coins"])
    index.wait_for_compaction()
    copy_index(tmp_path / "i", tmp_path / "copy")
    index.upsert([document("later", "Later.")])
    copied = HybridIndex.open(tmp_path / "copy", LETTERS, exact_below=2)
    assert copied.document_ids() == {"fees", "hours", "stunden"}
    assert list((tmp_path / "copy").glob("graph-*.bin"))
    assert "coins" not in found(copied, "coins", 50)
    assert found(copied, "banker's draft", 1) == ["fees"]
