from __future__ import annotations

import random

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.coverage import AskedTerms, find_stated

TEXTS = (
    "Die Kontoführungsgebühr steht im Gebührenverzeichnis der Filiale am Hafen.",
    "A safe-deposit box costs £40 a year; deposits of cash above £3,000 are charged.",
    "Das Konto, die Gebühr, der Safe und das Schließfach.",
    "The cardholder's card is blocked by the card service within a minute.",
    "",
)
QUESTIONS = (
    "Was kostet die Gebühr für ein Gebührenkonto?",
    "How much is a deposit box, and who blocks cards?",
    "Kontoführung Schließfachgebühr Hafenfiliale",
)


def share_by_comparing_all(weights: dict[str, float], stated: frozenset[str]) -> float:
    """The definition: each term of the question beside each of the text."""

    def degree(term: str) -> float:
        if term in stated:
            return 1.0
        if len(term) < 5:
            return 0.0
        return 0.7 if any(len(other) >= 5 and (other in term or term in other) for other in stated) else 0.0

    total = sum(weights.values())
    return sum(weight * degree(term) for term, weight in weights.items()) / total if total else 0.0


def test_the_share_is_that_of_comparing_every_term_with_every_other() -> None:
    rarity = random.Random(3)
    shares = set()
    for question in QUESTIONS:
        for language in ("de", "en", "xx"):
            weights = {term: rarity.random() for term in find_terms(question, language)}
            asked = AskedTerms(weights)
            for text in TEXTS:
                found = asked.share(asked.degrees(find_stated(text, language)))
                assert found == share_by_comparing_all(weights, frozenset(find_terms(text, language)))
                shares.add(found)
    assert len(shares) > 10, "the samples must not all state the same"


def test_nothing_is_stated_of_a_question_without_terms() -> None:
    asked = AskedTerms({})
    assert asked.share(asked.degrees(find_stated(TEXTS[0], "de"))) == 0.0
