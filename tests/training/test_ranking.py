"""The weights of the ranking are learned from what is right, and its threshold holds the share that it promises."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tidegate.infra.models.data.qa import QaQuestion, load_own, load_squad
from tidegate.infra.models.evaluation.answering import Outcome, auc, figures
from tidegate.infra.models.evaluation.site import Evidence
from tidegate.infra.models.training.ranking import fit_confidence, fit_ranking, threshold_for
from tidegate.services.knowledge.reader.ranking import UnitSignals, describe_units


def evidence(seed: int) -> Evidence:
    """Eight units of which the one that the reader finds, not the nearest, answers."""
    rng = np.random.default_rng(seed)
    right = tuple(bool(each) for each in np.arange(8) == rng.integers(8))
    signals = tuple(
        UnitSignals("d", "text", "T: text", float(rng.normal()), 0.0, 0.0, float(rng.normal() + 3 * each))
        for each in right
    )
    question = QaQuestion("Which?", "en", "plain", "d", frozenset({0}))
    return Evidence(question, tuple(("d", n) for n in range(8)), signals, right, True)


def test_the_ranking_learns_which_signal_tells_the_answer() -> None:
    rows = [evidence(seed) for seed in range(60)]
    fitted = fit_ranking(rows, ("cosine", "logit"))
    assert fitted.weights[1] > 10 * abs(fitted.weights[0])
    firsts = [each.right[int(np.argmax(fitted.score(describe_units("Which?", each.signals))))] for each in rows]
    assert np.mean(firsts) > 0.8


def test_many_units_that_are_told_apart_sharply_do_not_throw_the_ranking_off() -> None:
    rng = np.random.default_rng(4)
    rows = []
    for number in range(40):
        cosines = np.append(rng.normal(0.2, 0.05, 150), 0.4 + 0.3 * rng.random())
        coverage = np.append((rng.random(150) < 0.05) * 0.9, 0.0)
        signals = tuple(
            UnitSignals("d", "t", "t", *pair, 0.0) for pair in zip(cosines.tolist(), coverage.tolist(), strict=True)
        )
        question = QaQuestion(f"Which {number}?", "en", "plain", "d", frozenset({150}))
        right = (*[False] * 150, True)
        rows.append(Evidence(question, tuple(("d", n) for n in range(151)), signals, right, True))
    fitted = fit_ranking(rows, ("cosine", "coverage", "coverage_to_best"))
    scores = [fitted.score(describe_units(each.question.text, each.signals)) for each in rows]
    assert np.mean([int(np.argmax(each)) == 150 for each in scores]) > 0.9


def test_the_confidence_is_a_chance() -> None:
    rng = np.random.default_rng(2)
    signal = rng.normal(size=4000)
    right = (rng.random(4000) < 1 / (1 + np.exp(-(2 * signal - 1)))).astype(float)
    fitted = fit_confidence({"logit": signal}, right, ("logit",))
    assert abs(fitted.weights[0] / fitted.spread[0] - 2) < 0.25
    chances = 1 / (1 + np.exp(-fitted.score({"logit": signal})))
    assert abs(float(chances.mean() - right.mean())) < 0.01


def test_a_threshold_answers_no_more_of_the_unanswerable_than_it_says() -> None:
    rng = np.random.default_rng(3)
    answered = [float((rng.random(50) > threshold_for(0.1, rng.random(80))).mean()) for _ in range(400)]
    assert 0.08 < np.mean(answered) <= 0.103
    assert threshold_for(0.1, np.array([0.2, 0.3])) == 1.0


def test_figures_count_wrong_and_offered() -> None:
    found = [
        Outcome("plain", "en", 0, 0.9, True),
        Outcome("plain", "en", 2, 0.8, True),
        Outcome("plain", "en", 2, 0.1, True),
        Outcome("impossible_near", "en", 10_000, 0.7, False),
    ]
    row = figures(found, 0.5)
    assert (row["right"], row["wrong"], row["right_or_offered"]) == (0.3333, 0.3333, 0.6667)
    assert (row["near_answered"], row["auc_near"]) == (1.0, 0.6667)
    assert auc([2.0], [1.0, 2.0]) == 0.75


def test_questions_know_the_units_that_answer(tmp_path: Path) -> None:
    text = "# Prices\n\nThe card costs €3 a month. It is free for students.\n"
    asked = {"text": "Price?", "language": "en", "kind": "plain", "answer": "€3 a month"}
    record = {
        "id": "a",
        "domain": "bank",
        "language": "en",
        "title": "Cards",
        "text": text,
        "questions": [
            {**asked, "evidence": ["The card costs €3 a month."]},
            {**asked, "text": "Colour?", "kind": "impossible_near", "evidence": [], "answer": ""},
        ],
    }
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa" / "dev-en.jsonl").write_text(json.dumps(record) + "\n")
    data = load_own(tmp_path, "dev")
    assert [each.gold for each in data.questions] == [frozenset({0}), frozenset()]
    assert data.documents["dev-en/a"].line(0) == "Cards › Prices: The card costs €3 a month."


def test_a_paragraph_is_a_document_and_its_answer_a_unit(tmp_path: Path) -> None:
    context = "Warsaw is in Poland. It lies on the Vistula."
    answer = {"text": "the Vistula", "answer_start": context.index("the Vistula")}
    asked = [{"id": "1", "question": "Where does it lie?", "answers": [answer]}]
    articles = [{"title": "War_saw", "paragraphs": [{"context": context, "qas": asked}]}]
    (tmp_path / "en.json").write_text(json.dumps({"data": articles}))
    data = load_squad(tmp_path / "en.json", "en", [0])
    assert data.documents["en/0/0"].title == "War saw"
    assert data.questions[0].gold == frozenset({1})
    assert load_squad(tmp_path / "en.json", "en", [1]).questions == ()
