"""What was deleted or replaced leaves no trace: not in the keyword leg, not in the scores of what is left."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from tests.support.branch_index import LETTERS, branch_index, found
from tests.support.corpus import BRANCH, FEES, document
from tests.support.index_files import assert_the_leg_holds_what_the_database_says, keyword_folder, wanted_rows
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.database import IndexDatabase
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import KeywordLeg, KeywordRow
from tidegate.services.knowledge.index.storage import Storage

ZORBLAX = document(
    "zorblax",
    "The Zorblax account costs £11 a month. The Zorblax desk is run by Ms Quill. A Zorblax voucher lasts nine days.",
    title="Zorblax account",
)
QUESTIONS = (
    ("What does the Zorblax account cost?", "en"),
    ("coin fee hour of the branch", "en"),
    ("harbour ferry lantern", "en"),
    ("Gebühr der Filiale", "de"),
    ("moneta banca", "it"),
)
Ranked = list[tuple[str, int, float, float, float]]


def ranking(index: HybridIndex, text: str, language: str) -> Ranked:
    passages = index.search(text, LETTERS.embed(text), 12, language)
    return [(p.document_id, p.start, p.bm25, p.similarity, p.score) for p in passages]


def assert_equals_a_fresh_index(index: HybridIndex, documents: Iterable[Document], folder: Path) -> None:
    fresh = HybridIndex.open(folder, LETTERS)
    fresh.upsert(list(documents))
    for text, language in QUESTIONS:
        assert ranking(index, text, language) == ranking(fresh, text, language), text
    for term in ("zorblax", "coin", "account"):
        assert (index.rarity(term, "en"), index.stated_terms([term], "en")) == (
            fresh.rarity(term, "en"),
            fresh.stated_terms([term], "en"),
        )
    assert index.version == fresh.version
    shutil.rmtree(folder)


def drawn(rng: random.Random, name: str) -> Document:
    language = ("en", "en", "de", "it", "nl")[int(name[1:]) % 5]
    words = ["coin", "fee", "hour", "branch", "harbour", "ferry", "account", "Gebühr", "Filiale", "moneta", "Zorblax"]
    sections = (
        f"## {rng.choice(words)}\n\n" + " ".join(rng.choices(words, k=rng.randint(3, 30))) + "."
        for _ in range(rng.randint(1, 3))
    )
    return document(name, f"# {rng.choice(words)} {name}\n\n" + "\n\n".join(sections), language)


def test_after_a_thousand_random_changes_the_index_is_as_if_it_had_been_made_anew(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    rng = random.Random(seed)
    path = tmp_path / "index"
    index = HybridIndex.open(path, LETTERS)
    live: dict[str, Document] = {}
    changes = 0
    for step in range(32):
        names = rng.sample([f"d{n}" for n in range(60)], rng.randint(28, 40))
        changes += len(names)
        if step % 2:
            index.delete(names)
            live = {name: each for name, each in live.items() if name not in names}
        else:
            batch = [drawn(rng, name) for name in names]
            index.upsert(batch)
            live.update((each.id, each) for each in batch)
        assert_the_leg_holds_what_the_database_says(path)
        if step % 6 == 5:
            order = rng.sample(list(live), len(live))
            assert_equals_a_fresh_index(index, [live[name] for name in order], tmp_path / "fresh")
            index = HybridIndex.open(path, LETTERS)
    while changes < 1_000:
        name = f"d{rng.randrange(60)}"
        changes += index.delete([name]) or index.upsert([drawn(rng, name)])
    assert_the_leg_holds_what_the_database_says(path)


def test_a_document_that_came_and_went_leaves_the_ranking_as_it_was(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "index")
    assert "zorblax" not in found(index, QUESTIONS[0][0])
    index.upsert([ZORBLAX])
    assert found(index, QUESTIONS[0][0], 1) == ["zorblax"]
    index.delete(["zorblax"])
    assert not index.stated_terms(["zorblax"], "en")
    assert_equals_a_fresh_index(index, BRANCH, tmp_path / "fresh")


def test_the_words_of_an_older_version_are_gone_whatever_of_it_was_changed(tmp_path: Path) -> None:
    index = branch_index(tmp_path / "index")
    index.upsert([ZORBLAX])
    changed = document("zorblax", "# Account\n\nThis one costs nothing.")
    for other in (
        changed,
        msgspec.structs.replace(changed, title="Lantern account"),
        msgspec.structs.replace(changed, language="de"),
    ):
        assert index.upsert([other]) == 1
        assert index.upsert([other]) == 0
        assert_the_leg_holds_what_the_database_says(tmp_path / "index")
        assert_equals_a_fresh_index(index, [*BRANCH, other], tmp_path / "fresh")
    assert index.search("costs", LETTERS.embed("costs"), 1, "de")[0].title == "Account"


def test_many_passages_that_are_not_its_own_do_not_push_a_passage_out(tmp_path: Path) -> None:
    """Dutch and Italian share an analyzer; a question in one is not crowded out by documents in the other."""
    index = HybridIndex.open(tmp_path / "index", LETTERS)
    index.upsert([document("nl", "# Munten\n\nDe automaat telt munten, en nog veel meer dan dat.", "nl")])
    index.upsert([document(f"it{n}", "# Automaat\n\nAutomaat automaat.", "it") for n in range(40)])
    own = [p for p in index.search("automaat", LETTERS.embed("automaat"), 12, "nl") if p.document_id == "nl"]
    assert [passage.bm25 > 0.0 for passage in own] == [True]


@pytest.mark.parametrize("left", ["dead", "doubled", "swapped", "unreadable"])
def test_opening_an_index_repairs_a_leg_that_holds_anything_else(tmp_path: Path, left: str) -> None:
    path = tmp_path / "index"
    branch_index(path)
    leg = KeywordLeg(keyword_folder(path))
    rows = wanted_rows(path)
    dead = [
        KeywordRow(number=900 + n, mark=n, language="en", head="Zorblax", body="The Zorblax account costs £77.")
        for n in range(50)
    ]
    again = [KeywordRow(number=n, mark=mark, language="en", head="", body="coins " * 9) for n, mark in rows]
    if left == "unreadable":
        torn = tmp_path / "torn"  # put in its place: whoever has the file mapped would die of its being cut short
        torn.write_bytes(b"torn")
        torn.replace(next(keyword_folder(path).glob("*.term")))
    elif left == "swapped":
        leg.replace([msgspec.structs.replace(row, mark=row.mark + 1) for row in again])
    else:
        leg.change(added=dead if left == "dead" else again)
    index = HybridIndex.open(path, LETTERS)
    assert_the_leg_holds_what_the_database_says(path)
    assert_equals_a_fresh_index(index, BRANCH, tmp_path / "fresh")


def test_an_index_of_other_analyzers_is_made_anew_without_what_it_had_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "index"
    branch_index(path).close()
    with IndexDatabase(Storage(path)).writing() as connection:
        connection.execute("UPDATE head SET analyzers = '3'")
    shutil.move(keyword_folder(path), path / "keyword-3-0")
    index = HybridIndex.open(path, LETTERS)
    assert not (path / "keyword-3-0").exists()
    assert_equals_a_fresh_index(index, BRANCH, tmp_path / "fresh")


def test_a_reader_that_came_between_the_two_writes_of_a_deletion_sees_the_second(tmp_path: Path) -> None:
    path = tmp_path / "index"
    index = branch_index(path)
    index.upsert([ZORBLAX])
    leg = keyword_folder(path)
    before = tmp_path / "before"
    shutil.copytree(leg, before)
    index.delete(["zorblax"])
    after = tmp_path / "after"
    shutil.copytree(leg, after)
    index.close()
    shutil.rmtree(leg)
    shutil.copytree(before, leg)
    with Storage(path).lock():  # another process is in the middle of its deletion
        reader = HybridIndex.open(path, LETTERS)
        assert not reader.stated_terms(["zorblax"], "en")
        shutil.copytree(after, leg, dirs_exist_ok=True)
    reader.search("coins", LETTERS.embed("coins"), 3, "en")
    assert not reader.stated_terms(["zorblax"], "en")
    assert_equals_a_fresh_index(reader, BRANCH, tmp_path / "fresh")


def test_an_index_restored_from_a_copy_under_a_running_reader_serves_what_the_copy_holds(tmp_path: Path) -> None:
    path = tmp_path / "index"
    HybridIndex.open(path, LETTERS, exact_below=2).upsert([document("fees", FEES)])
    shutil.copytree(path, tmp_path / "copy")
    index = HybridIndex.open(path, LETTERS, exact_below=2)
    index.upsert([ZORBLAX])
    shutil.rmtree(path)
    shutil.copytree(tmp_path / "copy", path)
    other = HybridIndex.open(path, LETTERS, exact_below=2)
    other.upsert([BRANCH[3]])
    assert ranking(index, "coins", "en") == ranking(other, "coins", "en")
