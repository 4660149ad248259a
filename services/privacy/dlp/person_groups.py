"""Groups the words that may be a name or an address together: by lists, capitals, introductions, and a model's shares.

Pure; training and the product share it. Next: person_evidence.py, which weighs what stands around a group."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from tidegate.services.languages.compounds import is_part
from tidegate.services.privacy.dlp.person_context import (
    ASKED,
    FIELD,
    INTRODUCED,
    JOINT,
    LABELLED,
    NO_NAMES,
    ORDINARY,
    ROLES,
    SENTENCE_START,
    SIGNED,
    STRONG,
    VERBS,
    PersonContext,
)
from tidegate.services.privacy.dlp.person_words import GIVEN, LABELS, Columns, PersonCandidate, ScoredWord

LEAST = 0.35
"""The probability of a kind that one word of a candidate has at least; the filter decides what becomes of it."""
JOINED = 0.2
"""And that which each of its words has."""
KNOWN, BESIDE = 0.5, 0.25
"""What counts instead for a word in the lists of names, and for one that stands beside such a word."""
GAP = re.compile(r"\.?[\"'\u201c\u201d\u201e\u00ab\u00bb)]?\s{1,3}[\"'\u201c\u201d\u201e\u00ab\u00bb(]?|\.")
"""Between the words of a name: white space, the dot of an initial, the marks of a nickname."""
ADDRESS_GAP = re.compile(r"[\s,./\u2013-]{1,3}")
NAME_END = re.compile(r"[ \t.]{0,2}(?:[,;\n]|$)")
"""What stands behind a name in a form."""
MOST_WORDS = {"NAME": 5, "ADDRESS": 12}
SHORT_SURNAME = 5
"""Letters of a surname in small letters behind a given name, where nothing else tells it."""
INITIALS = 3
"""Letters of the longest word that a dot may stand behind within a name, and of the shortest name in small letters."""


def find_candidates(
    text: str, words: Sequence[ScoredWord], columns: Columns, context: PersonContext
) -> Iterator[PersonCandidate]:
    """Runs of neighbouring words of each kind."""
    if not words:
        return
    table = np.stack([word.shares for word in words])
    for kind, labels in LABELS.items():
        wanted = [column for label in labels for column in columns(label)]
        masses: list[float] = table[:, wanted].sum(axis=1).tolist()
        if kind == "NAME":
            _raise_known(text, words, masses, context)
        for run in _runs(text, words, masses, kind, context):
            first, last = _trimmed(words, *run, context) if kind == "NAME" else run
            if max(masses[first : last + 1]) >= LEAST:
                yield PersonCandidate(kind, first, last)


def _raise_known(text: str, words: Sequence[ScoredWord], masses: list[float], context: PersonContext) -> None:
    """Let what is known of words speak beside the model: lists of names, capitals, introductions, initials."""
    near = [_is_near(text, one, other, "NAME") for one, other in pairwise(words)]
    for number, word in enumerate(words):
        if word.known and (context.proper[number] or not context.has_capitals) and _may_be_named(context, number):
            masses[number] = max(masses[number], KNOWN)
        elif context.initials[number] or _is_introduced(context, number):
            masses[number] = max(masses[number], LEAST)
    for number in range(1, len(words)):
        if near[number - 1]:
            _raise_beside(text, words, masses, context, number)
        elif _is_family_first(text, words, number, context):
            masses[number] = max(masses[number], LEAST)


def _raise_beside(
    text: str, words: Sequence[ScoredWord], masses: list[float], context: PersonContext, number: int
) -> None:
    """Let a word go on with the name before it, where it may."""
    if context.particles[number]:
        is_sure = context.particles[number] == STRONG or context.spelled[number][0].isupper()
        if masses[number - 1] >= JOINED or (is_sure and context.proper[number - 1]):
            masses[number] = max(masses[number], BESIDE)
            masses[number - 1] = max(masses[number - 1], BESIDE)
    elif _may_join(words, context, number) and _joins(words, context, masses, number):
        masses[number] = max(masses[number], LEAST)
        opens = SENTENCE_START.search(text, max(0, words[number - 1].start - 6), words[number - 1].start) is not None
        if context.proper[number - 1] and not (opens and words[number].known & GIVEN):
            masses[number - 1] = max(masses[number - 1], LEAST)
    elif not context.has_capitals and _joins_small(text, words, masses, context, number):
        masses[number] = max(masses[number], LEAST)


def _may_join(words: Sequence[ScoredWord], context: PersonContext, number: int) -> bool:
    """Whether a word may be a surname behind another word: a role is one behind a given name alone."""
    is_role = context.plain[number] in ROLES and context.spelled[number][0].isupper()
    follows_given = context.proper[number - 1] and bool(words[number - 1].known & GIVEN)
    return context.proper[number] or _is_elided(context.spelled[number]) or (is_role and follows_given)


def _may_be_named(context: PersonContext, number: int) -> bool:
    word = context.plain[number]
    return word not in NO_NAMES and word not in VERBS and not context.particles[number]


def _is_introduced(context: PersonContext, number: int) -> bool:
    """Whether a word stands where a name does; in small letters only behind what is sure."""
    kind = context.introduced[number]
    if context.proper[number]:
        is_framed = kind == ASKED and number + 1 < len(context.plain) and context.plain[number + 1] in VERBS
        return kind > ASKED or is_framed
    is_long = len(context.plain[number]) >= INITIALS
    return kind >= SIGNED and is_long and not context.has_capitals and _may_be_named(context, number)


def _joins(words: Sequence[ScoredWord], context: PersonContext, masses: Sequence[float], number: int) -> bool:
    """Whether a word with a capital goes on with what stands before it: a name, initials, or a particle of one."""
    before = number - 1
    if context.initials[before] or (context.proper[before] and context.proper[number]):
        return True
    if not context.particles[before]:
        return bool(words[before].known & GIVEN) and context.proper[before]
    is_sure = context.particles[before] == STRONG or context.spelled[before][0].isupper()
    if is_sure or masses[before] < BESIDE:
        return is_sure
    named = before
    while named and context.particles[named]:
        named -= 1
    is_given = bool(words[named].known & GIVEN) or context.initials[named]
    is_article = context.particles[before] < JOINT and context.plain[before] in ORDINARY
    return context.has_small_nouns or context.spelled[before] == "van" or (is_given and not is_article)


def _is_elided(word: str) -> bool:
    """Whether a word is as in d'Argenson."""
    return word[:1].islower() and word[1:2] in "'\u2019" and word[2:3].isupper()


