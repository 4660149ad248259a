"""Weighs what the words around a group say: how much surer, in units of a filter's score, it is that it is a name.

Pure; next: person_model.py."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tidegate.services.privacy.dlp.person_context import (
    ASKED,
    FIELD,
    GREETED,
    INTRODUCED,
    LABELLED,
    NOUN_ARTICLES,
    ROLE,
    SAYINGS,
    SENTENCE_START,
    SIGNED,
    STRONG,
    THANKED,
    VERBS,
    PersonContext,
)
from tidegate.services.privacy.dlp.person_words import GIVEN, PersonCandidate, ScoredWord

CERTAIN, LIKELY, HINT, PAIR = math.inf, 1.5, 0.75, 0.25
LINE_END = re.compile(r"[ \t.!,*_-]{0,4}(?:\n|$)")
CLAUSE_END = re.compile(r"\s{0,2}(?:[,!:;\u2013]|-\s|\n|\.|$)")
MOST_SIGNED = 4
"""Words of the longest signature."""


def weigh_context(text: str, words: Sequence[ScoredWord], candidate: PersonCandidate, context: PersonContext) -> float:
    """What to add to the score of a group of words: `CERTAIN` where it is a name whatever the score."""
    if candidate.kind != "NAME":
        return 0.0
    first, last = candidate.first, candidate.last
    inner = range(first, last + 1)
    shown = sum(context.proper[number] or context.initials[number] for number in inner)
    if context.has_capitals and not shown:
        return 0.0
    is_known = any(words[number].known for number in inner if not context.particles[number])
    has_initials = any(context.initials[number] for number in inner[:-1])
    has_particle = any(context.particles[number] == STRONG for number in inner[:-1])
    kind = context.introduced[first]
    if kind >= FIELD:
        return CERTAIN if context.has_capitals or is_known or kind == INTRODUCED else LIKELY
    if has_initials or (has_particle and shown > 1):
        return CERTAIN
    if kind == THANKED and context.has_capitals and CLAUSE_END.match(text, words[last].end):
        return CERTAIN
    if kind in (SIGNED, THANKED):
        is_last = len(inner) <= MOST_SIGNED and LINE_END.match(text, words[last].end) is not None
        return CERTAIN if is_last and (context.has_capitals or kind == SIGNED) else HINT
    if kind in (LABELLED, ROLE):
        is_sure = has_particle or (is_known and context.has_capitals)
        return CERTAIN if is_sure else LIKELY + HINT * (shown > 1)
    if kind == GREETED:
        is_alone = CLAUSE_END.match(text, words[last].end) is not None
        return CERTAIN if is_alone else LIKELY if is_known else 0.0
    return _hints(text, words, candidate, context) + LIKELY * has_particle


def _hints(text: str, words: Sequence[ScoredWord], candidate: PersonCandidate, context: PersonContext) -> float:
    """What stands beside a person more often than elsewhere, each of it a little."""
    first, last = candidate.first, candidate.last
    start = words[first].start
    follows = " ".join(context.plain[last + 1 : last + 3])
    gap = text[words[last].end : words[last + 1].start] if follows else ""
    opens = SENTENCE_START.search(text, max(0, start - 6), start) is not None
    behind = {follows, follows.partition(" ")[0]} if gap.isspace() else set()
    if words[first].known & GIVEN and not behind.isdisjoint(SAYINGS):
        return CERTAIN
    is_followed = not behind.isdisjoint(VERBS)
    if context.introduced[first] == ASKED and is_followed:
        return CERTAIN if words[first].known and context.has_capitals else 2 * LIKELY
    is_led = 0 < context.introduced[first] <= ASKED and (context.has_small_nouns or bool(words[first].known & GIVEN))
    is_noun = context.has_small_nouns and first > 0 and context.plain[first - 1] in NOUN_ARTICLES
    stands_out = context.has_small_nouns and not opens
    is_known = any(words[number].known for number in range(first, last + 1))
    is_beside = is_known and 1 < last + 1 - first == sum(context.proper[first : last + 1])
    return (
        0.0
        if is_noun
        else PAIR * is_beside + HINT * (is_followed + (is_led + stands_out if is_known else is_led or stands_out))
    )
