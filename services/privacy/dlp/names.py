"""Finds names by the words around them; a name that nothing introduces is not found. Next: phones.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tidegate.services.languages.words import LANGUAGES, join_patterns, list_gates, load_words
from tidegate.services.privacy.dlp.finding import PersonalSpan

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
WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|['-](?=[^\W\d_])){0,30}")
GAP = re.compile(r"\.?[\"'\u201c\u201d\u00bb)]?[ \t]{1,2}[\"'\u201c\u201d\u201e\u00ab(]?|\.(?=[^\W\d_])")
"""Between the words of a name: a blank, the dot of an initial, the marks of a nickname."""
LINE_END = re.compile(r"[ \t.!]{0,3}(?:\n|$)")
PARTICLES = frozenset(word for each in LANGUAGES for word in load_words(each).personal.name_particles.split())
NOT_A_NAME = frozenset(word for each in LANGUAGES for word in load_words(each).personal.no_names.split())
MOST_WORDS = 5
INTRODUCED_GATES, SIGNED_GATES = list_gates("introductions"), list_gates("closings")


def find_names(text: str) -> Iterator[PersonalSpan]:
    """Names after an introduction, a title or a closing formula."""
    lower = text.lower()
    if any(word in lower for word in INTRODUCED_GATES):
        yield from _names_after(INTRODUCED, text, any_case=True)
    yield from _names_after(PRESENTED, text, least=2)
    yield from _names_after(TITLED, text)
    yield from _names_after(RELATED, text)
    if any(word in lower for word in SIGNED_GATES):
        yield from (span for span in _names_after(SIGNED, text) if LINE_END.match(text, span.end))


def _names_after(opening: re.Pattern[str], text: str, least: int = 1, any_case: bool = False) -> Iterator[PersonalSpan]:
    for found in opening.finditer(text):
        end = _name_end(text, found.end(), least, any_case)
        if end is not None:
            yield PersonalSpan("NAME", found.end(), end)


def _name_end(text: str, start: int, least: int, any_case: bool) -> int | None:
    """Where the name that starts here ends; None when none does, or one of fewer than `least` words."""
    offset, end, count = start, None, 0
    is_capital = True
    while count < MOST_WORDS:
        word = WORD.match(text, offset)
        if word is None:
            break
        letters = word.group()
        is_particle = letters in PARTICLES
        if count == 0:
            is_capital = _is_proper(letters)
        if (
            not _is_proper(letters)
            and not is_particle
            and (is_capital or not any_case or letters.lower() in NOT_A_NAME)
        ):
            break
        count += 1
        end = end if is_particle else word.end()
        gap = GAP.match(text, word.end())
        if gap is None or (not is_capital and count == 2) or _ends_sentence(letters, gap.group()):
            break
        offset = gap.end()
    return end if count >= least else None


def _is_proper(letters: str) -> bool:
    return letters[0].isupper() or (letters[1:2] == "'" and letters[2:3].isupper())


def _ends_sentence(letters: str, gap: str) -> bool:
    """A dot ends the sentence unless it stands after an initial or a title."""
    return "." in gap and len(letters) > 3
