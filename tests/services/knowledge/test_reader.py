"""The reader: answers in the documents' own words, with citations that hold, and a confidence that was earned."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.corpus import BRANCH
from tidegate.schemas import Answer
from tidegate.schemas.pack import CalibrationQuestion, Intent, LabelledQuestion, Pack
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.thesaurus import rewrite_query
from tidegate.services.knowledge.reader.answer_type import expected_kind, has_value
from tidegate.services.knowledge.reader.calibration import (
    SHIPPED,
    Calibration,
    CalibrationMissingError,
    LabelledEvidence,
    fit_confidence,
)
from tidegate.services.knowledge.reader.evidence import AnswerEvidence
from tidegate.services.knowledge.reader.fit import prepare_calibration
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

DOCUMENTS = {each.id: each for each in BRANCH}
QUESTIONS = (
    ("What does a banker's draft cost?", "en", "fees", "£12"),
    ("When are fees collected?", "en", "fees", "20th of the following month"),
    ("What do I bring to open an account?", "en", "fees", "a passport or an identity card"),
    ("When does the branch close on Saturday?", "en", "hours", "12:30"),
    ("Does the machine take foreign coins?", "en", "coins", "neither counted nor exchanged"),
    ("Wann ist die Filiale am Freitag geöffnet?", "de", "stunden", "09:30 bis 16:30 Uhr"),
    ("My name is <NAME_0a1b2c3d4e5f>. How late is the lobby open?", "en", "hours", "06:00 to 23:00"),
)


class BranchReader:
    """An index of the branch with a reader over it."""

    def __init__(self, path: Path) -> None:
        self.units = UnitReader.load(Path(".models"))
        self.embedder = self.units.embedder
        self.index = HybridIndex.open(path, self.embedder)
        self.index.upsert(BRANCH)
        self.reader = Reader(self.units, SHIPPED)

    def ask(self, text: str, language: str = "en") -> Answer:
        query = rewrite_query(text)
        passages = self.index.search(query, self.embedder.embed(query), 8, language)
        return self.reader.rank_spans(text, language, passages, self.index).answer


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> BranchReader:
    return BranchReader(tmp_path_factory.mktemp("reading") / "index")


@pytest.mark.parametrize(("question", "language", "name", "fact"), QUESTIONS)
def test_an_answer_states_the_fact_and_cites_it_verbatim(
    branch: BranchReader, question: str, language: str, name: str, fact: str
) -> None:
    answer = branch.ask(question, language)
    assert fact in answer.text
    assert {citation.document_id for citation in answer.citations} == {name}
    for citation in answer.citations:
        document = DOCUMENTS[citation.document_id]
        assert citation.document_version == document.version
        assert document.text[citation.start : citation.end] == citation.quote
    held = {word for citation in answer.citations for word in find_terms(citation.quote, language)}
    assert set(find_terms(answer.text, language)) <= held
    assert {check.name: check.score for check in answer.checks if check.name != "coverage"} == {
        "grounding": 1.0,
        "entailment": 1.0,
    }


def test_a_row_is_answered_with_its_header_and_cites_both_lines(branch: BranchReader) -> None:
    answer = branch.ask("How much is a replacement card after loss?")
    assert "Replacement card after loss – Fee: £6" in answer.text
    assert "| Service | Fee | Paid |" in [citation.quote for citation in answer.citations]


def test_a_question_that_no_document_answers_is_answered_less_surely_than_any_that_one_does(
    branch: BranchReader,
) -> None:
    known = [branch.ask(question, language).confidence for question, language, _, _ in QUESTIONS if language == "en"]
    unknown = [
        branch.ask(each).confidence for each in ("Who won the football?", "How do I bake bread?", "Is Mars red?")
    ]
    assert max(unknown) < min(known)


def test_no_passages_give_an_empty_answer_without_confidence(branch: BranchReader) -> None:
    answer = branch.reader.rank_spans("What does a draft cost?", "en", (), branch.index).answer
    assert (answer.text, answer.confidence, answer.citations) == ("", 0.0, ())
    assert not any(check.passed for check in answer.checks)


def test_a_passage_whose_document_is_gone_by_now_is_read_by_itself_and_its_spans_stay_exact(
    branch: BranchReader,
) -> None:
    text = "When are fees collected?"
    passages = branch.index.search(text, branch.embedder.embed(text), 8, "en")
    gone = [msgspec.structs.replace(passage, document_version="0" * 12) for passage in passages]
    answer = branch.reader.rank_spans(text, "en", gone, branch.index).answer
    assert "20th of the following month" in answer.text
    for citation in answer.citations:
        assert DOCUMENTS[citation.document_id].text[citation.start : citation.end] == citation.quote


def pack(**fields: object) -> Pack:
    calibration = (
        *(
            CalibrationQuestion(text=text, language=language, documents=(name,))
            for text, language, name, _ in QUESTIONS
        ),
        *(
            CalibrationQuestion(text=f"{text}?")
            for text in ("Who is the king", "How tall is a tree", "Where is Mars", "Why is it dark")
        ),
    )
    beyond = Intent(id="weather", utterances=("will it rain", "is it cold outside"), verdict="out_of_scope")
    parts = {
        "name": "p",
        "version": "1",
        "path": "",
        "documents": BRANCH,
        "intents": (beyond,),
        "questions": (),
        "calibration": calibration,
        "policy_files": (),
    }
    return Pack(**{**parts, **fields})  # type: ignore[arg-type]


def test_preparing_calibrates_on_the_packs_calibration_and_never_on_its_questions(
    branch: BranchReader, tmp_path: Path
) -> None:
    path = tmp_path / "calibration.json"
    prepare_calibration(pack(), branch.index, branch.units, path)
    without = path.read_bytes()
    (path).unlink()
    asked = LabelledQuestion(id="q", text="Is it free?", kind="answerable", documents=("fees",), facts=("free",))
    prepare_calibration(pack(questions=(asked,)), branch.index, branch.units, path)
    assert path.read_bytes() == without
    calibration = Calibration.load(path)
    assert calibration.fit.questions == 11
    sure = Reader(branch.units, calibration)
    passages = branch.index.search("draft", branch.embedder.embed("draft"), 8, "en")
    assert sure.rank_spans("What does a banker's draft cost?", "en", passages, branch.index).answer.confidence > 0.6
    assert sure.rank_spans("Will it snow in Paris?", "en", passages, branch.index).answer.confidence < 0.35


def test_preparing_again_changes_nothing_until_questions_or_index_change(branch: BranchReader, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    first = prepare_calibration(pack(), branch.index, branch.units, path)
    stamp = path.stat().st_mtime_ns
    assert prepare_calibration(pack(), branch.index, branch.units, path) == first
    assert path.stat().st_mtime_ns == stamp
    prepare_calibration(pack(version="2", policy_files=("new.yaml",)), branch.index, branch.units, path)
    assert path.stat().st_mtime_ns == stamp, "of a policy the confidence does not know"
    fewer = pack(calibration=pack().calibration[1:])
    assert prepare_calibration(fewer, branch.index, branch.units, path).made_from != first.made_from


def test_more_evidence_never_makes_less_sure() -> None:
    low, high = (
        AnswerEvidence(log_odds=-2.0, similarity=0.1),
        AnswerEvidence(log_odds=2.0, similarity=0.8, coverage=0.9, margin=0.4),
    )
    fitted, quality, _ = fit_confidence(LabelledEvidence([low, high] * 10, [False, True] * 10))
    assert fitted.chance(low.row()) < 0.2 < 0.8 < fitted.chance(high.row())
    assert 0.0 <= quality.error <= 0.3


def test_a_calibration_needs_right_and_wrong_answers() -> None:
    with pytest.raises(ValueError, match="with an answer and questions without"):
        fit_confidence(LabelledEvidence([AnswerEvidence()] * 4, [True] * 4))


def test_a_missing_damaged_or_foreign_calibration_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(CalibrationMissingError, match="is missing"):
        Calibration.load(path)
    path.write_text("{")
    with pytest.raises(CalibrationMissingError, match="cannot be read"):
        Calibration.load(path)
    msgspec.structs.replace(SHIPPED, features=("other",)).save(path)
    with pytest.raises(CalibrationMissingError, match="another version"):
        Calibration.load(path)
    SHIPPED.save(path)
    assert Calibration.load(path) == SHIPPED
    assert Calibration.load(path).version == SHIPPED.version


@pytest.mark.parametrize(
    ("question", "kind", "has", "has_not"),
    [
        ("How much is a draft?", "amount", "It costs £12.", "It is at the counter."),
        ("Was kostet ein Scheck?", "amount", "kostenlos", "am Schalter"),
        ("How long does it take?", "duration", "within two working days", "at the counter"),
        ("Combien de temps dure une session ?", "duration", "90 minutes", "au guichet"),
        ("What time do you close?", "clock", "at 16:30", "on Friday"),
        ("What is the interest rate?", "rate", "4.49%", "fixed"),
        ("¿Cuántas monedas?", "count", "600", "muchas"),
        ("Which phone number do I call?", "phone", "+44 20 7946 0958", "ask us"),
        ("Who may come?", None, "", ""),
    ],
)
def test_a_question_asks_for_a_kind_of_value(question: str, kind: str | None, has: str, has_not: str) -> None:
    assert expected_kind(question) == kind
    if expected_kind(question) is not None:
        assert has_value(has, kind)
        assert not has_value(has_not, kind)
