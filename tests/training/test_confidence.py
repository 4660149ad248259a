"""The confidence learns from near misses and strangers together, and says a chance of questions as they are asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tidegate.infra.models.data import qa
from tidegate.infra.models.data.confidence import HELD, STRANGERS, own_sites, xquad_sites
from tidegate.infra.models.data.mixture import HELD_TOGETHER, is_held
from tidegate.infra.models.training import fit_confidence
from tidegate.infra.models.training.fit_confidence import FEATURES, Found, gather
from tidegate.infra.models.training.network import Schedule, fit_network
from tidegate.services.knowledge.reader.ranking import Fitted, HiddenUnit
from tidegate.services.knowledge.reader.unit_reader import UnitReader

QUICK = Schedule(hidden=4, steps=200, starts=2, decay=1e-4, direct_decay=1e-4)


def test_a_hidden_layer_adds_what_a_sum_cannot_say() -> None:
    rng = np.random.default_rng(5)
    table = {"a": rng.normal(size=600), "b": rng.normal(size=600)}
    right = (table["a"] * table["b"] > 0).astype(float)
    fitted = fit_network(table, right, np.ones(600), ("a", "b"), QUICK)
    assert len(fitted.hidden) == 8
    assert ((fitted.score(table) > 0) == right).mean() > 0.9
    without = msgspec.structs.replace(fitted, hidden=())
    assert ((without.score(table) > 0) == right).mean() < 0.7
    assert msgspec.json.decode(msgspec.json.encode(fitted), type=Fitted) == fitted


def test_a_row_counts_as_often_as_it_says() -> None:
    table = {"a": np.zeros(100)}
    right = np.append(np.ones(50), np.zeros(50))
    fitted = fit_network(table, right, np.append(np.ones(50), np.full(50, 3.0)), ("a",), QUICK)
    assert 1 / (1 + np.exp(-fitted.score(table)[0])) == pytest.approx(0.25, abs=0.01)


def test_a_hidden_unit_is_a_tanh_of_standardised_features() -> None:
    fitted = Fitted(("a",), (1.0,), (2.0,), (0.5,), 0.25, (HiddenUnit((3.0,), -1.0, 4.0),))
    assert fitted.score({"a": np.array([3.0])})[0] == pytest.approx(0.5 + 0.25 + 4 * np.tanh(2.0))


def found(at: int, *, is_right: bool, count: float, is_by_document: bool) -> Found:
    rng = np.random.default_rng(at)
    features = {name: float(rng.normal()) for name in FEATURES}
    features["logit"] += 2.0 * is_right
    return Found(f"d{at % 17}", is_by_document, "plain" if is_right else "impossible_near", features, is_right, count)


def test_what_counts_more_moves_the_order_and_not_the_chance() -> None:
    rows = [
        found(at, is_right=at % 3 != 0, count=5.0 if at % 3 == 0 else 1.0, is_by_document=at % 2 == 0)
        for at in range(300)
    ]
    confidence, unseen = fit_confidence.fit(rows)
    table = {name: np.array([each.features[name] for each in rows]) for name in FEATURES}
    chances = 1 / (1 + np.exp(-confidence.score(table)))
    assert chances.mean() == pytest.approx(2 / 3, abs=0.01)
    right = np.array([each.is_right for each in rows])
    assert unseen[right].mean() > unseen[~right].mean() + 0.2
    held = fit_confidence.thresholds(rows, unseen, "impossible_near", (0.1, 0.2))
    assert held["0.2"] < held["0.1"] < 1.0


def paragraph(name: str, text: str, asked: str, answer: str) -> dict[str, Any]:
    answers = [{"text": answer, "answer_start": text.index(answer)}]
    return {"context": text, "qas": [{"id": name, "question": asked, "answers": answers}]}


def write_data(directory: Path) -> str:
    """Files of our own and of XQuAD's form; the id of the one document of ours that is held."""
    names = [f"doc-{number}" for number in range(40)]
    held = next(name for name in names if is_held(f"own-en/{name}"))
    other = next(name for name in names if not is_held(f"own-en/{name}"))
    asked = [
        {"text": "What does a draft cost?", "language": "en", "kind": "plain", "evidence": ["A draft costs £12."]},
        {"text": "What does a cheque cost?", "language": "en", "kind": "impossible_near", "evidence": []},
    ]
    records = [
        {
            "id": name,
            "title": "Fees",
            "language": "en",
            "text": "A draft costs £12. A card is free.",
            "questions": asked,
        }
        for name in (held, other)
    ]
    (directory / "own-en.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    (directory / "xquad").mkdir()
    for language in ("en", "de", "es"):
        text = "The bridge was built in 1871. It carries a tramway."
        articles = [
            {
                "title": f"Bridge_{number}",
                "paragraphs": [
                    paragraph(f"{number}-{at}", text, f"When was bridge {number} built? {language} {at}", "1871")
                    for at in range(STRANGERS // 15 + 1)
                ],
            }
            for number in range(HELD.stop)
        ]
        (directory / "xquad" / f"{language}.json").write_text(json.dumps({"data": articles}), encoding="utf-8")
    return held


@pytest.fixture(autouse=True)
def own_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qa, "OWN", tmp_path)


def test_only_what_was_held_is_asked_about(tmp_path: Path) -> None:
    held = write_data(tmp_path)
    own = next(own_sites(tmp_path))
    assert [document.id for document in own.documents] == [held]
    english, _, spanish, crossed = xquad_sites(tmp_path)
    answered = {question.document.split("-")[0] for question in english.questions if question.evidence}
    assert answered == {str(number) for number in HELD}
    assert sum(question.kind == "impossible_far" for question in spanish.questions) == STRANGERS
    assert {question.language for question in crossed.questions} == {"de"}
    assert crossed.documents == english.documents


def test_held_documents_are_searched_a_few_together(tmp_path: Path) -> None:
    names = [f"doc-{number}" for number in range(100)]
    record = {"title": "Fees", "language": "en", "text": "A draft costs £12.", "questions": []}
    lines = [json.dumps({"id": name, **record}) for name in names]
    (tmp_path / "own-en.jsonl").write_text("\n".join(lines), encoding="utf-8")
    sites = list(own_sites(tmp_path))
    assert [len(site.documents) for site in sites[:-1]] == [HELD_TOGETHER] * (len(sites) - 1)
    found = [document.id for site in sites for document in site.documents]
    assert found == [name for name in names if is_held(f"own-en/{name}")]
    assert len({site.name for site in sites}) == len(sites) > 1


def test_held_documents_fall_into_every_fold() -> None:
    held = [name for number in range(200) if is_held(name := f"own-en/doc-{number}")]
    assert {fit_confidence.fold_of(name) for name in held} == set(range(fit_confidence.FOLDS))


def test_what_the_product_finds_is_gathered_with_each_number_of_windows(tmp_path: Path) -> None:
    write_data(tmp_path)
    own = next(own_sites(tmp_path))
    rows = list(gather(own, UnitReader.load(Path(".models"))))
    assert [(row.kind, row.is_right) for row in rows] == [("plain", True)] * 2 + [("impossible_near", False)] * 2
    assert set(rows[0].features) == set(FEATURES)
    assert sum(row.count for row in rows if row.kind == "plain") == 1.0
    assert rows[2].count == fit_confidence.NEAR / 2
