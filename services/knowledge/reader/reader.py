"""Answers in the words of the documents: chooses the spans that answer, cites them, and says how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.schemas import Answer, Check, Citation, Passage
from tidegate.services.knowledge.index.keyword import terms
from tidegate.services.knowledge.index.markdown import plain
from tidegate.services.knowledge.reader.answer_type import is_open
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.candidates import Candidate, Embeds, Sought, UnitSource, Weigher, candidates
from tidegate.services.knowledge.reader.evidence import Evidence, evidence

MOST_UNITS = 3
NEARLY = 0.4
"""How far below the best unit another of the same section may score and still be said."""


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader found: every unit that may answer, best first, those it would say, and the answer they make."""

    ranked: tuple[Candidate, ...]
    chosen: tuple[Candidate, ...]
    answer: Answer


class Reader:
    """Extractive question answering over retrieved passages (no text is generated).

    The answer's text is made of one to three sentences or list items of one document, or one to three table rows with
    their header's words; every word of it lies in a citation, and every citation is verbatim in its document.
    """

    def __init__(self, embedder: Embeds, calibration: Calibration) -> None:
        self._embedder = embedder
        self._calibration = calibration

    @property
    def version(self) -> str:
        """Changes with anything that could change an answer, the documents apart."""
        return self._calibration.version

    def answer(self, question: str, language: str, passages: Sequence[Passage], source: UnitSource) -> Answer:
        """The answer with its confidence and two checks; an empty one where there is nothing to say.

        Checks. `grounding`: the share of citations that are verbatim in a given passage or in its document's context
        lines. `entailment`: the share of the answer's words that its citations hold. Both are 1.0 by construction here
        and are measured all the same. `coverage`: the share of the question's terms, weighted by rarity, that the cited
        text states, its headings included.
        Takes 1 to 4 ms, and 2 to 4 ms more where the question's vector is not remembered.
        """
        return self.survey(question, language, passages, source).answer

    def survey(self, question: str, language: str, passages: Sequence[Passage], source: UnitSource) -> Survey:
        """The answer, as `answer` gives it, and the units that were weighed for it."""
        ranked, said, proof = self._weighed(question, language, passages, source)
        if not said:
            none = Answer(
                text="", confidence=0.0, checks=(Check("grounding", False, 0.0), Check("entailment", False, 0.0))
            )
            return Survey(ranked=tuple(ranked), chosen=(), answer=none)
        text, citations = composed(said)
        answer = Answer(
            text=text,
            citations=citations,
            confidence=self._calibration.confidence(proof),
            checks=checks(text, citations, said, proof),
        )
        return Survey(ranked=tuple(ranked), chosen=tuple(said), answer=answer)

    def read(
        self, question: str, language: str, passages: Sequence[Passage], source: UnitSource
    ) -> tuple[list[Candidate], Evidence]:
        """The units to say, in the order of the document, and what speaks for them."""
        _, chosen, proof = self._weighed(question, language, passages, source)
        return chosen, proof

    def _weighed(
        self, question: str, language: str, passages: Sequence[Passage], source: UnitSource
    ) -> tuple[list[Candidate], list[Candidate], Evidence]:
        focus = source.focus(question, language)
        sought = Sought.of(focus, language, self._embedder.embed(focus))
        weigh = Weigher(sought, source)
        ranked = candidates(weigh, passages, source, self._embedder)
        if is_open(question):
            ranked = [each for each in ranked if says_more(each, question)]
        chosen = chosen_of(ranked) if ranked else []
        return ranked, chosen, evidence(weigh, ranked, chosen)


def says_more(candidate: Candidate, question: str) -> bool:
    """Whether the unit states anything that the question does not: repeating an open question does not answer it."""
    language = candidate.passage.language
    told = (candidate.spoken, *(said for _, _, said in candidate.context))
    return not frozenset(terms(" ".join(told), language)) <= frozenset(terms(question, language))


def chosen_of(ranked: Sequence[Candidate]) -> list[Candidate]:
    """The best unit, and up to two more of its section that say nearly as much, in the order of the document."""
    best = ranked[0]
    chosen = [best]
    for other in ranked[1:]:
        if len(chosen) == MOST_UNITS:
            break
        same = other.passage.document_id == best.passage.document_id and other.unit.heading == best.unit.heading
        if same and other.score >= best.score - NEARLY:
            chosen.append(other)
    return sorted(chosen, key=lambda each: each.unit.start)


def composed(said: Sequence[Candidate]) -> tuple[str, tuple[Citation, ...]]:
    """The text, and a citation for each unit and each context line that the text needs."""
    lines: list[str] = []
    citations: dict[tuple[int, int], Citation] = {}
    for each in said:
        spans = [(each.unit.start, each.unit.end, each.text)]
        if each.unit.kind == "row":
            spans = [*each.context, *spans]
        elif each.unit.kind == "item" and each.context and each.context[0][:2] not in citations:
            spans = [*each.context, *spans]
            lines.append(plain(each.context[0][2]))
        for start, end, quote in spans:
            citations[start, end] = Citation(
                document_id=each.passage.document_id,
                document_version=each.passage.document_version,
                start=start,
                end=end,
                quote=quote,
            )
        lines.append(each.spoken)
    listed = any(each.unit.kind != "sentence" for each in said) and len(lines) > 1
    return ("\n" if listed else " ").join(lines), tuple(citations.values())


def checks(text: str, citations: Sequence[Citation], said: Sequence[Candidate], proof: Evidence) -> tuple[Check, ...]:
    """See `Reader.answer`."""
    grounded = sum(_is_grounded(citation, said) for citation in citations) / max(1, len(citations))
    language = said[0].passage.language
    held = {word for citation in citations for word in terms(citation.quote, language)}
    stated = terms(text, language)
    entailed = sum(word in held for word in stated) / len(stated) if stated else 0.0
    return (
        Check("grounding", grounded == 1.0, grounded),
        Check("entailment", entailed == 1.0, entailed),
        Check("coverage", proof.coverage >= 0.5, min(1.0, proof.coverage)),
    )


def _is_grounded(citation: Citation, said: Sequence[Candidate]) -> bool:
    for each in said:
        passage = each.passage
        if (passage.document_id, passage.document_version) != (citation.document_id, citation.document_version):
            continue
        start, end = citation.start - passage.start, citation.end - passage.start
        if start >= 0 and passage.text[start:end] == citation.quote:
            return True
        if (citation.start, citation.end, citation.quote) in each.context:
            return True
    return False
