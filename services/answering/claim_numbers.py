"""Whether the numbers of a sentence are those of its evidence, in the same unit and of the same thing.

Pure. Next: `sentence_check`; `quantities`, which finds them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tidegate.services.answering.claim_denials import split_clauses
from tidegate.services.answering.quantities import (
    Quantity,
    find_quantities,
    leave_out_quantities,
    quantities_of,
    split_words,
)
from tidegate.services.knowledge.index.keyword import find_terms

WINDOW = 4
"""Words on either side of a number that say what it is the number of."""
CLEARLY = 0.5
"""By how much the words around another number must fit better: more than one word that is a little farther away."""


def wrong_number(sentence: str, parts: Sequence[str], around: str, language: str) -> str:
    """The fault of the first number that has one, or nothing; `around` is what stands over the evidence."""
    words = split_words(sentence)
    stated = split_words(f"{around} . {' '.join(parts)}")
    theirs = find_quantities(stated, language)
    for quantity in find_quantities(words, language):
        same = [each for each in theirs if each.value == quantity.value]
        if not same:
            return f"the number {words[quantity.at]} is not in what it cites"
        fitting = [each for each in same if not quantity.unit or not each.unit or each.unit == quantity.unit]
        if not fitting:
            return f"{words[quantity.at]} has another unit in what it cites"
        if _is_of_something_else(quantity, words, theirs, stated) and not _is_alone_there(
            quantity.value, sentence, parts, language
        ):
            return f"{words[quantity.at]} is the number of something else in what it cites"
    return ""


def _is_of_something_else(
    quantity: Quantity, words: Sequence[str], theirs: Sequence[Quantity], stated: Sequence[str]
) -> bool:
    """Whether the words around the number are those around another number of the same unit."""
    own = _around(quantity, words)
    rivals = [each for each in theirs if each.unit == quantity.unit or each.value == quantity.value]
    overlaps = {each: _shared(own, _around(each, stated)) for each in rivals}
    best = max(overlaps.values(), default=0.0)
    mine = max((overlap for each, overlap in overlaps.items() if each.value == quantity.value), default=0.0)
    return best > mine + CLEARLY


def count_reversed(sentence: str, evidence: str, language: str) -> int:
    """Neighbouring numbers of a clause that stand the other way round in the evidence: "from 16 to 10"."""
    own, theirs = (_neighbours(text, language) for text in (sentence, evidence))
    return sum((other, one) in theirs and (one, other) not in theirs and one != other for one, other in own)


def _neighbours(text: str, language: str) -> set[tuple[str, str]]:
    found = (quantities_of(clause, language) for clause in split_clauses(text))
    return {(one.value, other.value) for each in found for one, other in pairwise(each)}


def _is_alone_there(value: str, sentence: str, parts: Sequence[str], language: str) -> bool:
    """Whether no clause fits better than one whose only number this is: "a glass costs 2 €, a tap 95 €" bears out that
    a tap costs 95 €, though the verb stands by the other number."""
    stated = [clause for clause in split_clauses(sentence) if value in _values(clause, language)]
    own = {term for clause in stated for term in _terms(clause, language)}
    mine: list[int] = []
    others = [0]
    for clause in (clause for part in parts for clause in split_clauses(part)):
        held = _values(clause, language)
        if held:
            (mine if held == {value} else others).append(len(own & _terms(clause, language)))
    return max(mine, default=0) > max(others)


def _values(clause: str, language: str) -> set[str]:
    return {each.value for each in quantities_of(clause, language)}


def _terms(clause: str, language: str) -> set[str]:
    return set(find_terms(leave_out_quantities(clause, language), language))


def _around(quantity: Quantity, words: Sequence[str]) -> dict[str, float]:
    """The words near a number, the nearer the heavier; the nearer place counts for one that is there twice."""
    near: dict[str, float] = {}
    for at in range(max(0, quantity.at - WINDOW), min(len(words), quantity.at + WINDOW + 1)):
        if at != quantity.at:
            near[words[at]] = max(near.get(words[at], 0.0), 1.0 / abs(at - quantity.at))
    return near


def _shared(own: dict[str, float], other: dict[str, float]) -> float:
    return sum(min(weight, other[word]) for word, weight in own.items() if word in other)
