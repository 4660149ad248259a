"""What the words around a group of words say of whether it names a person: introductions, roles, greetings, initials.

Lists of names and a model know few names of some languages; the words around names are the same for all of them.
Pure; next: person_words.py, which groups words, and person_evidence.py, which weighs what is read here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from tidegate.services.languages.identity_words import list_identity_words
from tidegate.services.languages.person_cues import LANGUAGES, PersonCues, list_cues, load_person_cues
from tidegate.services.languages.person_names import plain_name
from tidegate.services.languages.words import LANGUAGES as SPOKEN
from tidegate.services.languages.words import load_words
from tidegate.services.privacy.dlp.names import NOBODY, PARTICLES

LED, ASKED, GREETED, THANKED, LABELLED, ROLE, SIGNED, FIELD, TITLED, PRESENTED, INTRODUCED = range(1, 12)
"""How a word is introduced, the surest last; 0: not at all. Behind what often stands before a person, a verb that asks
of one, a greeting, thanks, the label of a form, a role, a closing, a field for a name, a title, what presents a person,
and what introduces one in small letters too."""
WORD = re.compile(r"[^\W_]+(?:(?:['\u2019.-]|(?<![^\W_]{2})\.-)[^\W_]+)*")
"""A word, initials with a hyphen (`H.-P`) among them."""
OPEN, CLOSE = r"[\"'\u201c\u201e\u00ab(*_]{0,2}", r"[\"'\u201c\u201d\u00bb)*_]{0,2}"
GAPS = (
    dict.fromkeys((LED, ASKED, GREETED, TITLED), re.compile(rf"\.?{CLOSE}\s{{1,3}}{OPEN}"))
    | {
        INTRODUCED: re.compile(rf"\.?{CLOSE}[:,]?{CLOSE}\s{{1,3}}{OPEN}"),
        PRESENTED: re.compile(rf"\.?{CLOSE}[:,]?{CLOSE}\s{{1,3}}{OPEN}"),
        ROLE: re.compile(rf"\.?{CLOSE},?\s{{1,3}}{OPEN}"),
        SIGNED: re.compile(r"[\s,.!*_-]{1,6}"),
        THANKED: re.compile(r"\s{0,2}[,.!]?[\s*_-]{1,4}"),
    }
    | dict.fromkeys((FIELD, LABELLED), re.compile(rf"\.?{CLOSE}\s{{0,2}}[:=]{CLOSE}\s{{0,3}}{OPEN}"))
)
"""What stands between an introduction of each kind and the name."""
INITIALS = re.compile(r"[^\W\d_](?:\.-?[^\W\d_]){0,3}")
NO_INITIALS = frozenset({"u.s", "u.k", "e.u", "n.v", "b.v", "s.a", "p.s", "d.c", "q.a", "z.b", "d.h", "u.a"})
CONTINUES = re.compile(r"\.?[ \t]{1,3}")
"""What does not end a clause."""
SENTENCE_START = re.compile(r"(?:^|[.!?:\n])[\s\"'\u00ab\u201e\u00bf\u00a1(-]*$")
LONGEST = 4
"""Words of the longest phrase."""
WEAK, JOINT, STRONG = 1, 2, 3
"""A particle by itself, one of several or with a capital, and those that stand in surnames alone."""
FEW_LETTERS, FEW_WORDS = 3, 3
"""The longest gap within a name; so few words in capitals may be initials and signs."""
TELLING = 2
"""So many words of a language that writes nouns with a small letter make a text one of it."""


class Span(Protocol):
    """Where a word is."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


def in_plain_words(phrase: str) -> str:
    """The words of a phrase in plain form, with one blank between two."""
    return " ".join(plain_name(word) for word in WORD.findall(phrase))


def _phrases(*kinds: tuple[int, Callable[[PersonCues], Sequence[str]]]) -> dict[str, int]:
    return {in_plain_words(phrase): kind for kind, choose in kinds for phrase in list_cues(choose)}


