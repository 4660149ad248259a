"""The spans that may answer a question, each with its signals and its score.

Promises that every span is verbatim in its document. Next: ranking.py, evidence.py, reader.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from datetime import date

import msgspec
import numpy as np

from tidegate.schemas import Citation, Passage
from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index.chunking import Unit, cut_into_chunks, render_unit
from tidegate.services.knowledge.index.embedded import with_heading
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.coverage import AskedTerms, find_stated
from tidegate.services.knowledge.reader.ranking import BestUnit, RankingModel, UnitSignals
from tidegate.services.knowledge.reader.validity import Validity
from tidegate.services.knowledge.text_embedder import TextEmbedder, Vector
from tidegate.services.languages.secret_requests import asks_for_secret

OWN_LANGUAGE = 0.05
"""How much further another unit's score must be for it to stand before one in the asker's language."""
_MOST_EMBEDDED = 6


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A unit of a passage. `plain_text` is the unit without markup, `context` the spans that belong to it.

    `score` ranks it, on the scale of a cosine; `retrieval_score` does so without the reader. `number` is its place
    among the units of its `document`, -1 where the index no longer holds that, and `document_validity` when that holds.
    """

    passage: Passage
    unit: Unit
    text: str
    plain_text: str
    context: tuple[tuple[int, int, str], ...]
    signals: UnitSignals
    score: float = 0.0
    retrieval_score: float = 0.0
    number: int = -1
    document: Document | None = None
    document_validity: Validity = Validity()

    @property
    def span(self) -> tuple[str, int]:
        """Where it begins: the document's id and the character."""
        return self.passage.document_id, self.unit.start

    @property
    def statement(self) -> str:
        """The unit without markup, and what belongs to it."""
        return " ".join((self.plain_text, *(quote for _, _, quote in self.context)))

    def cite(self, start: int, end: int, quote: str) -> Citation:
        """Characters of its document as a citation. What it needs may stand outside of the passage, as the header of a
        table that goes on over pages does: then the document knows the page, and the passage does not."""
        source = self.document or self.passage
        return Citation(
            document_id=self.passage.document_id,
            document_version=self.passage.document_version,
            start=start,
            end=end,
            quote=quote,
            page=source.page_at(start),
            is_recognised=source.is_recognised(start, end),
            collection=self.passage.collection,
            signer=self.passage.signer,
            known_at_ms=self.passage.known_at_ms,
            is_fresh=self.passage.is_fresh,
            is_public_contact=self.document is not None and self.document.is_public_contact,
        )


def find_candidates(
    scorer: SpanScorer, passages: Sequence[Passage], index: HybridIndex, embedder: TextEmbedder
) -> list[Candidate]:
    """Every unit of the passages that asks nobody for a secret, best first.

    Where the index no longer holds a passage's document, its units are found in the passage itself and the likeliest
    few are embedded now.
    """
    found: list[Candidate] = []
    for rank, passage in enumerate(passages):
        held = index.units(passage.document_id, passage.document_version)
        if held is None:
            found += _from_passage(scorer, passage, rank, embedder)
            continue
        cosines = (held.vectors @ scorer.vector).tolist()
        validity = _validity_of(held.document)
        for number, (unit, cosine) in enumerate(zip(held.units, cosines, strict=True)):
            if passage.start <= unit.start and unit.end <= passage.end:
                each = scorer.describe(passage, unit, held.document.text, cosine)
                found.append(
                    msgspec.structs.replace(each, number=number, document=held.document, document_validity=validity)
                )
    unique = {each.span: each for each in reversed(found) if not asks_for_secret(each.statement)}
    return scorer.rank(list(unique.values()))


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
    known = {each.span for each in ranked}
    added = []
    text = held.document.text
    for number, (unit, vector) in enumerate(zip(held.units, held.vectors, strict=True)):
        if unit.group == group and (passage.document_id, unit.start) not in known:
            alone = msgspec.structs.replace(passage, text=text[unit.start : unit.end], start=unit.start, end=unit.end)
            each = scorer.describe(alone, unit, text, float(vector @ scorer.vector))
            if not asks_for_secret(each.statement):
                added.append(msgspec.structs.replace(each, number=number, document=held.document))
    inside = [each for each in ranked if each.passage.document_id == passage.document_id and each.unit.group == group]
    return sorted((*inside, *scorer.rank_beside(added, ranked)), key=lambda each: each.unit.start)


def introduces_list(each: Candidate, index: HybridIndex) -> bool:
    """Whether the unit leads a list, of which it says what its items are."""
    held = index.units(each.passage.document_id, each.passage.document_version)
    return each.unit.kind == "sentence" and held is not None and _group_of(each, held.units) >= 0


def _group_of(best: Candidate, units: Sequence[Unit]) -> int:
    if best.unit.group >= 0:
        return best.unit.group
    span = (best.unit.start, best.unit.end)
    return next((unit.group for unit in units if unit.kind == "item" and unit.context[:1] == (span,)), -1)


