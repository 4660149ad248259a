"""Lists of single values that the encoder reads: which fields they are, and which of the values it scored are items.

Promises values that stand in the text, none of them in another. Next: arrays.py, which reads lists by their layout."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import msgspec

from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.field_reader import Odds, is_chosen
from tidegate.services.knowledge.extraction.filler import IN_DOUBT, FilledField
from tidegate.services.knowledge.extraction.ranker import ABSENT_FEATURES, FieldRows
from tidegate.services.knowledge.extraction.schema import Field, Schema
from tidegate.services.knowledge.extraction.terms import FieldQuery, asked_of
from tidegate.services.languages.extraction_words import any_of
from tidegate.services.languages.words import join_patterns

LEAST = 2.0
"""The log-odds from which the likeliest value is an item."""
SPREAD, FARTHEST = 0.5, 6.0
"""How much less likely another may be, and one that is listed beside an item."""
LEAST_NAMED = 0.3
"""How much of its name a text must say for a list to be read that may be left out."""
CONFIDENCE = 0.45
"""How often such a list was right, all its items together."""
_NAMED = ABSENT_FEATURES.index("named")
_LONGEST_GAP = 40
_AND = join_patterns(lambda words: words.conjunctions)
_BETWEEN = re.compile(
    rf"(?:\s?\([^()\n]*\))?\s*(?:[,;/&+\n]|\b(?:{_AND})\b|{any_of('alternatives')})\s*(?:\w{{1,6}}\s)?",
    re.IGNORECASE,
)
_DENIED = re.compile(rf"\b(?:{any_of('negations')})\s(?:(?:{any_of('articles')})\s)?$", re.IGNORECASE)
_JOINED = re.compile(rf"\s(?:{_AND}|&)\s", re.IGNORECASE)


class ScoredItem(NamedTuple):
    """A value with its log-odds."""

    odds: float
    candidate: ValueCandidate


_odds = attrgetter("odds")


def lists_of(field: Field) -> list[FieldQuery]:
    """The arrays of single values in a field, each asked for as one of its items is."""
    if field.kind == "array":
        items = field.items
        if items is None or items.kind in ("object", "array", "boolean") or not field.name:
            return []
        own = msgspec.structs.replace(
            items, name=field.name, path=field.path, title=field.title, description=field.description
        )
        return [asked_of(own)]
    return [each for one in field.properties for each in lists_of(one)]


def read_list(
    field: Field, described: FieldRows, odds: Odds, schema: Schema, text: str, others: Sequence[FilledField] = ()
) -> FilledField | None:
    """The items of the array `field` that were read, in the order of the text: the likeliest value with those that are
    listed beside it, and what is about as likely; nothing that is the value of one of the `others`. None where none is
    likely enough, or what was found is not valid."""
    is_open = field.is_nullable or not field.is_required
    if not len(odds) or is_chosen(described) or (is_open and described.absent[_NAMED] < LEAST_NAMED):
        return None
    taken = [(each.start, each.end) for each in others if not each.is_absent and each.confidence >= IN_DOUBT]
    scored = [
        ScoredItem(float(own), each)
        for own, each in zip(odds, described.candidates, strict=True)
        if not (_JOINED.search(text, each.start, each.end) or _DENIED.search(text[: each.start]))
        and not any(each.overlaps(*span) for span in taken)
    ]
    best = max(scored, key=_odds, default=None)
    if best is None or best.odds < LEAST:
        return None
    found = [best]
    for each in sorted(scored, key=_odds, reverse=True):
        if each.odds >= best.odds - SPREAD and _look(each) == _look(best) and not _overlaps(each, found):
            found.append(each)
    while (beside := _beside(found, scored, text)) is not None:
        found.append(beside)
    found.sort(key=lambda each: each.candidate.start)
    values = list(dict.fromkeys(each.candidate.value for each in found))
    if not schema.fits(field.part, values):
        return None
    return FilledField(field, values, found[0].candidate.start, found[-1].candidate.end, CONFIDENCE)


def _beside(found: list[ScoredItem], scored: list[ScoredItem], text: str) -> ScoredItem | None:
    """The likeliest value that is listed right before or behind one of the items and looks as it does."""
    beside = [
        each
        for each in scored
        if not _overlaps(each, found)
        and any(_are_listed(one, each, text) or _are_listed(each, one, text) for one in found)
        and each.odds >= found[0].odds - FARTHEST
    ]
    return max(beside, key=_odds, default=None)


def _are_listed(first: ScoredItem, second: ScoredItem, text: str) -> bool:
    """Whether nothing but a comma, a conjunction or a remark in brackets stands between two values of one look."""
    gap = second.candidate.start - first.candidate.end
    between = text[first.candidate.end : second.candidate.start]
    return 0 < gap <= _LONGEST_GAP and _look(first) == _look(second) and _BETWEEN.fullmatch(between) is not None


def _look(item: ScoredItem) -> bool:
    """Whether a value begins with a digit, which tells numbers and codes from names and things."""
    return str(item.candidate.value)[:1].isdigit()


def _overlaps(item: ScoredItem, others: list[ScoredItem]) -> bool:
    return any(item.candidate.overlaps(each.candidate.start, each.candidate.end) for each in others)
