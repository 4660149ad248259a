"""The bench over paragraphs counts what it says it counts, and asks of each language what another article answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench import answers_xquad as bench
from loadtests.bench.answers_xquad import JudgedAnswer
from tidegate.services.knowledge.reader.unit_reader import UnitReader

BRIDGE = "The old bridge was built in 1871 by Anna Leclerc. It carries two lanes and a tramway."
OTTER = "Otters eat crayfish and small fish. A litter has two or three young."


def judged(*, published: bool, correct: bool = False, stranger: bool = False, words: int = 10) -> JudgedAnswer:
    return JudgedAnswer("en", stranger, correct, published, words, 1.0)


def article(title: str, text: str, *asked: tuple[str, str]) -> dict[str, Any]:
    qas = [{"question": question, "answers": [{"text": answer, "answer_start": 0}]} for question, answer in asked]
    return {"title": title, "paragraphs": [{"context": text, "qas": qas}]}


def test_shares_are_of_questions_with_an_answer_and_of_strangers_apart() -> None:
    rows = [
        judged(published=True, correct=True, words=20),
        judged(published=True),
        judged(published=False, correct=True),
        judged(published=False),
        judged(published=True, stranger=True, words=30),
        judged(published=False, stranger=True),
    ]
    assert bench.shares(rows) == {
        "correct": 25.0,
        "wrong": 25.0,
        "correct_if_published": 50.0,
        "strangers_answered": 50.0,
        "words": 20.0,
    }
    assert bench.figures(rows)["correct_de"] == (0.0,)


def test_paragraphs_of_the_last_articles_are_documents_and_the_rest_is_strange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "ARTICLES", 1)
    otter = article("Otter", OTTER, ("What do otters eat?", "crayfish"))
    bridge = article(
        "Old_bridge", BRIDGE, ("When was the old bridge built?", "1871"), ("Who built the old bridge?", "Leclerc")
    )
    for language in bench.LEAST_CORRECT:
        (tmp_path / f"{language}.json").write_text(json.dumps({"data": [otter, bridge]}), encoding="utf-8")
    (site, *_) = bench.read_sites(tmp_path)
    assert [(document.title, document.text) for document in site.documents] == [("Old bridge", BRIDGE)]
    assert [question.document for question in site.questions] == ["0-0", "0-0", ""]
    rows = bench.measure_sites(tmp_path, UnitReader.load(bench.MODELS))
    assert len(rows) == 9
    english = [each for each in rows if each.language == "en"]
    assert [each.is_correct for each in english] == [True, True, False]
    assert [each.is_stranger for each in english] == [False, False, True]
    assert not english[2].is_published
    assert "strangers_answered" in bench.table_of(rows)
    (tmp_path / "es.json").unlink()
    with pytest.raises(FileNotFoundError):
        list(bench.read_sites(tmp_path))


def test_an_accepted_answer_counts_by_whole_words() -> None:
    assert bench.states("It was built in 1871, by Anna.", ("1871",))
    assert not bench.states("It was built in 18712.", ("1871",))
    assert not bench.states("It was built.", ())