def _joins_small(
    text: str, words: Sequence[ScoredWord], masses: Sequence[float], context: PersonContext, number: int
) -> bool:
    """Whether a word in small letters goes on with a name: behind particles, or as the second word where it ends."""
    before = number - 1
    if not _may_be_named(context, number) or masses[before] < JOINED:
        return False
    if context.particles[before] >= JOINT or context.introduced[before] == INTRODUCED:
        return True
    is_introduced = context.introduced[before] >= LABELLED and not context.particles[before]
    if is_introduced and context.introduced[before] >= SIGNED and words[before].known == GIVEN:
        return True
    is_last = number + 1 == len(words) or not text[words[number].end : words[number + 1].start].isspace()
    goes_on = is_introduced or (words[before].known == GIVEN and _may_be_surname(context, number))
    return goes_on and (is_last or context.plain[number + 1] in ORDINARY)


def _may_be_surname(context: PersonContext, number: int) -> bool:
    """Whether a word in small letters behind a given name may be no other word: it has neither the end of a German verb
    form nor is it a noun."""
    pair = context.spelled[number - 1 : number + 1]
    is_verb = pair[1].endswith(("t", "en", "e")) or len(pair[1]) < SHORT_SURNAME
    return not is_verb and not any(is_part(word, "de") for word in pair)


def _is_near(text: str, word: ScoredWord, other: ScoredWord, kind: str) -> bool:
    """Whether no more stands between two words than does in a name or an address; a dot behind a long word ends a
    sentence."""
    if kind != "NAME":
        return ADDRESS_GAP.fullmatch(text, word.end, other.start) is not None
    is_short = word.end - word.start <= INITIALS or text[word.end - 2] == "-"  # as in Hans-J.
    if text[word.end] == "." and not is_short:
        return False
    if "\n" in text[word.end : other.start] and text[other.end : other.end + 1] == ":":
        return False  # the label of the next line
    return GAP.fullmatch(text, word.end, other.start) is not None


def _runs(
    text: str, words: Sequence[ScoredWord], masses: Sequence[float], kind: str, context: PersonContext
) -> Iterator[tuple[int, int]]:
    """First and last of each run of words that may belong to the kind, with no more between them than it allows;
    particles of a name are not counted."""
    first: int | None = None
    for number, word in enumerate(words):
        joins = masses[number] >= JOINED
        if first is not None:
            is_near = joins and (
                _is_near(text, words[number - 1], word, kind)
                or (kind == "NAME" and number == first + 1 and _is_family_first(text, words, number, context))
            )
            inner = range(first, number)
            length = sum(kind != "NAME" or not context.particles[each] for each in inner)
            if not is_near or length >= MOST_WORDS[kind]:
                yield first, number - 1
                first = None
        if joins and first is None:
            first = number
    if first is not None:
        yield first, len(words) - 1


def _is_family_first(text: str, words: Sequence[ScoredWord], number: int, context: PersonContext) -> bool:
    """Whether a given name follows a surname and a comma behind a label, as in `Mieter: Tobler, Urs`: one that is
    listed, or a word that ends the clause and is no noun."""
    gap = text[words[number - 1].end : words[number].start]
    is_labelled = context.introduced[number - 1] in (LABELLED, FIELD) and not words[number - 1].known & GIVEN
    if gap.rstrip() != "," or not is_labelled or not (context.proper[number - 1] and context.proper[number]):
        return False
    pair = context.spelled[number - 1 : number + 1]
    ends = NAME_END.match(text, words[number].end) is not None
    return bool(words[number].known & GIVEN) or (ends and not any(is_part(word, "de") for word in pair))


def _trimmed(words: Sequence[ScoredWord], first: int, last: int, context: PersonContext) -> tuple[int, int]:
    """Without particles at the end, and with those before it that belong to a surname alone."""
    while last > first and context.particles[last]:
        last -= 1
    begin = first
    while begin and context.particles[begin - 1] and words[begin].start - words[begin - 1].end <= INITIALS:
        begin -= 1
    is_surname = (
        min(context.introduced[begin], context.introduced[first]) >= LABELLED
        or STRONG in context.particles[begin:first]
    )
    return (begin if is_surname else first), last
