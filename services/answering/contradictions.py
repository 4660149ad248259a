"""Whether passages that were found beside the cited ones say otherwise: the same sentence with another number.

Two copies of a document of which one is out of date, or a list that was edited at one site, look so. By rules alone,
and rather too lenient: what stands under another title or heading, or in other words, is another statement. Pure.
Next: `verifier`, which asks; `quantities`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from tidegate.schemas import Citation, Passage
from tidegate.schemas.answer import overlaps
from tidegate.services.answering.quantities import find_quantities, leave_out_quantities, split_words
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.sentences import split_sentences
from tidegate.services.languages.words import LANGUAGES

SAME_FROM = 0.8
"""Share of the terms of two sentences, numbers left out, that both must hold to state the same."""
FEWEST_TERMS = 2


class Statement(NamedTuple):
    """A sentence with numbers in it: under which words it stands, its other terms, and its numbers with their units."""

    text: str
    under: frozenset[str]
    terms: frozenset[str]
    values: frozenset[tuple[str, str]]


def find_contradictions(citations: Sequence[Citation], passages: Sequence[Passage]) -> tuple[tuple[str, str], ...]:
    """Pairs of a cited sentence and one of another passage that contradicts it."""
    found = []
    for citation in citations:
        for passage in passages:
            if passage.document_id != citation.document_id or not passage.start <= citation.start < passage.end:
                continue
            span = (citation.start - passage.start, citation.end - passage.start)
            cited = [*_statements(passage, [span])]
            # Most quotations state no number, and most passages stand under other words: these need not be read.
            alike = [other for other in passages if cited and _stands_under(other) == cited[0].under]
            others = [each for other in alike for each in _statements(other, _cited_in(other, citations), False)]
            found += [(one.text, each.text) for one in cited for each in others if contradicts(one, each)]
            break
    return tuple(dict.fromkeys(found))


def contradicts(one: Statement, other: Statement) -> bool:
    """Whether both state the same, with numbers of the same units of which none is the same."""
    if one.under != other.under or len(one.terms) < FEWEST_TERMS:
        return False
    if len(one.terms & other.terms) < SAME_FROM * len(one.terms | other.terms):
        return False
    units = sorted(unit for _, unit in one.values)
    return units == sorted(unit for _, unit in other.values) and not one.values & other.values


def _cited_in(passage: Passage, citations: Iterable[Citation]) -> list[tuple[int, int]]:
    return [
        (each.start - passage.start, each.end - passage.start)
        for each in citations
        if each.document_id == passage.document_id
    ]


def _stands_under(passage: Passage) -> frozenset[str]:
    known = passage.language in LANGUAGES
    return frozenset(find_terms(f"{passage.title} {passage.heading}", passage.language)) if known else frozenset()


def _statements(passage: Passage, spans: Sequence[tuple[int, int]], is_inside: bool = True) -> Iterator[Statement]:
    """The sentences of a passage that have numbers, inside of these spans, or outside of all of them."""
    language = passage.language
    if language not in LANGUAGES:
        return
    under = _stands_under(passage)
    for start, end in split_sentences(passage.text, 0, len(passage.text)):
        if overlaps(spans, start, end) is not is_inside:
            continue
        text = passage.text[start:end]
        quantities = find_quantities(split_words(text), language)
        if quantities:
            terms = frozenset(find_terms(leave_out_quantities(text, language), language))
            yield Statement(text.strip(), under, terms, frozenset((each.value, each.unit) for each in quantities))
