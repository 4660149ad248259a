"""While policies are too old, nothing is given but what documents say word for word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from tests.support.policy_files import HERE, judge_here, policy
from tidegate.schemas import Answer, Check, Citation, Question, WritingReport
from tidegate.services.policies.evaluation import PolicyEvaluation

QUESTION = Question(text="How late?", language="en", intent="hours", intent_confidence=0.9)
FIRST, SECOND = "The lobby is open until 23:00.", "The counter closes at 16:30."
VOUCHED = (Check("grounding", True, 1.0), Check("entailment", True, 1.0))


def cited(text: str, *quotes: str) -> Answer:
    citations = tuple(
        Citation(document_id="hours", document_version="v", start=0, end=len(quote), quote=quote) for quote in quotes
    )
    return Answer(text=text, citations=citations, checks=VOUCHED, confidence=0.9)


def judged(tmp_path: Path, answer: Answer, *, is_evidence_only: bool = True) -> PolicyEvaluation:
    rules = (policy(tmp_path),)
    return judge_here(QUESTION, answer, rules, here=replace(HERE, is_evidence_only=is_evidence_only))


@pytest.mark.parametrize(
    ("answer", "text", "verb"),
    [
        (cited(FIRST, FIRST), FIRST, "allow"),
        (cited(f"{FIRST} {SECOND}", FIRST, SECOND), f"{FIRST} {SECOND}", "allow"),
        (cited("It is open late: until eleven.", FIRST), FIRST, "transform"),
        (cited(f"Yes. {FIRST}", FIRST), FIRST, "transform"),
        (cited("Both are.", FIRST, SECOND, FIRST), f"{FIRST}\n{SECOND}", "transform"),
    ],
)
def test_the_quotations_alone_are_given(tmp_path: Path, answer: Answer, text: str, verb: str) -> None:
    found = judged(tmp_path, answer)
    assert (found.refusal, found.answer.text) == ("", text)
    assert found.answer.citations == answer.citations
    assert found.answer.writing is None
    assert (found.decisions[0].rule, found.decisions[0].verb) == ("standing/evidence_only", verb)
    assert judged(tmp_path, answer, is_evidence_only=False).answer.text == answer.text


@pytest.mark.parametrize(
    "answer",
    [
        cited("It is open late."),
        cited(""),
        Answer(text='{"a": 1}', format="json", checks=(Check("schema", True, 1.0),), confidence=1.0),
    ],
)
def test_what_rests_on_no_quotation_is_abstained_from(tmp_path: Path, answer: Answer) -> None:
    found = judged(tmp_path, answer)
    assert found.refusal == "abstained"
    assert [each.rule for each in found.decisions] == ["standing/evidence_only"]
    assert [part.id for part in found.policies] == ["safe-answers-v3"], "the receipt names the policies all the same"


def test_the_policies_judge_the_quotations_too(tmp_path: Path) -> None:
    promise = "A guaranteed profit for all!"
    found = judged(tmp_path, cited("We make money.", promise))
    assert found.refusal == "policy_block"


def test_a_model_s_words_are_no_part_of_it(tmp_path: Path) -> None:
    written = msgspec.structs.replace(
        cited("It is open until eleven.", FIRST), writing=WritingReport(mode="grounded", sentences=1)
    )
    assert judged(tmp_path, written).answer == cited(FIRST, FIRST)