TITLES = frozenset(plain_name(word) for word in list_identity_words("TITLE"))
INTRODUCTIONS = _phrases(
    (LED, lambda cues: cues.leads),
    (ASKED, lambda cues: cues.questions),
    (GREETED, lambda cues: cues.greetings),
    (ROLE, lambda cues: (*cues.roles, *cues.announcements)),
    (THANKED, lambda cues: cues.thanks),
    (SIGNED, lambda cues: cues.closings),
    (PRESENTED, lambda cues: cues.presentations),
    (INTRODUCED, lambda cues: cues.introductions),
) | dict.fromkeys(TITLES, TITLED)
FIELDS = _phrases((LABELLED, lambda cues: cues.labels), (FIELD, lambda cues: cues.fields))
LAST_WORDS = frozenset(phrase.rpartition(" ")[2] for phrase in (*INTRODUCTIONS, *FIELDS))
OPENERS = frozenset(phrase for phrase in INTRODUCTIONS if " " not in phrase)
VERBS = frozenset(_phrases((LED, lambda cues: (*cues.verbs, *cues.sayings))))
SAYINGS = frozenset(_phrases((LED, lambda cues: cues.sayings)))
PARTICLE_PHRASES = dict.fromkeys(PARTICLES, WEAK) | _phrases(
    (WEAK, lambda cues: cues.weak_particles), (STRONG, lambda cues: cues.particles)
)
ROLES = frozenset(_phrases((ROLE, lambda cues: cues.roles)))
ORDINARY = frozenset(
    plain_name(word)
    for words in map(load_words, SPOKEN)
    for word in f"{words.stop_words} {words.personal.no_names} {' '.join(words.open_questions)}".split()
) | frozenset(plain_name(word) for language in LANGUAGES for word in load_person_cues(language).ordinary.split())
"""Words that are no part of a name though they stand beside one, with a capital where they open a sentence."""
STARTS = (
    ORDINARY | {plain_name(word) for language in LANGUAGES for word in load_person_cues(language).starts.split()}
) - PARTICLES
"""Words with which a sentence begins behind a letter that ends one, as in `block B. Can I`."""
ARTICLES = PARTICLES & ORDINARY
"""Particles that stand before other words far more often."""
NO_NAMES = ORDINARY | TITLES | ROLES | NOBODY
NOUN_ARTICLES = frozenset(word for language in LANGUAGES for word in load_person_cues(language).articles.split())
TELLING_WORDS = frozenset(word for language in LANGUAGES for word in load_person_cues(language).telling.split())


class PersonContext(NamedTuple):
    """What is known of each word of a text beside lists of names."""

    spelled: list[str]
    plain: list[str]
    introduced: list[int]
    particles: list[int]
    """0, `WEAK`, `JOINT` or `STRONG`."""
    initials: list[bool]
    proper: list[bool]
    """Whether its capital may say that it is a name."""
    has_capitals: bool
    has_small_nouns: bool
    """Whether words of the text are of a language that writes nouns with a small letter."""


def lower_capitals(text: str) -> str:
    """The text in small letters where it has no other words than in capitals, of which none then says anything."""
    if any(map(str.islower, text)) or len(WORD.findall(text)) < FEW_WORDS:
        return text
    low = text.lower()
    return low if len(low) == len(text) else text


def read_context(text: str, words: Sequence[Span]) -> PersonContext:
    """What stands around each word of a text."""
    spelled = [text[word.start : word.end] for word in words]
    plain = [plain_name(each) for each in spelled]
    has_capitals = any(map(str.isupper, text))
    particles = _find_particles(text, words, spelled, plain)
    introduced = _find_introductions(text, words, plain)
    initials = [
        _has_initials_form(text, words, number, has_capitals)
        and (
            introduced[number] > ASKED
            or not (
                _belongs_to_word_before(text, words, number)
                or _ends_sentence(spelled, plain, number, introduced[number])
            )
        )
        for number in range(len(words))
    ]
    proper = [
        each[0].isupper()
        and low not in NO_NAMES
        and not (low in OPENERS and SENTENCE_START.search(text, max(0, word.start - 6), word.start))
        for each, low, word in zip(spelled, plain, words, strict=True)
    ]
    for number in range(1, len(words)):
        if introduced[number] > TITLED:
            proper[number - 1] = initials[number - 1] = False  # the last word of what presents the name
    telling = len(TELLING_WORDS.intersection(plain)) >= TELLING
    context = PersonContext(spelled, plain, introduced, particles, initials, proper, has_capitals, telling)
    for number in range(1, len(words)):
        if introduced[number - 1] and _passes(context, number - 1) and _stands_behind(text, words, number):
            introduced[number] = max(introduced[number], introduced[number - 1])
    return context


