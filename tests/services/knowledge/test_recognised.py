"""What was recognised in a picture says so where it is cited, on its own page, however the index cut the document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.corpus import document
from tests.support.paths import MODELS
from tidegate.schemas import Answer
from tidegate.schemas.pack import Document
from tidegate.services.answering.written_sentences import cite
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.reader import RankedSpans, Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.policies.suggestions import suggest

TYPED = "# Lockers\n\nLockers are in the cellar of the branch, beside the stairs.\n\n"
SCANNED = "A lost locker key is replaced for £85 within ten working days.\n"
HEADER = "# Rent of a locker\n\n| Locker | Yearly rent |\n|---|---|\n"
ROWS = [f"| LCK-{number:04} | £{number}.50 |\n" for number in range(300)]


def made(text: str, **about: Any) -> Document:
    return msgspec.structs.replace(document("it", text, title="Lockers"), **about)


def read(folder: Path, known: Document, question: str) -> RankedSpans:
    units = UnitReader.load(MODELS)
    embedder = units.embedder
    index = HybridIndex.open(folder / "index", embedder)
    index.upsert([known])
    passages = index.search(index.rewrite_query(question, "en"), embedder.embed(question), 8, "en")
    return Reader(units, SHIPPED).rank_spans(question, "en", passages, index)


def cited(answer: Answer) -> dict[str, tuple[int, bool]]:
    """Page, and whether it was recognised, of each quote."""
    return {citation.quote: (citation.page, citation.is_recognised) for citation in answer.citations}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What does a lost locker key cost?", {SCANNED.strip(): (2, True)}),
        ("Where are the lockers?", {"Lockers are in the cellar of the branch, beside the stairs.": (1, False)}),
    ],
)
def test_each_citation_speaks_for_itself(tmp_path: Path, question: str, expected: dict[str, tuple[int, bool]]) -> None:
    whole = TYPED + SCANNED
    known = made(whole, page_starts=(0, len(TYPED)), recognised=((len(TYPED), len(whole)),))
    found = read(tmp_path, known, question)
    assert cited(found.answer) == expected
    written = cite(found.selected)
    assert {each.quote: (each.page, each.is_recognised) for each in written} == expected, "a model's own words too"


def test_a_row_and_the_header_that_stands_pages_before_it_are_cited_as_they_are(tmp_path: Path) -> None:
    starts = [0, *(len(HEADER) + sum(map(len, ROWS[:count])) for count in (100, 200))]
    known = made(HEADER + "".join(ROWS), page_starts=tuple(starts), recognised=((0, starts[1]),))
    found = cited(read(tmp_path, known, "What is the yearly rent of locker LCK-0250?").answer)
    assert found["| LCK-0250 | £250.50 |"] == (3, False)
    assert found["| Locker | Yearly rent |"] == (1, True)


def test_passages_and_suggestions_say_what_of_them_was_recognised(tmp_path: Path) -> None:
    starts = [0, *(len(HEADER) + sum(map(len, ROWS[:count])) for count in (100, 200))]
    known = made(HEADER + "".join(ROWS), page_starts=tuple(starts), recognised=((starts[1], starts[2]),))
    index = HybridIndex.open(tmp_path / "index", UnitReader.load(MODELS).embedder)
    index.upsert([known])
    passages = index.find("yearly rent of a locker", 100, "en")
    assert len(passages) > 9
    for passage in passages:
        start, end = max(passage.start, starts[1]), min(passage.end, starts[2])
        assert passage.recognised == (((start, end),) if start < end else ())
        assert passage.is_recognised(passage.start, passage.end) is (start < end)
    assert [each.is_recognised for each in suggest(passages)] == [bool(passage.recognised) for passage in passages]
    assert {each.is_recognised for each in suggest(passages)} == {True, False}
