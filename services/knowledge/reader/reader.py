"""Answers in the words of the documents: selects the spans that answer, cites them, and gives a confidence.

Promises that every word of an answer stands in a citation. Next: candidates.py, evidence.py, calibration.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.schemas import Answer, Artefact, Check, Citation, Passage, Question
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.markdown import strip_markup
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.reader.answer_type import is_open_question
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.candidates import (
    Candidate,
    SpanScorer,
    find_candidates,
)
from tidegate.services.knowledge.reader.evidence import AnswerEvidence, measure_evidence
from tidegate.services.knowledge.text_embedder import TextEmbedder

MODEL = "extractive-reader"
MOST_UNITS = 3
NEARLY = 0.4
"""How far below the best unit another of the same section may score and still be part of the answer."""


class RankedSpans(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader found: every unit that may answer, best first, those it selects, and the answer they make."""

    ranked: tuple[Candidate, ...]
    selected: tuple[Candidate, ...]
    answer: Answer


class Reader:
    """Extractive question answering over retrieved passages (no text is generated).

    The answer's text is made of one to three sentences or list items of one document, or one to three table rows with
    their header's words; every word of it lies in a citation, and every citation is verbatim in its document.
    """

    def __init__(self, embedder: TextEmbedder, calibration: Calibration) -> None:
        self._embedder = embedder
        self._calibration = calibration

    @property
    def version(self) -> str:
        """Changes with anything that could change an answer, the documents apart."""
        return self._calibration.version

    def rank_spans(self, question: str, language: str, passages: Sequence[Passage], index: HybridIndex) -> RankedSpans:
        """The answer with its confidence and checks, an empty one where no unit answers; and all the units scored.

        Checks. `grounding`: the share of citations that are verbatim in a given passage or in its document's context
        lines. `entailment`: the share of the answer's words that its citations hold. Both are 1.0 by construction here
        and are measured all the same. `coverage`: the share of the question's terms, weighted by rarity, that the cited
        text states, its headings included.
        Takes 1 to 4 ms, and 2 to 4 ms more where the question's vector is not remembered.
        """
        ranked, selected, evidence = self.read(question, language, passages, index)
        if not selected:
            none = Answer(
                text="", confidence=0.0, checks=(Check("grounding", False, 0.0), Check("entailment", False, 0.0))
            )
            return RankedSpans(ranked=tuple(ranked), selected=(), answer=none)
        text, citations = compose_answer(selected)
        answer = Answer(
            text=text,
            citations=citations,
            confidence=self._calibration.confidence(evidence),
            checks=run_checks(text, citations, selected, evidence),
        )
        return RankedSpans(ranked=tuple(ranked), selected=tuple(selected), answer=answer)

    def read(
        self, question: str, language: str, passages: Sequence[Passage], index: HybridIndex
    ) -> tuple[list[Candidate], list[Candidate], AnswerEvidence]:
        """All units, best first; those selected, in the order of the document; and the evidence for them."""
        query = index.rewrite_query(question, language)
        scorer = SpanScorer(query, language, self._embedder.embed(query), index)
        ranked = find_candidates(scorer, passages, index, self._embedder)
        if is_open_question(question):
            ranked = [each for each in ranked if adds_to(each, question)]
        selected = select_units(ranked) if ranked else []
        return ranked, selected, measure_evidence(scorer, ranked, selected)


def answer_for_tenant(
    reader: Reader, indexes: TenantIndexes, tenant: str, question: Question, passages: Sequence[Passage]
) -> tuple[Answer, tuple[Artefact, ...]]:
    """The reader's answer, with the model and the cited documents by version. Empty for an unknown tenant."""
    reading, parts = rank_for_tenant(reader, indexes, tenant, question, passages)
    return (reading.answer if reading else Answer(text="")), parts


def rank_for_tenant(
    reader: Reader, indexes: TenantIndexes, tenant: str, question: Question, passages: Sequence[Passage]
) -> tuple[RankedSpans | None, tuple[Artefact, ...]]:
    """As `answer_for_tenant`, with all the units that were scored. None for an unknown tenant."""
    model = Artefact("model", MODEL, reader.version)
    index = indexes.index(tenant)
    if index is None:
        return None, (model,)
    reading = reader.rank_spans(question.text, question.language, passages, index)
    documents = {Artefact("document", c.document_id, c.document_version): None for c in reading.answer.citations}
    return reading, (model, *documents)


def adds_to(candidate: Candidate, question: str) -> bool:
    """Whether the unit states anything that the question does not: repeating an open question does not answer it."""
    language = candidate.passage.language
    return not frozenset(find_terms(candidate.statement, language)) <= frozenset(find_terms(question, language))


def select_units(ranked: Sequence[Candidate]) -> list[Candidate]:
    """The best unit, and up to two more of its section that score nearly as high, in the order of the document."""
    best = ranked[0]
    selected = [best]
    for other in ranked[1:]:
        if len(selected) == MOST_UNITS:
            break
        same = other.passage.document_id == best.passage.document_id and other.unit.heading == best.unit.heading
        if same and other.score >= best.score - NEARLY:
            selected.append(other)
    return sorted(selected, key=lambda each: each.unit.start)


def compose_answer(selected: Sequence[Candidate]) -> tuple[str, tuple[Citation, ...]]:
    """The text, and a citation for each unit and each context line that the text needs."""
    lines: list[str] = []
    citations: dict[tuple[int, int], Citation] = {}
    for each in selected:
        spans = [(each.unit.start, each.unit.end, each.text)]
        if each.unit.kind == "row":
            spans = [*each.context, *spans]
        elif each.unit.kind == "item" and each.context and each.context[0][:2] not in citations:
            spans = [*each.context, *spans]
            lines.append(strip_markup(each.context[0][2]))
        for start, end, quote in spans:
            citations[start, end] = Citation(
                document_id=each.passage.document_id,
                document_version=each.passage.document_version,
                start=start,
                end=end,
                quote=quote,
                page=each.passage.page_at(start),
            )
        lines.append(each.plain_text)
    listed = any(each.unit.kind != "sentence" for each in selected) and len(lines) > 1
    return ("\n" if listed else " ").join(lines), tuple(citations.values())


def run_checks(
    text: str, citations: Sequence[Citation], selected: Sequence[Candidate], evidence: AnswerEvidence
) -> tuple[Check, ...]:
    """See `Reader.rank_spans`."""
    grounded = sum(_is_grounded(citation, selected) for citation in citations) / max(1, len(citations))
    language = selected[0].passage.language
    held = {word for citation in citations for word in find_terms(citation.quote, language)}
    stated = find_terms(text, language)
    entailed = sum(word in held for word in stated) / len(stated) if stated else 0.0
    return (
        Check("grounding", grounded == 1.0, grounded),
        Check("entailment", entailed == 1.0, entailed),
        Check("coverage", evidence.coverage >= 0.5, min(1.0, evidence.coverage)),
    )


def _is_grounded(citation: Citation, selected: Sequence[Candidate]) -> bool:
    for each in selected:
        passage = each.passage
        if (passage.document_id, passage.document_version) != (citation.document_id, citation.document_version):
            continue
        start, end = citation.start - passage.start, citation.end - passage.start
        if start >= 0 and passage.text[start:end] == citation.quote:
            return True
        if (citation.start, citation.end, citation.quote) in each.context:
            return True
    return False
