"""Sentences in a model's own words: true ones pass, planted faults are caught."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate.services.answering.quantities import find_quantities, split_words
from tidegate.services.answering.sentence_check import SourceText, check_sentence
from tidegate.services.knowledge.index.sentences import split_sentences

CAUGHT = 0.95
STANDS = 0.995
"""Of the sentences of documents as they stand."""
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
VERB = re.compile(r"\b(is|are|can|must|ist|sind|kann|muss|wird|werden|est|sont|peut)\b")
DENIALS = {"en": "not", "de": "nicht", "fr": "pas"}
PACK = Path("infra/packs/kiosk/documents")

FEES = SourceText(
    "A banker's draft costs £12.50 and is paid at once. Foreign coins are not exchanged. "
    "A transfer takes three working days; an urgent one takes 2 hours and costs £20.",
    "en",
    "Fees and charges",
)
STUNDEN = SourceText(
    "Die Filiale öffnet um 9:00 Uhr und schließt um 16:30 Uhr. Ohne Ausweis wird kein Geld ausgezahlt. "
    "Die Gebühr beträgt 4,90 Euro im Monat.",
    "de",
    "Öffnungszeiten",
)
REWORDED = [
    (FEES, "A banker's draft is paid at once and costs £12.50."),
    (FEES, "Banker's drafts cost 12.5 pounds."),
    (FEES, "An urgent transfer costs £20 and takes two hours."),
    (FEES, "A transfer takes 3 working days."),
    (FEES, "No, foreign coins are not exchanged."),
    (STUNDEN, "Die Filiale schließt um 16:30 Uhr."),
    (STUNDEN, "Im Monat beträgt die Gebühr 4,90 €."),
    (STUNDEN, "Kein Geld wird ausgezahlt ohne Ausweis."),
]
PLANTED = [
    (FEES, "A banker's draft costs £20 and is paid at once.", "something else"),
    (FEES, "A banker's draft costs £13.50.", "not in what it cites"),
    (FEES, "A banker's draft costs 12.50 euros.", "unit"),
    (FEES, "A banker's draft does not cost £12.50.", "denies"),
    (FEES, "Foreign coins are exchanged.", "asserts"),
    (FEES, "A transfer takes three working weeks.", "unit"),
    (FEES, "A transfer takes five working days.", "not in what it cites"),
    (FEES, "Barclays exchanges foreign coins, says Mr Smith.", "name"),
    (FEES, "Whales migrate through cold oceans every winter.", "words"),
    (STUNDEN, "Die Filiale öffnet um 16:30 Uhr und schließt um 9:00 Uhr.", "something else"),
    (STUNDEN, "Die Gebühr beträgt 4,90 Euro im Jahr.", "name"),
    (STUNDEN, "Die Gebühr beträgt nicht 4,90 Euro im Monat.", "denies"),
    (STUNDEN, "Die Gebühr beträgt 9,90 Euro im Monat.", "not in what it cites"),
]


@pytest.mark.parametrize(("evidence", "sentence"), REWORDED)
def test_a_true_sentence_in_other_words_passes(evidence: SourceText, sentence: str) -> None:
    found = check_sentence(sentence, [evidence])
    assert found.passed, found.fault


@pytest.mark.parametrize(("evidence", "sentence", "reason"), PLANTED)
def test_a_false_sentence_is_caught_for_what_is_false_in_it(evidence: SourceText, sentence: str, reason: str) -> None:
    assert reason in check_sentence(sentence, [evidence]).fault


def test_a_number_of_the_question_is_no_evidence_and_its_words_are() -> None:
    asked = "Does a banker's draft really cost £15 at the counter?"
    assert not check_sentence("A banker's draft costs £15.", [FEES], asked).passed
    assert check_sentence("At the counter a banker's draft costs £12.50.", [FEES], asked).passed


def test_a_sentence_without_evidence_or_words_and_a_strange_vault_token_are_refused() -> None:
    assert not check_sentence("A banker's draft costs £12.50.", []).passed
    assert not check_sentence("…", [FEES]).passed
    token = "<IBAN_0a1b2c3d4e5f>"
    assert not check_sentence(f"A banker's draft to {token} costs £12.50.", [FEES]).passed
    assert check_sentence(f"A banker's draft to {token} costs £12.50.", [FEES], f"A draft to {token}?").passed


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1,250.00", "1250"),
        ("1.250,00 €", "1250 euros"),
        ("09:00", "9:00"),
        ("three days", "3 days"),
        ("5 %", "5 percent"),
    ],
)
def test_a_quantity_is_the_same_however_it_is_written(left: str, right: str) -> None:
    (one,), (other,) = (find_quantities(split_words(text), "en") for text in (left, right))
    assert one.value == other.value
    assert not one.unit or one.unit == other.unit


def pack_sentences() -> Iterator[tuple[str, SourceText]]:
    """The sentences of the kiosk's prose with their paragraphs."""
    for path in sorted(PACK.rglob("*.md")):
        text = re.sub(r"\A---.*?---\n", "", path.read_text(), flags=re.DOTALL)
        language = next(
            (name for name in ("de", "fr", "es") if f".{name}." in path.name or f"/{name}/" in str(path)), ""
        )
        for paragraph in text.split("\n\n"):
            if len(paragraph) > 40 and paragraph[0].isalpha() and "|" not in paragraph:
                evidence = SourceText(paragraph, language or guess(text))
                for begin, end in split_sentences(paragraph, 0, len(paragraph)):
                    yield paragraph[begin:end], evidence


