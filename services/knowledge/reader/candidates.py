"""The spans that may answer a question, each with its features and its score.

Promises that every span is verbatim in its document. Next: evidence.py, reader.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from tidegate.schemas import Passage
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Unit, cut_into_chunks, render_unit
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import with_heading
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.answer_type import expected_kind, has_value
from tidegate.services.knowledge.reader.validity import Validity
from tidegate.services.knowledge.text_embedder import TextEmbedder, Vector

WEIGHTS = {"similarity": 1.0, "coverage": 0.15, "heading": 0.5, "passage": 0.15, "kind": 0.1, "language": 0.05}
_SHORTEST_STEM = 5
_PARTIAL = 0.7
_MOST_EMBEDDED = 6


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of a passage. `plain_text` is the unit without markup, `context` the spans that belong to it.

    `similarity` is its cosine to the question. `coverage` is the share of the question's terms, weighted by rarity,
    that it states. `document_validity` is when its document holds.
    """

    passage: Passage
    unit: Unit
    text: str
    plain_text: str
    context: tuple[tuple[int, int, str], ...]
    similarity: float
    coverage: float
    score: float
    document_validity: Validity = Validity()

    @property
    def span(self) -> tuple[str, int]:
        """Where it begins: the document's id and the character."""
        return self.passage.document_id, self.unit.start

    @property
    def statement(self) -> str:
        """The unit without markup, and what belongs to it."""
        return " ".join((self.plain_text, *(quote for _, _, quote in self.context)))


def find_candidates(
    scorer: SpanScorer, passages: Sequence[Passage], index: HybridIndex, embedder: TextEmbedder
) -> list[Candidate]:
    """Every unit of the passages, best first. Where the index no longer holds a passage's document, its units are found
    in the passage itself and the likeliest few are embedded now."""
    found: list[Candidate] = []
    for rank, passage in enumerate(passages):
        held = index.units(passage.document_id, passage.document_version)
        if held is None:
            found += _from_passage(scorer, passage, rank, embedder)
            continue
        cosines = (held.vectors @ scorer.vector).tolist()
        for unit, cosine in zip(held.units, cosines, strict=True):
            if passage.start <= unit.start and unit.end <= passage.end:
                candidate = scorer.score(passage, unit, held.document.text, cosine)
                found.append(msgspec.structs.replace(candidate, document_validity=_validity_of(held.document)))
    unique = {candidate.span: candidate for candidate in reversed(found)}
    return sorted(unique.values(), key=lambda candidate: -candidate.score)


def _validity_of(document: Document) -> Validity:
    days = (document.valid_from, document.valid_until)
    first, last = (date.fromisoformat(day) if day else None for day in days)
    return Validity(first, last)


def find_entries(
    best: Candidate, ranked: Sequence[Candidate], scorer: SpanScorer, index: HybridIndex
) -> list[Candidate]:
    """The entries of the list or table that a unit is one of, or that it introduces, in the order of the document.

    They are read from the whole document, and where the index no longer holds it, from the passage.
    """
    passage = best.passage
    held = index.units(passage.document_id, passage.document_version)
    if held is None:
        inside = [each for each in ranked if each.passage == passage]
        group = _group_of(best, [each.unit for each in inside])
        found = [each for each in inside if group >= 0 and each.unit.group == group]
        return sorted(found, key=lambda each: each.unit.start)
    group = _group_of(best, held.units)
    if group < 0:
        return []
    known = {each.span: each for each in ranked}
    found = []
    for unit, vector in zip(held.units, held.vectors, strict=True):
        if unit.group != group:
            continue
        text = held.document.text
        alone = msgspec.structs.replace(passage, text=text[unit.start : unit.end], start=unit.start, end=unit.end)
        cosine = float(vector @ scorer.vector)
        found.append(known.get((passage.document_id, unit.start)) or scorer.score(alone, unit, text, cosine))
    return found


