"""The bench of models judges answers by what they cite and say, and asks both models the same questions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click import UsageError

from loadtests.bench import answers_models as bench
from loadtests.bench.model_side import HubAnswer, ModelCost, judge, says, stands
from loadtests.bench.qa_sites import QaQuestion
from loadtests.bench.run import over_data
from tests.support.foreign_models import save_foreign
from tidegate.infra.models.export import directory
from tidegate.schemas import Answer, Check, Citation, WritingReport
from tidegate.services.knowledge.reader.unit_reader import UnitReader

FEES = "# Fees\n\nA banker's draft costs £12. A new card is free.\n"
POOL = "# Pool\n\nThe pool opens at seven. Towels are lent at the desk for two pounds.\n"
AT = FEES.index("A banker's")
EVIDENCE = (AT, AT + len("A banker's draft costs £12."))


def asked(answer: str, *evidence: tuple[int, int]) -> QaQuestion:
    return QaQuestion("What does a banker's draft cost?", "en", "plain", "fees", evidence, answer)


def answered(text: str, document: str = "fees", span: tuple[int, int] = EVIDENCE) -> Answer:
    quote = FEES[slice(*span)]
    cited = Citation(document_id=document, document_version="1", start=span[0], end=span[1], quote=quote)
    return Answer(text=text, citations=(cited,))


@pytest.mark.parametrize(
    ("text", "wanted", "is_said"),
    [
        ("It costs £12 at the desk.", "£12", True),
        ("It costs £13 at the desk.", "£12", False),
        ("Adults may have twelve items out.", "12 items", True),
        ("Towels are lent at the desk.", "At the desk, for two pounds", False),
        ("Write to us in writing, 3 months before its end.", "In writing, three months before the end", True),
        ("The colour is grey.", "So that nobody is dazzled", False),
        ("", "£12", False),
    ],
)
def test_a_text_says_an_answer_with_all_its_numbers_and_half_of_its_words(
    text: str, wanted: str, is_said: bool
) -> None:
    assert says(text, wanted, "en") is is_said


def test_an_answer_is_right_when_it_cites_what_answers_and_says_it() -> None:
    question = asked("£12", EVIDENCE)
    assert judge(question, answered("It costs £12.")).is_right
    assert not judge(question, answered("It costs £13.")).is_right
    assert not judge(question, answered("It costs £12.", document="pool")).is_right
    assert not judge(question, answered("It costs £12.", span=(EVIDENCE[1], len(FEES)))).is_right
    none = judge(question, Answer(text=""))
    assert (none.is_answerable, none.is_given, none.is_right) == (True, False, False)
    assert not judge(asked(""), answered("It costs £12.")).is_right, "what has no answer cannot be answered rightly"


def test_what_a_model_said_stands_where_it_agreed_or_nothing_was_replaced() -> None:
    agreed, apart = (Answer(text="x", checks=(Check("agreement", each, float(each)),)) for each in (True, False))
    assert (stands(agreed), stands(apart), stands(Answer(text="x"))) == (True, False, False)
    kept, replaced = (WritingReport(mode="grounded", sentences=1, replaced=each) for each in (0, 1))
    assert stands(Answer(text="x", writing=kept))
    assert not stands(Answer(text="x", writing=replaced))


def test_shares_are_of_what_they_are_called_for() -> None:
    def one(is_right: bool, *, is_answerable: bool = True, stands: bool = True, steps: int = 3) -> HubAnswer:
        return HubAnswer(
            is_answerable=is_answerable, is_given=True, is_right=is_right, stands=stands, steps=steps, tokens=9
        )

    rows = [one(True), one(True, stands=False), one(False, stands=False), one(False, is_answerable=False, steps=0)]
    assert bench.shares(rows) == {
        "right": pytest.approx(200 / 3),
        "wrong": 50.0,
        "retried": 0.0,
        "refused": pytest.approx(200 / 3),
        "right_where_kept": 100.0,
        "right_where_refused": 50.0,
    }


@pytest.fixture
def data(tmp_path: Path) -> Path:
    questions: list[list[dict[str, Any]]] = [
        [
            {"text": "What does a banker's draft cost?", "evidence": ["A banker's draft costs £12."], "answer": "£12"},
            {"text": "Is a new passport free?", "kind": "impossible_near", "evidence": []},
            {"text": "Was kostet ein Scheck?", "language": "de", "evidence": [], "answer": "12 £"},
        ],
        [{"text": "When does the pool open?", "evidence": ["The pool opens at seven."], "answer": "At seven"}],
    ]
    records = [
        {"id": name.lower(), "title": name, "language": "en", "text": text, "questions": some}
        for name, text, some in zip(("Fees", "Pool"), (FEES, POOL), questions, strict=True)
    ]
    for question in (each for some in questions for each in some):
        question |= {name: value for name, value in (("language", "en"), ("kind", "plain")) if name not in question}
    folder = tmp_path / "data" / bench.FILE
    folder.mkdir(parents=True)
    (folder / "dev-one.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return folder


@pytest.mark.anyio
async def test_both_models_answer_the_same_questions_and_neither_says_what_does_not_stand(
    data: Path, tmp_path: Path
) -> None:
    boxed = save_foreign(tmp_path / "boxed", "qwen2")
    directory.export(boxed, boxed, "fp32")
    found = bench.read_questions(data, UnitReader.load(bench.MODELS), 9)
    assert [each.question.text[:6] for each in found] == ["What d", "Is a n", "When d"], "in one language"
    assert len(bench.read_questions(data, UnitReader.load(bench.MODELS), 2)) == 2
    compared = await bench.compare(found, bench.PAIR, boxed)
    called = [bool(each.steps) for each in compared.pair.answers]
    assert called == [bool(each.steps) for each in compared.boxed.answers]
    assert called[0]
    assert called[2]
    for side in (compared.pair, compared.boxed):
        assert [each.is_right for each in side.answers] == [each.is_right for each in compared.reader]
        assert all(0 < each.first_ms <= each.took_ms for each in side.answers if each.steps)
        assert min(side.cost.start_ms, side.cost.disk_mib) > 0
    assert not any(each.stands for each in compared.boxed.answers), "weights drawn at random write nothing that stands"
    assert bench.shares(compared.pair.answers)["right"] == 100.0
    assert "3 questions, of which 2 have an answer" in bench.table_of(compared)


def test_without_the_boxed_model_the_entry_is_left_out_and_that_is_said(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "NEEDED", (tmp_path / "smollm2",))
    assert bench.NAME not in [entry.name for entry in over_data(data.parent, "")]
    assert "answers_models: skipped, no " in capsys.readouterr().err
    with pytest.raises(UsageError, match="make lm"):
        over_data(data.parent, bench.NAME)
    (tmp_path / "smollm2").mkdir()
    assert bench.NAME in [entry.name for entry in over_data(data.parent, bench.NAME)]
    samples = {bar.samples for bar in bench.entry(data).bars}
    assert samples <= set(bench.figures(bench.ModelSide((), ModelCost(start_ms=1, memory_mib=1, disk_mib=1))))
