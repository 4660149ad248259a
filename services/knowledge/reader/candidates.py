"""The spans that may answer a question, each with what speaks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.schemas import Passage
from tidegate.services.knowledge.index.chunking import Unit, chunks, spoken
from tidegate.services.knowledge.index.hybrid import Units
from tidegate.services.knowledge.index.index_writer import in_words, unit_vector
from tidegate.services.knowledge.index.keyword import terms
from tidegate.services.knowledge.index.markdown import without_tags
from tidegate.services.knowledge.reader.answer_type import ValueKind, holds, kind_asked

Vector = NDArray[np.float32]

WEIGHTS = {"similarity": 1.0, "coverage": 0.15, "heading": 0.1, "passage": 0.15, "kind": 0.1, "language": 0.05}
_SHORTEST_STEM = 5
_PARTIAL = 0.7
_MOST_EMBEDDED = 6


class UnitSource(Protocol):
    """Where the units of a document and their vectors were kept when it was indexed."""

    def units(self, document_id: str, version: str) -> Units | None: ...

    def rarity(self, term: str, language: str) -> float: ...

    def holds(self, term: str, language: str) -> bool: ...

    def focus(self, question: str, language: str) -> str: ...


class Embeds(Protocol):
    @property
    def version(self) -> str: ...

    def embed(self, text: str, max_tokens: int = 128) -> Vector: ...


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of a passage. `spoken` is the unit in plain words, `context` the spans that belong to it.

    `similarity` is its cosine to the question, `nearness` its passage's. `coverage` is the share of the question's
    terms, weighted by rarity, that it states; `around` the same for unit, heading and title together.
    """

    passage: Passage
    unit: Unit
    text: str
    spoken: str
    context: tuple[tuple[int, int, str], ...]
    similarity: float
    nearness: float
    coverage: float
    around: float
    score: float

    @property
    def place(self) -> tuple[str, int]:
        return self.passage.document_id, self.unit.start


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """A question made ready to be looked for."""

    text: str
    language: str
    vector: Vector
    kind: ValueKind | None

    @classmethod
    def of(cls, text: str, language: str, vector: Vector) -> Sought:
        return cls(text=text, language=language, vector=vector, kind=kind_asked(text))


def candidates(weigh: Weigher, passages: Sequence[Passage], source: UnitSource, embedder: Embeds) -> list[Candidate]:
    """Every unit of the passages, best first. Where the index no longer holds a passage's document, its units are found
    in the passage itself and the likeliest few are embedded now."""
    vector = weigh.sought.vector
    found: list[Candidate] = []
    for rank, passage in enumerate(passages):
        held = source.units(passage.document_id, passage.document_version)
        if held is None:
            found += _from_passage(weigh, passage, rank, embedder)
            continue
        cosines = np.stack((held.vectors @ vector, held.passages @ vector), axis=1)
        for unit, pair in zip(held.units, cosines, strict=True):
            if passage.start <= unit.start and unit.end <= passage.end:
                found.append(weigh.candidate(passage, unit, held.document.text, (float(pair[0]), float(pair[1]))))
    unique = {candidate.place: candidate for candidate in reversed(found)}
    return sorted(unique.values(), key=lambda candidate: -candidate.score)


class Weigher:
    """What speaks for a unit as an answer to one question."""

    def __init__(self, sought: Sought, source: UnitSource) -> None:
        self.sought = sought
        self._source = source
        self._weights: dict[str, dict[str, float]] = {}

    def weights(self, language: str) -> dict[str, float]:
        """The question's terms with their rarity among the documents of `language`."""
        if language not in self._weights:
            found = terms(self.sought.text, language)
            self._weights[language] = {term: self._source.rarity(term, language) for term in found}
        return self._weights[language]

    def strange(self, language: str) -> float:
        """The share of the question, weighted by rarity, that no document in `language` ever mentions."""
        weights = self.weights(language)
        total = sum(weights.values())
        unsaid = sum(weight for term, weight in weights.items() if not self._source.holds(term, language))
        return unsaid / total if total else 0.0

    def candidate(
        self, passage: Passage, unit: Unit, text: str, cosines: tuple[float, float], offset: int = 0
    ) -> Candidate:
        """The unit, given as characters of `text`, which begins at character `offset` of the document.

        `cosines` are the question's to the unit and to the passage.
        """
        sought, language = self.sought, passage.language
        words = spoken(text, unit)
        context = tuple((start + offset, end + offset, text[start:end]) for start, end in unit.context)
        weights = self.weights(language)
        own = frozenset(terms(" ".join((words, *(said for _, _, said in context))), language))
        head = frozenset(terms(f"{passage.title} {passage.heading}", language))
        whole = frozenset(terms(passage.text, language))
        right = sought.kind is None or holds(words, sought.kind)
        coverage, around = covered(weights, own), covered(weights, own | head)
        score = (
            WEIGHTS["similarity"] * max(cosines[0], 0.0)
            + WEIGHTS["coverage"] * coverage
            + WEIGHTS["heading"] * around
            + WEIGHTS["passage"] * covered(weights, whole | head)
            + WEIGHTS["kind"] * right
            + WEIGHTS["language"] * (language == sought.language)
        )
        return Candidate(
            passage=passage,
            unit=msgspec.structs.replace(unit, start=unit.start + offset, end=unit.end + offset),
            text=text[unit.start : unit.end],
            spoken=words,
            context=context,
            similarity=max(cosines[0], 0.0),
            nearness=max(cosines[1], 0.0),
            coverage=coverage,
            around=around,
            score=score,
        )


def covered(weights: dict[str, float], stated: frozenset[str]) -> float:
    """The share of the question's terms, by weight, that are stated; a common stem of a compound counts in part."""
    total = sum(weights.values())
    if not total:
        return 0.0
    return sum(weight * _stated(term, stated) for term, weight in weights.items()) / total


def _stated(term: str, stated: frozenset[str]) -> float:
    if term in stated:
        return 1.0
    if len(term) < _SHORTEST_STEM:
        return 0.0
    near = any(len(other) >= _SHORTEST_STEM and (other in term or term in other) for other in stated)
    return _PARTIAL if near else 0.0


def _from_passage(weigh: Weigher, passage: Passage, rank: int, embedder: Embeds) -> list[Candidate]:
    units = [unit for chunk in chunks(passage.text) for unit in chunk.units]
    rough = [(weigh.candidate(passage, unit, passage.text, (0.0, 0.0)), unit) for unit in units]
    rough.sort(key=lambda pair: -pair[0].score)
    exact = []
    whole = embedder.embed(in_words(passage.title, passage.heading, without_tags(passage.text)))
    for guess, unit in rough[: max(1, _MOST_EMBEDDED // (rank + 1))]:
        vector = unit_vector(embedder, passage.title, passage.heading, guess.spoken, whole)
        cosines = (float(vector @ weigh.sought.vector), float(whole @ weigh.sought.vector))
        exact.append(weigh.candidate(passage, unit, passage.text, cosines, passage.start))
    return exact
