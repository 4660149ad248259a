"""A question of high risk is answered by what is sure and verified, and by nothing else; packs change the classes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.policy_files import judge_here, policy
from tidegate.infra.models.training.high_risk import FIGURES, RISK, AskedAnswer, HighRiskFigures, choose
from tidegate.schemas import Answer, Check, Citation, Question
from tidegate.services.cli.pack import pack_calibrate
from tidegate.services.knowledge.reader.risk import JudgedAnswer
from tidegate.services.languages.risk_words import RISK_CLASSES, find_risks
from tidegate.services.languages.words import LANGUAGES
from tidegate.services.policies.case import Case
from tidegate.services.policies.facts import Circumstances
from tidegate.services.policies.high_risk import LEAST_CONFIDENCE, STRICTER, judge_risk, least_confidence, risks_of

PLAIN = "policy_id: p\nallow: [grounded_claims]\n"
QUOTE = "Adults take one tablet of 500 mg."
ASKED = {
    "medical_dose": (
        "How many tablets of paracetamol may I take a day?",
        "Wie viele Tabletten darf ich am Tag nehmen?",
        "Combien de comprimés puis-je prendre par jour ?",
        "¿Cuántas pastillas puedo tomar al día?",
    ),
    "legal": (
        "Is my contract still valid without a signature?",
        "Ist der Vertrag ohne Unterschrift gültig?",
        "Mon contrat est-il valable sans signature ?",
        "¿Es válido el contrato? Quiero demandar a la empresa.",
    ),
    "payment": (
        "Can I recall a transfer that I made yesterday?",
        "Kann ich eine Überweisung zurückholen?",
        "Puis-je annuler un virement ?",
        "¿Puedo anular una transferencia?",
    ),
    "machine_safety": (
        "May I remove the guard to clear a jam?",
        "Darf ich die Schutzhaube entfernen?",
        "Peut-on désactiver la barrière de sécurité ?",
        "¿Puedo quitar el resguardo de la máquina?",
    ),
}
HARMLESS = (
    "When do you open on Saturday?",
    "Wann öffnen Sie am Samstag?",
    "À quelle heure ouvrez-vous ?",
    "¿A qué hora abren?",
)


def asked(text: str, language: str = "en", intent: str = "x") -> Question:
    return Question(text=text, language=language, intent=intent, intent_confidence=1.0)


def answer(confidence: float = 0.95, *, is_checked: bool = True, passed: bool = True) -> Answer:
    cited = Citation(document_id="d", document_version="v", start=0, end=len(QUOTE), quote=QUOTE)
    checks = (Check("grounding", True, 1.0), *((Check("entailment", passed, 0.95),) if is_checked else ()))
    return Answer(text=QUOTE, citations=(cited,), confidence=confidence, checks=checks)


@pytest.mark.parametrize("risk", RISK_CLASSES)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_question_of_each_shipped_class_is_known_in_every_language(risk: str, language: str) -> None:
    text = ASKED[risk][LANGUAGES.index(language)]
    assert risk in find_risks(text, language)


def test_everyday_questions_are_of_no_class() -> None:
    assert not any(find_risks(text, language) for text, language in zip(HARMLESS, LANGUAGES, strict=True))


@pytest.mark.parametrize(
    ("made", "refusal"),
    [
        (answer(), ""),
        (answer(LEAST_CONFIDENCE), ""),
        (answer(LEAST_CONFIDENCE - 0.01), "abstained"),
        (answer(is_checked=False), "abstained"),
        (answer(passed=False), "abstained"),
        (msgspec.structs.replace(answer(), not_run=("entailment",)), "abstained"),
    ],
)
def test_an_edge_answers_a_question_of_high_risk_by_what_is_sure_and_verified(
    tmp_path: Path, made: Answer, refusal: str
) -> None:
    policies = (policy(tmp_path, PLAIN),)
    assert judge_here(asked(ASKED["medical_dose"][0]), made, policies).refusal == refusal
    harmless = msgspec.structs.replace(made, checks=(Check("grounding", True, 1.0),))
    assert judge_here(asked(HARMLESS[0]), harmless, policies).refusal == ""


@pytest.mark.parametrize(
    ("text", "least"),
    [
        (PLAIN, LEAST_CONFIDENCE),
        (PLAIN + "class_thresholds: {medical_dose: {confidence: 0.5}}\n", 0.5),
        (PLAIN + "class_thresholds: {medical_dose: {confidence: 0.99}}\n", 0.99),
        (PLAIN + "class_thresholds: {legal: {confidence: 0.5}}\n", LEAST_CONFIDENCE),
    ],
)
def test_a_policy_raises_or_lowers_what_a_class_needs(tmp_path: Path, text: str, least: float) -> None:
    policies = (policy(tmp_path, text),)
    question = asked(ASKED["medical_dose"][0])
    assert least_confidence(question, policies) == least
    assert judge_here(question, answer(least), policies).refusal == ""
    assert judge_here(question, answer(least - 0.001), policies).refusal == "abstained"


def test_the_shipped_threshold_is_the_one_that_was_measured() -> None:
    figures = msgspec.json.decode(FIGURES.read_bytes(), type=HighRiskFigures)
    assert figures.threshold == LEAST_CONFIDENCE
    assert {each.default for each in pack_calibrate.params if each.name == "risk"} == {RISK / STRICTER}
    assert figures.risk == RISK
    assert figures.rows[0].wrong <= RISK
    assert figures.questions > 3000


@given(st.lists(st.tuples(st.floats(0, 0.99), st.booleans()), min_size=39, max_size=120))
def test_of_any_answers_no_larger_share_is_wrong_from_the_chosen_threshold_on(found: list[tuple[float, bool]]) -> None:
    answers = [AskedAnswer("plain", "en", (), JudgedAnswer(sure, is_right)) for sure, is_right in found]
    chosen = choose(answers, 1)
    wrong = sum(not each.judged.is_right and each.judged.confidence >= chosen.threshold for each in answers)
    assert wrong + 1 <= RISK * (len(answers) + 1)
    with pytest.raises(ValueError, match="cannot hold"):
        choose(answers[:38], 1)


def test_a_policy_adds_intents_of_its_own(tmp_path: Path) -> None:
    policies = (policy(tmp_path, PLAIN + "high_risk: [loans]\n"),)
    assert risks_of(asked(HARMLESS[0], intent="loans"), policies) == ("loans",)
    assert judge_here(asked(HARMLESS[0], intent="loans"), answer(0.7), policies).refusal == "abstained"
    assert judge_here(asked(HARMLESS[0], intent="hours"), answer(0.7), policies).refusal == ""


def test_another_score_of_a_class_is_asked_for_too(tmp_path: Path) -> None:
    policies = (policy(tmp_path, PLAIN + "class_thresholds: {medical_dose: {confidence: 0.5, entailment: 0.99}}\n"),)
    assert judge_here(asked(ASKED["medical_dose"][0]), answer(), policies).refusal == "abstained"
    assert judge_here(asked(HARMLESS[0]), answer(), policies).refusal == ""


@given(st.floats(0, 1), st.booleans(), st.booleans())
def test_nothing_passes_that_is_less_sure_than_its_class_needs_or_unverified(
    confidence: float, is_checked: bool, is_cloud: bool
) -> None:
    here = Circumstances(tenant="t", site="s", route="cloud" if is_cloud else "edge")
    made = answer(confidence, is_checked=is_checked)
    refused = list(judge_risk(Case(asked(ASKED["payment"][0]), made, here), ()))
    assert bool(refused) is (confidence < LEAST_CONFIDENCE or not (is_checked or is_cloud))
    assert not list(judge_risk(Case(asked(HARMLESS[0]), made, here), ()))
