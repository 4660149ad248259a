"""Days of the week as people write them, in eight languages."""

from __future__ import annotations

import pytest
from babel import Locale
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose
from tidegate.services.languages.weekdays import find_weekdays

SPANS = {"en": "to", "de": "bis", "fr": "au", "es": "a", "it": "al", "pt": "a", "nl": "tot en met", "pl": "do"}


@pytest.mark.parametrize("language", PROSE_LANGUAGES)
def test_each_day_is_known_by_its_name(language: str) -> None:
    for number, name in Locale.parse(language).days["format"]["wide"].items():
        assert find_weekdays(f"x {name}, x", language) == {number}
        assert find_weekdays(name.upper(), language) == {number}


@given(st.sampled_from(PROSE_LANGUAGES), st.integers(0, 6), st.integers(1, 6), st.booleans())
def test_a_span_holds_the_days_between_its_ends(language: str, first: int, length: int, has_dash: bool) -> None:
    names = Locale.parse(language).days["format"]["wide"]
    between = "–" if has_dash else f" {SPANS[language]} "
    found = find_weekdays(f"{names[first]}{between}{names[(first + length) % 7]}", language)
    assert found == {(first + ahead) % 7 for ahead in range(length + 1)}


@pytest.mark.parametrize(
    ("text", "language", "days"),
    [
        ("Mo–Fr 8 Uhr", "de", range(5)),
        ("montags und samstags", "de", (0, 5)),
        ("am Sonnabend", "de", (5,)),
        ("am Wochenende", "de", (5, 6)),
        ("werktags", "de", range(5)),
        ("ouvert du lun. au ven.", "fr", range(5)),
        ("de lunes a viernes", "es", range(5)),
        ("el sabado", "es", (5,)),
        ("a la segunda vez", "es", ()),
        ("à segunda-feira", "pt", (0,)),
        ("we wtorki i w niedzielę", "pl", (1, 6)),
        ("domenica", "it", (6,)),
        ("zaterdags", "nl", (5,)),
        ("Sa - Mo", "de", (5, 6, 0)),
        ("open every day", "en", range(7)),
        ("so sind die Preise, mi casa", "de", ()),  # a short name alone is a word
        ("they sat in the sun", "en", ()),
        ("Monday", "sv", ()),  # a language that is not known here
    ],
)
def test_days_are_found_however_they_are_written(text: str, language: str, days: range | tuple[int, ...]) -> None:
    assert find_weekdays(text, language) == set(days)


@pytest.mark.parametrize("language", PROSE_LANGUAGES)
def test_what_people_say_of_no_day_names_none(language: str) -> None:
    words = load_prose(language)
    assert find_weekdays(f"{words.yes} {words.no}", language) == set()
