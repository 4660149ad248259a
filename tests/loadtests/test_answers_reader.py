"""The bench of the reader counts what it says it counts, over documents that are indexed for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadtests.bench import answers_reader as bench
from loadtests.bench.answers_reader import JudgedEscalation, JudgedQuestion
from loadtests.bench.qa_sites import read_files
from tidegate.services.knowledge.reader.unit_reader import UnitReader

FEES = "# Fees\n\nA banker's draft costs £12. A new card is free.\n"
POOL = "# Pool\n\nThe pool opens at seven. Towels are lent at the desk for two pounds.\n"


def judged(rank: int, log_odds: float, *, kind: str = "plain", is_answerable: bool = True) -> JudgedQuestion:
    return JudgedQuestion(kind, "en", is_answerable, rank, log_odds, 1.0)


def near(log_odds: float) -> JudgedQuestion:
    return judged(bench.MISSING, log_odds, kind=bench.NEAR, is_answerable=False)


def test_the_operating_point_lets_a_tenth_of_what_is_nearly_answered_pass() -> None:
    rows = [near(float(odds)) for odds in range(20)]
    point = bench.operating_point(rows)
    assert sum(each.log_odds > point for each in rows) == 2
    assert bench.operating_point([judged(0, 1.0)]) == 0.0


def test_shares_are_of_the_questions_with_an_answer() -> None:
    rows = [judged(0, 2.0), judged(1, 2.0), judged(2, -1.0), judged(9, -1.0), near(5.0)]
    assert bench.shares(rows, 0.0) == {
        "among_best_8": 75.0,
        "first": 25.0,
        "right": 25.0,
        "wrong": 25.0,
        "right_or_offered": 50.0,
    }
    assert bench.auc([judged(0, 1.0), judged(0, -1.0), near(0.0)]) == 50.0
    assert bench.risk_at([judged(0, 3.0), near(2.0), judged(0, 1.0), judged(0, 0.0)], 0.5) == 50.0


def test_an_escalation_is_improved_where_the_hub_vouches_rightly_for_what_the_site_did_not() -> None:
    sure, unsure, wrong = judged(0, 2.0), judged(0, -2.0), judged(1, 2.0)
    rows = [JudgedEscalation(unsure, sure), JudgedEscalation(unsure, wrong), JudgedEscalation(unsure, unsure)]
    assert bench.improved([*rows, JudgedEscalation(sure, sure)], 0.0, 0.0) == pytest.approx(100 / 3)


def test_documents_are_searched_by_every_side_and_what_answers_is_found(tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = [
        {"text": "What does a banker's draft cost?", "kind": "plain", "evidence": ["A banker's draft costs £12."]},
        {"text": "Is a new passport free?", "kind": bench.NEAR, "evidence": []},
    ]
    towels = {"text": "Can I borrow a towel?", "kind": "paraphrase", "evidence": ["Towels are lent at the desk"]}
    records: list[dict[str, Any]] = [
        {"id": "fees", "title": "Fees", "language": "en", "text": FEES, "questions": asked},
        {"id": "pool", "title": "Pool", "language": "en", "text": POOL, "questions": [towels]},
    ]
    for record in records:
        for question in record["questions"]:
            question["language"] = "en"
    lines = "\n".join(map(json.dumps, records))
    (tmp_path / "dev-one.jsonl").write_text(lines, encoding="utf-8")
    found, escalations = bench.measure_site(tmp_path, UnitReader.load(bench.MODELS))
    assert {side: len(rows) for side, rows in found.items()} == dict.fromkeys(found, 3)
    assert [each.rank for each in found["ours"]] == [0, bench.MISSING, 0]
    assert escalations[2].site.rank == bench.MISSING, "the site has every other document"
    assert escalations[2].hub.rank == 0
    assert "kind paraphrase" in bench.table_of(found, escalations)
    with pytest.raises(FileNotFoundError, match=r"no train-\*\.jsonl"):
        list(read_files(tmp_path, "train"))
