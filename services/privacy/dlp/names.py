"""Finds names by the words around them; a name that nothing introduces is not found. Next: phones.py."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tidegate.services.languages import person_cues
from tidegate.services.languages.person_cues import PersonCues, join_cues, list_cues, load_person_cues
from tidegate.services.languages.words import LANGUAGES, join_patterns, list_gates, load_words
from tidegate.services.privacy.dlp.finding import PersonalSpan

OTHERS = tuple(language for language in person_cues.LANGUAGES if language not in LANGUAGES)
"""Languages without words of their own for all else: what introduces a name in them is in their cues alone."""


class Opening(NamedTuple):
    """What a name follows. A text without one of the `gates`, in small letters, has no match: that is quicker to see.

    `least`: words of such a name; `any_case`: it may be in small letters; `signs`: it ends its line."""

    pattern: re.Pattern[str]
    gates: tuple[str, ...] = ("",)
    least: int = 1
    any_case: bool = False
    signs: bool = False

    @classmethod
    def of_others(
        cls, choose: Callable[[PersonCues], Iterable[str]], behind: str = r"\s{1,3}", **how: bool | int
    ) -> Opening:
        """Of the cues of languages that have nothing else; `behind` stands between a cue and the name."""
        phrases = sorted(list_cues(choose, OTHERS), key=lambda phrase: (phrase.count(" "), phrase))
        gates: list[str] = []
        for phrase in phrases:
            if not any(gate in phrase for gate in gates):
                gates.append(max(phrase.rstrip(":").split(), key=len))
        pattern = re.compile(rf"(?<![^\W_]){join_cues(choose, OTHERS)}{behind}", re.IGNORECASE)
        return cls(pattern, tuple(gates), **how)  # type: ignore[arg-type]


INTRODUCED = re.compile(rf"\b(?:{join_patterns(lambda words: words.personal.introductions)})\s{{0,3}}", re.IGNORECASE)
PRESENTED = re.compile(rf"\b(?:{join_patterns(lambda words: words.personal.presentations)})\s{{1,3}}", re.IGNORECASE)
RELATED = re.compile(
    rf"\b(?:{join_patterns(lambda words: words.personal.namings)}"
    rf"|(?:{join_patterns(lambda words: words.personal.possessives)})"
    rf" (?:{join_patterns(lambda words: words.personal.relatives)})"
    rf"(?:,| (?:{join_patterns(lambda words: words.personal.called)}))?)\s{{1,3}}",
    re.IGNORECASE,
)
TITLED = re.compile(rf"\b(?:{join_patterns(lambda words: words.personal.titles)})\b\.?\s{{1,3}}")
SIGNED = re.compile(
    rf"\b(?:(?:{join_patterns(lambda words: words.personal.closings)})[,.!\s]"
    rf"|(?:{join_patterns(lambda words: words.personal.thanks)})\s{{0,2}}[,.!\n])\s{{0,4}}",
    re.IGNORECASE,
)
OPENINGS = (
    Opening(INTRODUCED, list_gates("introductions"), any_case=True),
    Opening(PRESENTED, least=2),
    Opening(TITLED),
    Opening(RELATED),
    Opening(SIGNED, list_gates("closings"), signs=True),
    Opening.of_others(lambda cues: cues.introductions, any_case=True),
    Opening.of_others(lambda cues: cues.fields, r" ?:\s{0,3}", any_case=True),
    Opening.of_others(lambda cues: cues.presentations, r"\.?\s{1,3}", least=2),
    Opening.of_others(lambda cues: cues.closings, r"[,.!\s]\s{0,4}", signs=True),
    Opening.of_others(lambda cues: cues.thanks, r"\s{0,2}[,.!\n]\s{0,4}", signs=True),
)
WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['-](?=[^\W\d_])){0,30}")
GAP = re.compile(r"\.?[\"'\u201c\u201d\u00bb)]?[ \t]{1,2}[\"'\u201c\u201d\u201e\u00ab(]?|\.(?=[^\W\d_])")
"""Between the words of a name: a blank, the dot of an initial, the marks of a nickname."""
LINE_END = re.compile(r"[ \t.!]{0,3}(?:\n|$)")
PARTICLES = frozenset(word for each in LANGUAGES for word in load_words(each).personal.name_particles.split())
PARTICLE_PHRASE = re.compile(join_cues(lambda cues: cues.particles), re.IGNORECASE)
PARTICLE_START = re.compile(join_cues(lambda cues: {phrase.split()[0] for phrase in cues.particles}), re.IGNORECASE)
NOT_A_NAME = frozenset(word for each in LANGUAGES for word in load_words(each).personal.no_names.split()) | frozenset(
    word for each in person_cues.LANGUAGES for word in load_person_cues(each).ordinary.split()
)
NOBODY = frozenset(word for each in person_cues.LANGUAGES for word in load_person_cues(each).nobody.split())
MOST_WORDS, MOST_SMALL = 5, 2


def find_names(text: str) -> Iterator[PersonalSpan]:
    """Names after an introduction, a title or a closing formula."""
    lower = text.lower()
    for opening in OPENINGS:
        if any(gate in lower for gate in opening.gates):
            yield from _names_after(opening, text)


def _names_after(opening: Opening, text: str) -> Iterator[PersonalSpan]:
    for found in opening.pattern.finditer(text):
        end = _name_end(text, found.end(), opening.least, opening.any_case)
        if end is not None and (not opening.signs or LINE_END.match(text, end)):
            yield PersonalSpan("NAME", found.end(), end)


def _name_end(text: str, start: int, least: int, any_case: bool) -> int | None:
    """Where the name that starts here ends; None when none does, or one of fewer than `least` words."""
    offset, end, count, named = start, None, 0, 0
    is_capital = True
    while count < MOST_WORDS:
        phrase = PARTICLE_PHRASE.match(text, offset)
        gap = GAP.match(text, phrase.end()) if phrase else None
        if phrase and gap:
            count, offset = count + len(phrase.group().split()), gap.end()
        word = WORD.match(text, offset)
        if word is None:
            break
        letters = word.group()
        if not named:
            is_capital = _is_proper(letters) or letters in PARTICLES
        is_particle = letters in PARTICLES and (is_capital or letters not in NOT_A_NAME)
        is_nobody = not count and letters.lower() in NOBODY
        if is_nobody or not (is_particle or _is_named(letters, is_capital, any_case)):
            break
        count, named = count + 1, named + (not is_particle)
        end = end if is_particle else word.end()
        gap = GAP.match(text, word.end())
        if gap is None or (not is_capital and named == MOST_SMALL) or _ends_sentence(letters, gap.group()):
            break
        offset = gap.end()
    return end if count >= least else None


def _is_named(letters: str, is_capital: bool, any_case: bool) -> bool:
    """Whether a word may be part of a name: one with a capital, or of a name in small letters."""
    return _is_proper(letters) or (any_case and not is_capital and letters.lower() not in NOT_A_NAME)


def _is_proper(letters: str) -> bool:
    return letters[0].isupper() or (letters[1:2] == "'" and letters[2:3].isupper())


def _ends_sentence(letters: str, gap: str) -> bool:
    """A dot ends the sentence unless it stands after an initial, as in `Hans-J.`, or a title."""
    return "." in gap and len(letters) > 3 and letters[-2] != "-"
