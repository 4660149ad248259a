"""What stands in another's place is found: two words exchanged, a value under another label, numbers turned round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.answering.claim_denials import count_absences, denies, refuses
from tidegate.services.answering.claim_numbers import count_reversed, wrong_number
from tidegate.services.answering.claim_places import PLACE_FEATURES, measure_places
from tidegate.services.answering.sentence_check import SourceText, check_sentence

WORDS = ("harbour", "ticket", "museum", "window", "garden", "bridge", "letter", "coffee", "market", "station")
ROW = SourceText("Letter to 100 g – Inland: £0.95; Abroad: £2.60", "en", "Post agency: prices")
EXCHANGED = [
    (ROW, "Inland to 100 g – Letter: £0.95; Abroad: £2.60"),
    (ROW, "Letter to 100 g – Abroad: £0.95; Inland: £2.60"),
    (ROW, "Parcel to 100 g – Inland: £0.95; Abroad: £2.60"),
    (SourceText("Evangelista Torricelli filled a tube.", "en"), "Torricelli Evangelista filled a tube."),
    (SourceText("The library opens from 10 to 16.", "en"), "The library opens from 16 to 10."),
    (SourceText("The gold plan costs £5 and the silver plan £7.", "en"), "The gold plan costs £7."),
    (SourceText("Without a crime number we cannot act.", "en"), "With a crime number we cannot act."),
]


@pytest.mark.parametrize(("evidence", "sentence"), EXCHANGED)
def test_what_is_exchanged_is_refused(evidence: SourceText, sentence: str) -> None:
    assert check_sentence(evidence.text, [evidence]).passed
    assert not check_sentence(sentence, [evidence]).passed


@given(words=st.lists(st.sampled_from(WORDS), min_size=4, max_size=8, unique=True), data=st.data())
def test_two_words_that_change_places_are_always_seen(words: list[str], data: st.DataObject) -> None:
    one, other = data.draw(st.lists(st.integers(0, len(words) - 1), min_size=2, max_size=2, unique=True))
    turned = list(words)
    turned[one], turned[other] = turned[other], turned[one]
    text = " ".join(words)
    assert not any(measure_places(text, text, "en").values())
    found = measure_places(" ".join(turned), text, "en")
    assert set(found) == set(PLACE_FEATURES)
    assert found["exchanged_pair"] or found["transposed"]


@given(low=st.integers(2, 500), more=st.integers(1, 500))
def test_numbers_that_are_turned_round_are_seen(low: int, more: int) -> None:
    right, wrong = (f"It is open from {a} to {b}" for a, b in ((low, low + more), (low + more, low)))
    assert count_reversed(right, right, "en") == 0
    assert count_reversed(wrong, right, "en") == 1


def test_a_number_belongs_to_the_clause_that_names_it() -> None:
    prices = ["Ein zerbrochenes Glas kostet 2 €, ein verlorener Zapfkopf 95 €."]
    assert not wrong_number("Ein verlorener Zapfkopf kostet 95 €.", prices, "", "de")
    assert "something else" in wrong_number("Ein zerbrochenes Glas kostet 95 €.", prices, "", "de")


@pytest.mark.parametrize(
    ("language", "text", "is_denial"),
    [
        ("en", "It is not paid without a card", False),
        ("en", "It isn’t paid", True),
        ("es", "No se paga nada", True),
        ("fr", "On ne paie que dix euros", False),
        ("pl", "Nikt nic nie płaci", True),
        ("nl", "Er zijn geen kosten", True),
        ("de", "Die Führung findet am Montag statt", False),
    ],
)
def test_denials_count_as_each_language_counts_them(language: str, text: str, is_denial: bool) -> None:
    assert denies(text, language) is is_denial


def test_what_is_forbidden_is_not_allowed_and_without_denies_what_stands_behind_it() -> None:
    assert refuses("Photos are forbidden", "en")
    assert not refuses("You may leave without a reason", "en")
    evidence = [SourceText("Fotos sind verboten.", "de")]
    assert check_sentence("Fotos sind verboten.", evidence).passed
    assert count_absences("with a card", "without a card", "en") == 1
    assert count_absences("without a card", "without a card", "en") == 0
