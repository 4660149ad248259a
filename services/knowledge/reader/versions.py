"""Puts what holds now before what held once or will hold, where documents state several versions of one thing.

Promises that a unit without a dated rival stays where it is. Next: validity.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.answer_type import expected_kind, has_value
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.validity import Validity, choose_current, read_validity

NEAR_VERSION = 0.35
"""How far below the best unit another may score and still be a version of it."""
LEAST_SHARED = 0.5
"""Share of the fewer words that two versions have in common, besides numbers and dates."""
_MOST_RIVALS = 12
_ASKED_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_DIGIT = re.compile(r"\d")


def prefer_current(ranked: Sequence[Candidate], question: str, today: date) -> list[Candidate]:
    """The units, best first, without those that a version that holds on the day asked about takes the place of.

    That day is today, or lies in the year that the question names.
    """
    if not ranked:
        return []
    kind = expected_kind(question)
    best = ranked[0]
    versions = [best]
    for other in ranked[1:_MOST_RIVALS]:
        is_rival = other.score >= best.score - NEAR_VERSION and _is_about_the_same(best, other)
        if is_rival and (kind is None or has_value(other.plain_text, kind)):
            versions.append(other)
    validities = [validity_of(each) for each in versions]
    if len(versions) < 2 or not any(each.is_dated for each in validities):
        return list(ranked)
    day = _day_asked(question, today)
    chosen = choose_current(validities, day)
    gone = {
        each.span
        for index, (each, validity) in enumerate(zip(versions, validities, strict=True))
        if index != chosen and (validity.is_dated or index < chosen)
    }
    return [versions[chosen], *(each for each in ranked if each.span not in gone | {versions[chosen].span})]


def validity_of(each: Candidate) -> Validity:
    """What the unit states, else its heading, else its document."""
    language = each.passage.language
    for text in (each.plain_text, each.unit.heading):
        found = read_validity(text, language)
        if found.is_dated:
            return found
    return each.document_validity


def _day_asked(question: str, today: date) -> date:
    years = [int(year) for year in _ASKED_YEAR.findall(question)]
    return today if not years or today.year in years else date(years[-1], 7, 1)


def _is_about_the_same(one: Candidate, other: Candidate) -> bool:
    """Whether two units of one section, or of two documents that state when they hold, share most of their words."""
    is_near = one.passage.document_id == other.passage.document_id
    if not is_near and not (one.document_validity.is_dated and other.document_validity.is_dated):
        return False
    first, second = _terms(one), _terms(other)
    return len(first & second) >= LEAST_SHARED * min(len(first), len(second)) > 0


def _terms(each: Candidate) -> frozenset[str]:
    found = find_terms(each.plain_text, each.passage.language)
    return frozenset(term for term in found if not _DIGIT.search(term))
