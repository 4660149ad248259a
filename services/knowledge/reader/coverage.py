"""How far a text states the terms of a question. Next: candidates.py, which measures it for every unit.

Promises the same share as comparing each term of the question with each of the text, in a small part of the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.languages.weekdays import find_weekdays, weekday_names

_SHORTEST_STEM = 5
_PARTIAL = 0.7
"""How much of a term counts as stated by one that contains it, or that it contains, as compounds do."""
_TEXTS = 4096


class StatedTerms(msgspec.Struct, frozen=True, gc=False):
    """The terms of a text, and the same between spaces, to look for parts of them at once."""

    terms: frozenset[str]
    joined: str


@lru_cache(maxsize=_TEXTS)
def find_stated(text: str, language: str) -> StatedTerms:
    """What a text states, in the terms of `language`'s index; `Monday to Friday` states Wednesday too, in part, so that
    a text that names the day goes before it."""
    stated = state_terms(frozenset(find_terms(text, language)))
    days = find_weekdays(text, language)
    if not days:
        return stated
    spanned = find_terms(" ".join(weekday_names(language)[day] for day in days), language)
    return StatedTerms(stated.terms, " ".join((stated.joined, *spanned)))


def state_terms(terms: frozenset[str]) -> StatedTerms:
    """These terms, to be looked for."""
    return StatedTerms(terms, " ".join(terms))


class AskedTerms:
    """The terms of a question, each with its weight, to be looked for in many texts."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self._weights = tuple(weights.values())
        self._total = sum(self._weights)
        self._parts = tuple((term, _parts_of(term)) for term in weights)

    def degrees(self, stated: StatedTerms) -> tuple[float, ...]:
        """How far each term is stated: 1, or in part by a common stem of a compound, or 0."""
        terms, joined = stated.terms, stated.joined
        found = []
        for term, parts in self._parts:
            if term in terms:
                found.append(1.0)
            else:
                # A term that contains this one is found in the text of all, one that this one contains among its parts.
                found.append(_PARTIAL if parts and (term in joined or not parts.isdisjoint(terms)) else 0.0)
        return tuple(found)

    def share(self, degrees: Sequence[float]) -> float:
        """The share of the question, by weight, that is stated to these degrees."""
        if not self._total:
            return 0.0
        return sum(weight * degree for weight, degree in zip(self._weights, degrees, strict=True)) / self._total


def _parts_of(term: str) -> frozenset[str]:
    """All stems that a term contains; none for a short one, which is no compound."""
    ends = range(_SHORTEST_STEM, len(term) + 1)
    return frozenset(term[start:end] for end in ends for start in range(end - _SHORTEST_STEM + 1))
