"""The lists of names are read once, in the form in which words are looked up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.languages.person_names import load_person_names, plain_name


@pytest.mark.parametrize(
    ("word", "plain"), [("Łukasz", "lukasz"), ("Søren", "soren"), ("GROß", "gross"), ("José", "jose")]
)
def test_accents_and_capitals_make_no_other_name(word: str, plain: str) -> None:
    assert plain_name(word) == plain


@given(st.text(max_size=20))
def test_the_plain_form_is_its_own(word: str) -> None:
    assert plain_name(plain_name(word)) == plain_name(word)


def test_every_name_is_in_plain_form() -> None:
    names = load_person_names()
    assert len(names.given) > 20_000 < len(names.surnames)
    assert all(plain_name(name) == name and len(name) > 2 for name in names.given | names.surnames)


@pytest.mark.parametrize("word", ["will", "price", "mark", "karte", "hotel", "bank"])
def test_a_word_that_is_one_in_small_letters_is_no_name(word: str) -> None:
    names = load_person_names()
    assert word not in names.given | names.surnames
