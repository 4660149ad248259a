"""What repeats an open question is no answer to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.answer_type import is_open_question
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

PEOPLE = Document(
    id="people", title="People", language="en", scope="site", text="The manager is Ann Archer.", version="0" * 12
)


@pytest.mark.parametrize(
    ("question", "is_answered"),
    [
        ("Who was the manager before Ann Archer?", False),
        ("Who is the manager?", True),
        ("Is Ann Archer the manager?", True),
    ],
)
def test_an_open_question_is_not_answered_by_its_own_words(question: str, is_answered: bool, tmp_path: Path) -> None:
    units = UnitReader.load(Path(".models"))
    embedder = units.embedder
    index = HybridIndex.open(tmp_path, embedder)
    index.upsert([PEOPLE])
    query = index.rewrite_query(question, "en")
    passages = index.search(query, embedder.embed(query), 8, "en")
    answer = Reader(units, SHIPPED).rank_spans(question, "en", passages, index).answer
    assert bool(answer.text) is is_answered


@pytest.mark.parametrize(
    ("question", "open_"),
    [
        ("How much is a draft?", True),
        ("Is the branch open on Sunday?", False),
        ("Wo finde ich den Automaten?", True),
        ("Kann ich samstags kommen?", False),
        ("Combien coûte un chèque ?", True),
        ("¿Dónde está la caja?", True),
        ("¿Puedo venir mañana?", False),
    ],
)
def test_open_questions_are_told_from_those_that_yes_answers(question: str, open_: bool) -> None:
    assert is_open_question(question) is open_