class SpanScorer:
    """Scores units as answers to one question: a search query with its vector."""

    def __init__(self, query: str, language: str, vector: Vector, index: HybridIndex, ranking: RankingModel) -> None:
        self.query = query
        self.language = language
        self.vector = vector
        self._index = index
        self.ranking = ranking
        self._weights: dict[str, dict[str, float]] = {}
        self._asked: dict[str, AskedTerms] = {}
        self._around: dict[tuple[str, str], tuple[float, ...]] = {}
        self._unknown: dict[str, float] = {}

    def ranked_by(self, ranking: RankingModel) -> SpanScorer:
        """The same question, scored by other weights."""
        other = copy(self)
        other.ranking = ranking
        return other

    def rank(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The units scored by retrieval alone, best first."""
        scored = [
            msgspec.structs.replace(each, score=score, retrieval_score=score)
            for each, score in zip(candidates, self._scores(candidates), strict=True)
        ]
        return sorted(scored, key=lambda each: -each.score)

    def rank_read(self, ranked: Sequence[Candidate], logits: Mapping[tuple[str, int], float]) -> list[Candidate]:
        """The units scored anew with what the reader made of some, by document and number, best first."""
        read = [
            msgspec.structs.replace(
                each,
                signals=msgspec.structs.replace(
                    each.signals, logit=logits.get((each.passage.document_id, each.number))
                ),
            )
            for each in ranked
        ]
        scored = [
            msgspec.structs.replace(each, score=score) for each, score in zip(read, self._scores(read), strict=True)
        ]
        return sorted(scored, key=lambda each: -each.score)

    def rank_beside(self, others: Sequence[Candidate], ranked: Sequence[Candidate]) -> list[Candidate]:
        """Units that were not found, scored by retrieval beside those that were."""
        if not others:
            return []
        unread = [
            msgspec.structs.replace(each, signals=msgspec.structs.replace(each.signals, logit=None)) for each in ranked
        ]
        return [each for each in self.rank([*unread, *others]) if each.span in {other.span for other in others}]

    def _scores(self, candidates: Sequence[Candidate]) -> list[float]:
        if not candidates:
            return []
        scores = self.ranking.score(self.query, [each.signals for each in candidates])
        own = np.array([each.passage.language == self.language for each in candidates])
        found: list[float] = (scores + OWN_LANGUAGE * own).tolist()
        return found

    def judge_best(self, ranked: Sequence[Candidate]) -> BestUnit:
        """How likely the best of the units answers, by the shipped weights, and why."""
        scores = np.array([each.score for each in ranked])
        return self.ranking.judge_best(self.query, [each.signals for each in ranked], scores)

    def weights(self, language: str) -> dict[str, float]:
        """The question's terms with their rarity among the documents of `language`."""
        if language not in self._weights:
            found = find_terms(self.query, language)
            self._weights[language] = {term: self._index.rarity(term, language) for term in found}
        return self._weights[language]

    def asked(self, language: str) -> AskedTerms:
        """The question's terms, to be looked for in texts of `language`."""
        if language not in self._asked:
            self._asked[language] = AskedTerms(self.weights(language))
        return self._asked[language]

    def _degrees_around(self, passage: Passage) -> tuple[float, ...]:
        key = (passage.text, passage.language)
        if key not in self._around:
            self._around[key] = self.asked(passage.language).degrees(find_stated(*key))
        return self._around[key]

    def out_of_vocabulary_rate(self, language: str) -> float:
        """The share of the question, weighted by rarity, that no document in `language` mentions."""
        if language not in self._unknown:
            weights = self.weights(language)
            total = sum(weights.values())
            stated = self._index.stated_terms(weights, language)
            unknown = sum(weight for term, weight in weights.items() if term not in stated)
            self._unknown[language] = unknown / total if total else 0.0
        return self._unknown[language]

    def describe(self, passage: Passage, unit: Unit, text: str, cosine: float, offset: int = 0) -> Candidate:
        """The unit, given as characters of `text`, which begins at character `offset` of the document; not scored."""
        language = passage.language
        words = render_unit(text, unit)
        line = with_heading(passage.title, unit.heading, words)
        asked = self.asked(language)
        own = asked.degrees(find_stated(line, language))
        whole = tuple(map(max, own, self._degrees_around(passage)))
        signals = UnitSignals(
            passage.document_id,
            words,
            line,
            cosine,
            asked.share(own),
            asked.share(whole),
            unknown=self.out_of_vocabulary_rate(language),
            is_foreign=language != self.language,
        )
        return Candidate(
            passage=passage,
            unit=msgspec.structs.replace(unit, start=unit.start + offset, end=unit.end + offset),
            text=text[unit.start : unit.end],
            plain_text=words,
            context=tuple((start + offset, end + offset, text[start:end]) for start, end in unit.context),
            signals=signals,
        )


def _from_passage(scorer: SpanScorer, passage: Passage, rank: int, embedder: TextEmbedder) -> list[Candidate]:
    units = [unit for chunk in cut_into_chunks(passage.text) for unit in chunk.units]
    rough = [scorer.describe(passage, unit, passage.text, 0.0, passage.start) for unit in units]
    rough.sort(key=lambda each: -each.signals.coverage)
    exact = []
    for each in rough[: max(1, _MOST_EMBEDDED // (rank + 1))]:
        cosine = float(embedder.embed(each.signals.line, "passage") @ scorer.vector)
        exact.append(msgspec.structs.replace(each, signals=msgspec.structs.replace(each.signals, cosine=cosine)))
    return exact
