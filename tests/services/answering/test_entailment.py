"""The shipped weights catch what is planted wrong, on documents that they have not seen, and let pass what is true."""

from __future__ import annotations

import pytest

from tidegate.infra.models.data.entailment import load_pairs, split_of
from tidegate.infra.models.data.planting import PLANTED, plant
from tidegate.infra.models.training.entailment import rates_of
from tidegate.services.answering.entailment import load_entailment
from tidegate.services.answering.sentence_check import CLAIM_FEATURES, SourceText, check_sentence
from tidegate.services.languages.claim_words import load_claim_words
from tidegate.services.languages.words import LANGUAGES

DOCUMENTS = 8
CAUGHT, REFUSED = 0.95, 0.03


def test_planted_faults_are_caught_and_supported_sentences_pass() -> None:
    pairs = load_pairs("heldout", DOCUMENTS)
    caught, refused = rates_of(
        pairs, [not check_sentence(each.sentence, each.evidence, each.question).passed for each in pairs]
    )
    assert {"number", "unit", "date", "denied", "modality", "comparison", "scope", "entity", "passage"} <= caught.keys()
    assert caught["all"] >= CAUGHT, caught
    assert max(refused["verbatim"], refused["rewritten"]) <= REFUSED, refused


def test_the_weights_are_those_of_the_features_that_the_code_makes() -> None:
    shipped = load_entailment()
    assert shipped.features == CLAIM_FEATURES
    assert len(shipped.model.weights) == len(CLAIM_FEATURES)


def test_no_document_is_learned_from_and_measured_on() -> None:
    assert {split_of(str(n)) for n in range(100)} == {"train", "dev", "heldout"}
    assert split_of("a") == split_of("a")


SAYINGS = {
    "en": ("Visitors may park before noon.", [("may", "must"), ("before", "after")]),
    "de": ("Besucher dürfen vor Mittag parken.", [("dürfen", "müssen"), ("vor", "nach")]),
    "fr": ("Les visiteurs peuvent se garer avant midi.", [("peuvent", "doivent"), ("avant", "après")]),
    "es": ("Los visitantes pueden aparcar antes del mediodía.", [("pueden", "deben"), ("antes", "después")]),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_small_words_turn_a_sentence_in_every_language(language: str) -> None:
    text, exchanges = SAYINGS[language]
    evidence = [SourceText(text, language, "Parking")]
    assert check_sentence(text, evidence).passed
    for one, other in exchanges:
        found = check_sentence(text.replace(one, other), evidence)
        assert not found.passed, other
    assert PLANTED.keys() >= {language}
    assert load_claim_words(language).marks


def test_a_language_without_words_is_judged_by_its_numbers_and_terms() -> None:
    evidence = [SourceText("Kortet kostar 80 kronor.", "sv", "Kort")]
    assert not check_sentence("Kortet kostar 90 kronor.", evidence).passed
    assert not load_claim_words("sv").marks


def test_a_planted_sentence_differs_from_the_true_one() -> None:
    import random

    true = "The office is open on Monday from 9 to 17 and may be closed without notice."
    planted = dict(plant(true, true, ["Mr Brown left the Berlin branch in 1999."], "en", random.Random(3)))
    assert {"number", "date", "modality", "denied", "swapped_numbers"} <= planted.keys()
    assert true not in planted.values()