def _group_of(best: Candidate, units: Sequence[Unit]) -> int:
    if best.unit.group >= 0:
        return best.unit.group
    span = (best.unit.start, best.unit.end)
    return next((unit.group for unit in units if unit.kind == "item" and unit.context[:1] == (span,)), -1)


class SpanScorer:
    """Scores units as answers to one question: a search query with its vector."""

    def __init__(self, query: str, language: str, vector: Vector, index: HybridIndex) -> None:
        self.vector = vector
        self._query = query
        self._language = language
        self._kind = expected_kind(query)
        self._index = index
        self._weights: dict[str, dict[str, float]] = {}

    def weights(self, language: str) -> dict[str, float]:
        """The question's terms with their rarity among the documents of `language`."""
        if language not in self._weights:
            found = find_terms(self._query, language)
            self._weights[language] = {term: self._index.rarity(term, language) for term in found}
        return self._weights[language]

    def out_of_vocabulary_rate(self, language: str) -> float:
        """The share of the question, weighted by rarity, that no document in `language` mentions."""
        weights = self.weights(language)
        total = sum(weights.values())
        unknown = sum(weight for term, weight in weights.items() if not self._index.has_term(term, language))
        return unknown / total if total else 0.0

    def score(self, passage: Passage, unit: Unit, text: str, cosine: float, offset: int = 0) -> Candidate:
        """The unit, given as characters of `text`, which begins at character `offset` of the document."""
        language = passage.language
        words = render_unit(text, unit)
        context = tuple((start + offset, end + offset, text[start:end]) for start, end in unit.context)
        weights = self.weights(language)
        own = frozenset(find_terms(" ".join((words, *(quote for _, _, quote in context))), language))
        head = frozenset(find_terms(f"{passage.title} {passage.heading}", language))
        whole = frozenset(find_terms(passage.text, language))
        has_kind = self._kind is None or has_value(words, self._kind)
        coverage = weigh_coverage(weights, own)
        score = (
            WEIGHTS["similarity"] * max(cosine, 0.0)
            + WEIGHTS["coverage"] * coverage
            + WEIGHTS["heading"] * weigh_coverage(weights, own | head)
            + WEIGHTS["passage"] * weigh_coverage(weights, whole | head)
            + WEIGHTS["kind"] * has_kind
            + WEIGHTS["language"] * (language == self._language)
        )
        return Candidate(
            passage=passage,
            unit=msgspec.structs.replace(unit, start=unit.start + offset, end=unit.end + offset),
            text=text[unit.start : unit.end],
            plain_text=words,
            context=context,
            similarity=max(cosine, 0.0),
            coverage=coverage,
            score=score,
        )


def weigh_coverage(weights: dict[str, float], stated: frozenset[str]) -> float:
    """The share of the question's terms, by weight, that are stated; a common stem of a compound counts in part."""
    total = sum(weights.values())
    if not total:
        return 0.0
    return sum(weight * _degree_stated(term, stated) for term, weight in weights.items()) / total


def _degree_stated(term: str, stated: frozenset[str]) -> float:
    if term in stated:
        return 1.0
    if len(term) < _SHORTEST_STEM:
        return 0.0
    near = any(len(other) >= _SHORTEST_STEM and (other in term or term in other) for other in stated)
    return _PARTIAL if near else 0.0


def _from_passage(scorer: SpanScorer, passage: Passage, rank: int, embedder: TextEmbedder) -> list[Candidate]:
    units = [unit for chunk in cut_into_chunks(passage.text) for unit in chunk.units]
    rough = [(scorer.score(passage, unit, passage.text, 0.0), unit) for unit in units]
    rough.sort(key=lambda pair: -pair[0].score)
    exact = []
    for guess, unit in rough[: max(1, _MOST_EMBEDDED // (rank + 1))]:
        vector = embedder.embed(with_heading(passage.title, passage.heading, guess.plain_text), "passage")
        exact.append(scorer.score(passage, unit, passage.text, float(vector @ scorer.vector), passage.start))
    return exact