def _passes(context: PersonContext, number: int) -> bool:
    """Whether what introduces a word introduces the next one: the word is initials, or a particle and no article."""
    is_written_large = context.particles[number] == JOINT and context.spelled[number].istitle()
    if context.initials[number] or context.particles[number] == STRONG or is_written_large:
        return True
    is_sure = context.introduced[number] >= TITLED or context.has_small_nouns
    is_article = context.plain[number] in ORDINARY and context.particles[number] == WEAK
    is_titled = context.introduced[number] == TITLED and context.has_capitals
    return bool(context.particles[number]) and is_sure and (is_titled or not is_article)


def _stands_behind(text: str, words: Sequence[Span], number: int) -> bool:
    gap = text[words[number - 1].end : words[number].start]
    return len(gap) <= FEW_LETTERS and not gap.strip(" \t\n.'")


def _find_introductions(text: str, words: Sequence[Span], plain: Sequence[str]) -> list[int]:
    introduced = [0] * len(words)
    for number in range(len(words) - 1):
        if plain[number] not in LAST_WORDS:
            continue
        gap = text[words[number].end : words[number + 1].start]
        for kind in _ending_at(plain, number):
            if GAPS[kind].fullmatch(gap):
                introduced[number + 1] = max(introduced[number + 1], kind)
    return introduced


def _ending_at(plain: Sequence[str], number: int) -> Iterator[int]:
    """What the phrases introduce whose last word is that one."""
    for length in range(1, min(LONGEST, number + 1) + 1):
        phrase = " ".join(plain[number + 1 - length : number + 1])
        if phrase in INTRODUCTIONS:
            yield INTRODUCTIONS[phrase]
        if phrase in FIELDS:
            yield FIELDS[phrase]


def _find_particles(text: str, words: Sequence[Span], spelled: Sequence[str], plain: Sequence[str]) -> list[int]:
    """Which words are particles: in small letters, or the first of several with a capital."""
    found = [PARTICLE_PHRASES.get(each, 0) for each in spelled]
    for number in range(1, len(words) - 1):
        if spelled[number].istitle() and plain[number] in ARTICLES and spelled[number + 1][0].isupper():
            found[number] = JOINT
    for number in range(len(words) - 1):
        phrase = f"{plain[number]} {plain[number + 1]}"
        strength = PARTICLE_PHRASES.get(phrase, 0)
        if strength and spelled[number + 1].islower() and _stands_behind(text, words, number + 1):
            found[number : number + 2] = (max(strength, JOINT, each) for each in found[number : number + 2])
    return found


def _has_initials_form(text: str, words: Sequence[Span], number: int, has_capitals: bool) -> bool:
    """Whether a word is letters with dots, and another word follows: as K. or J.R. before a surname."""
    word = words[number]
    letters = text[word.start : word.end]
    if number + 1 == len(words) or text[word.end : word.end + 1] != "." or not INITIALS.fullmatch(letters):
        return False
    is_other = letters.islower() == has_capitals or letters.lower() in NO_INITIALS
    return not is_other and _stands_behind(text, words, number + 1)


def _ends_sentence(spelled: Sequence[str], plain: Sequence[str], number: int, introduced: int) -> bool:
    """Whether the word behind a letter and its dot begins a sentence; a name that is led to may be such a word."""
    begins = spelled[number + 1][0].isupper() and plain[number + 1] in STARTS
    return begins and number > 0 and not introduced


def _belongs_to_word_before(text: str, words: Sequence[Span], number: int) -> bool:
    """Whether a letter goes with the word before it, as in `Gate B.` and `z. B.`."""
    if not number or CONTINUES.fullmatch(text, words[number - 1].end, words[number].start) is None:
        return False
    before = text[words[number - 1].start : words[number - 1].end]
    if len(before) == 1 and text[words[number - 1].end] == ".":
        return before.islower()  # another initial has a capital
    return not (before.islower() or plain_name(before) in OPENERS)