def guess(text: str) -> str:
    marks = {"de": r"\b(der|und|ist|nicht)\b", "fr": r"\b(les|est|une|des)\b", "es": r"\b(los|una|para|del)\b"}
    counts = {language: len(re.findall(mark, text)) for language, mark in marks.items()}
    best = max(counts, key=lambda language: counts[language])
    return best if counts[best] > len(re.findall(r"\b(the|and|is|of)\b", text)) else "en"


def plant(sentence: str, evidence: SourceText, dice: random.Random) -> Iterator[tuple[str, str]]:
    """The sentence with one fault: a changed number, another number of its passage, a denial more or less."""
    if numbers := list(NUMBER.finditer(sentence)):
        at = dice.choice(numbers)
        changed = str(int(re.sub(r"\D", "", at[0])) + dice.randint(1, 9))
        others = [each for each in NUMBER.findall(evidence.text) if each not in NUMBER.findall(sentence)]
        for kind, number in (("changed", changed), *((("other", dice.choice(others)),) if others else ())):
            yield kind, sentence[: at.start()] + number + sentence[at.end() :]
    denial, verb = DENIALS.get(evidence.language), VERB.search(sentence)
    if denial and verb:
        yield "denied", f"{sentence[: verb.end()]} {denial}{sentence[verb.end() :]}"
    if stated := re.search(r"\b(not|never|nicht|pas) ", sentence):
        yield "asserted", sentence[: stated.start()] + sentence[stated.end() :]


def test_planted_faults_are_caught_and_what_the_documents_say_passes() -> None:
    dice = random.Random(11)
    caught: dict[str, list[bool]] = {}
    true: list[bool] = []
    for sentence, evidence in pack_sentences():
        true.append(check_sentence(sentence, [evidence]).passed)
        for kind, false in plant(sentence, evidence, dice):
            caught.setdefault(kind, []).append(not check_sentence(false, [evidence]).passed)
    shares = {kind: sum(found) / len(found) for kind, found in caught.items()}
    assert len(true) > 150
    assert {kind for kind, found in caught.items() if len(found) > 15} == {"changed", "other", "denied", "asserted"}
    assert min(shares.values()) >= CAUGHT, shares
    assert sum(true) / len(true) >= STANDS
