"""The words around names are such that what looks for them finds them."""

from __future__ import annotations

import re

import pytest

from tidegate.services.languages.person_cues import LANGUAGES, PersonCues, join_cues, list_cues, load_person_cues
from tidegate.services.privacy.dlp.person_context import LONGEST, in_plain_words

KINDS = tuple(
    field
    for field in PersonCues.__struct_fields__
    if field not in ("ordinary", "starts", "nobody", "articles", "telling")
)
LOOK_BACK = 64
"""Characters in which the look-ahead of a stream searches the words before a name (dlp/settled.py)."""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_phrase_is_short_enough_to_be_looked_for_and_in_small_letters(language: str) -> None:
    cues = load_person_cues(language)
    for kind in KINDS:
        for phrase in getattr(cues, kind):
            assert 1 <= len(in_plain_words(phrase).split()) <= LONGEST, (kind, phrase)
            assert phrase == phrase.lower(), (kind, phrase)
            assert len(phrase) + 2 * phrase.count(" ") + 4 < LOOK_BACK, (kind, phrase)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_word_that_names_nobody_or_ends_a_name_introduces_none_by_itself(language: str) -> None:
    cues = load_person_cues(language)
    assert not {*cues.nobody.split()} & {*cues.sayings, *cues.closings}
    assert not {*cues.ordinary.split()} & {*cues.particles, *cues.weak_particles} - {"de", "den", "der", "te"}


def test_a_phrase_is_found_whole_whatever_stands_between_its_words_and_behind_no_other_letter() -> None:
    pattern = re.compile(join_cues(lambda cues: cues.introductions))
    assert pattern.fullmatch("mijn \n naam is")
    assert not pattern.match("mijn naam isaac")
    assert not re.search(join_cues(lambda _: ()), "mijn naam is")


def test_the_longer_of_two_phrases_is_tried_first() -> None:
    phrases = list_cues(lambda cues: (*cues.closings, *cues.thanks))
    assert phrases.index("met vriendelijke groet") < phrases.index("groet")
    assert "met vriendelijke groet" not in list_cues(lambda cues: cues.closings, ("de", "sv"))
