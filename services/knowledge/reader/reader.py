"""Answers in the words of the documents: selects the spans that answer, cites them, and gives a confidence.

Promises that every word of an answer stands in a citation. Next: candidates.py, evidence.py, calibration.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date
from functools import partial

import msgspec

from tidegate.schemas import Answer, Artefact, Check, Citation, Passage, Question
from tidegate.schemas.vault_token import without_tokens
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.index.tenant_indexes import TenantIndexes
from tidegate.services.knowledge.index.thesaurus import list_queries, rewrite_query
from tidegate.services.knowledge.reader.answer_type import is_open_question
from tidegate.services.knowledge.reader.asked_questions import find_repeated, prefer_closest
from tidegate.services.knowledge.reader.bare_answers import complete_bare
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.candidates import (
    Candidate,
    SpanScorer,
    find_candidates,
    find_entries,
    introduces_list,
)
from tidegate.services.knowledge.reader.codes_asked import names_another_code
from tidegate.services.knowledge.reader.compose import ComposedAnswer, compose_answer
from tidegate.services.knowledge.reader.effort import AT_SITE, Effort
from tidegate.services.knowledge.reader.entries_asked import select_asked
from tidegate.services.knowledge.reader.evidence import AnswerEvidence, measure_evidence
from tidegate.services.knowledge.reader.part_answers import RankedPart, adds_to, select_parts
from tidegate.services.knowledge.reader.question_parts import split_question
from tidegate.services.knowledge.reader.retrieval import Retrieval
from tidegate.services.knowledge.reader.selection import Selection, select_units, without_strange_intros
from tidegate.services.knowledge.reader.together import NOBODY
from tidegate.services.knowledge.reader.tuning import NAME as TUNED
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.knowledge.reader.versions import prefer_current
from tidegate.services.knowledge.reader.yes_no import find_polarity
from tidegate.services.languages.prose import introduce_quote, load_prose

MODEL = "extractive-reader"


class RankedSpans(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader found: every unit that may answer, best first, those it selects, and the answer they make."""

    ranked: tuple[Candidate, ...]
    selected: tuple[Candidate, ...]
    answer: Answer
    lead: str = ""


class Reader:
    """Extractive question answering over retrieved passages (no text is generated).

    The answer's text is made of one to three sentences or list items of one document, or one to three table rows with
    their header's words; every word of it lies in a citation, and every citation is verbatim in its document.
    """

    def __init__(
        self,
        units: UnitReader,
        calibration: Calibration,
        effort: Effort = AT_SITE,
        today: Callable[[], date] = date.today,
    ) -> None:
        """`today` gives the day on which what is dated must hold."""
        self._units = units
        self._embedder = units.embedder
        self._calibration = calibration
        self._effort = effort
        self._today = today

    @property
    def hopeless(self) -> frozenset[str]:
        """The intents that no corpus of the pack answers."""
        return frozenset(self._calibration.out_of_scope_intents)

    @property
    def version(self) -> str:
        """Changes with anything that could change an answer, the documents apart."""
        return self._calibration.version

    def parts(self) -> tuple[Artefact, ...]:
        """As a receipt names it: the model, and the tenant's own weights where it has any."""
        own = (Artefact("model", TUNED, self._units.tuning),) if self._units.tuning else ()
        return Artefact("model", MODEL, self.version), *own

    def rank_spans(
        self, question: str, language: str, passages: Sequence[Passage], index: HybridIndex, *, may_read: bool = True
    ) -> RankedSpans:
        """The answer with its confidence and checks, an empty one where no unit answers; and all the units scored.

        Checks. `grounding`: the share of citations that are verbatim in a given passage or in its document's context
        lines. `entailment`: the share of the answer's words that its citations hold. Both are 1.0 by construction here
        and are measured all the same. `coverage`: the share of the question's terms, weighted by rarity, that the cited
        text states, its headings included.
        A text of several sentences is read whole and by its questions alone, and the surer reading is taken.
        Takes 2 to 5 ms a reading, 4 to 10 ms more where the question's vector is not remembered, and for each window
        that the cross-encoder reads (none unless `may_read`) what `UnitReader.read` says.
        """
        readings = [self.read(query, language, passages, index, may_read=may_read) for query in list_queries(question)]
        ranked, selection, evidence = max(readings, key=lambda reading: self._calibration.confidence(reading[2]))
        selected = selection.units
        if not selected:
            none = Answer(
                text="", confidence=0.0, checks=(Check("grounding", False, 0.0), Check("entailment", False, 0.0))
            )
            return RankedSpans(ranked=tuple(ranked), selected=(), answer=none)
        lead = _lead_of(selected, without_tokens(question), language)
        composed = compose_answer(selected, lead, _note_on(selection, language))
        answer = Answer(
            text=composed.text,
            citations=composed.citations,
            confidence=self._calibration.confidence(evidence),
            checks=run_checks(composed, selected, evidence),
        )
        return RankedSpans(ranked=tuple(ranked), selected=selected, answer=answer, lead=lead)

    def read(
        self, question: str, language: str, passages: Sequence[Passage], index: HybridIndex, *, may_read: bool = True
    ) -> tuple[list[Candidate], Selection, AnswerEvidence]:
        """All units, best first; those selected, as they are shown; and the evidence for them."""
        return self.read_retrieved(self.retrieve(question, language, passages, index), may_read=may_read)

    def retrieve(self, question: str, language: str, passages: Sequence[Passage], index: HybridIndex) -> Retrieval:
        """The units of the passages before any is read."""
        with index.as_of_now():
            scorer = self._scorer(question, language, index)
            ranked = find_candidates(scorer, passages, index, self._embedder)
        return Retrieval(question, language, passages, index, scorer, ranked)

    def read_retrieved(
        self, found: Retrieval, *, may_read: bool = True
    ) -> tuple[list[Candidate], Selection, AnswerEvidence]:
        """`read` after `retrieve`; the retrieval is left as it is and may be read again."""
        question, language, scorer, index = found.question, found.language, found.scorer, found.index
        asked = rewrite_query(question)
        ranked = found.ranked
        repeated = find_repeated(ranked, asked)
        if repeated:
            ranked = repeated
        elif may_read:
            ranked = self._read_units(found)
        if is_open_question(question):
            ranked = [each for each in ranked if adds_to(each, question) or introduces_list(each, index)]
        ranked = prefer_closest(ranked, scorer.vector, self._embedder)
        ranked = prefer_current(ranked, question, self._today())
        if ranked and find_polarity(question, language, ranked[0].plain_text, ranked[0].passage.language):
            selection = Selection(units=(ranked[0],))
            return ranked, selection, measure_evidence(scorer, ranked, selection.units)
        find_group = partial(find_entries, ranked=ranked, scorer=scorer, index=index)
        selection = select_units(ranked, question, find_group)
        evidences: list[AnswerEvidence] = []
        parts = split_question(asked, language)
        if len(parts) > 1 and selection.units:
            rank_part = partial(self._rank_part, found=found, may_read=may_read)
            by_part, evidences = select_parts(parts, ranked, rank_part, self._today())
            if by_part:
                selection = Selection(units=by_part)
        evidences.append(measure_evidence(scorer, ranked, selection.units))
        selection = select_asked(selection, ranked, question, language, find_group)
        selection = without_strange_intros(complete_bare(selection, scorer, index), question)
        if names_another_code(asked, selection.units):
            return ranked, selection, AnswerEvidence()
        return ranked, selection, max(evidences, key=self._calibration.confidence)

    def _rank_part(self, part: str, *, found: Retrieval, may_read: bool) -> RankedPart:
        """The units as they answer a part of a question."""
        own = self.retrieve(part, found.language, found.passages, found.index)
        ranked = self._read_units(own) if may_read else own.ranked
        evidence = measure_evidence(own.scorer, ranked, ranked[:1])
        is_own = bool(ranked) and ranked[0].passage.language == found.language
        is_unknown = is_own and evidence.out_of_vocabulary_rate == 1.0
        return RankedPart(ranked, evidence, self._calibration.confidence(evidence), is_unknown)

    def _scorer(self, question: str, language: str, index: HybridIndex) -> SpanScorer:
        query = index.rewrite_query(question, language)
        return SpanScorer(query, language, self._embedder.embed(rewrite_query(question)), index, self._units.ranking)

    def _read_units(self, found: Retrieval) -> list[Candidate]:
        """The units ranked with what the cross-encoder makes of the likeliest, where that is worth the time."""
        effort, ranked = self._effort, found.ranked
        if not ranked or not effort.windows:
            return ranked
        unread = self._calibration.unread_confidence(found.evidence)
        if not effort.hopeless < unread < effort.sure:
            return ranked
        asked, held = rewrite_query(found.question), found.held_units()
        if effort.enough >= 1:
            logits = self._units.read(asked, held, effort.windows)
            return found.scorer.rank_read(ranked, logits) if logits else ranked
        units = self._units if unread < effort.likely else self._units.helped_by(NOBODY)
        with closing(units.read_in_turn(asked, held, effort.windows)) as readings:
            for logits in readings:
                ranked = found.scorer.rank_read(found.ranked, logits)
                if self._confidence_in(ranked, found) >= effort.enough:
                    break
        return ranked

    def _confidence_in(self, ranked: Sequence[Candidate], found: Retrieval) -> float:
        return self._calibration.confidence(measure_evidence(found.scorer, ranked, ranked[:1]))


def answer_for_tenant(
    reader: Reader, indexes: TenantIndexes, tenant: str, question: Question, passages: Sequence[Passage]
) -> tuple[Answer, tuple[Artefact, ...]]:
    """The reader's answer, with the model and the cited documents by version. Empty for an unknown tenant."""
    reading, parts = rank_for_tenant(reader, indexes, tenant, question, passages)
    return (reading.answer if reading else Answer(text="")), parts


def rank_for_tenant(
    reader: Reader,
    indexes: TenantIndexes,
    tenant: str,
    question: Question,
    passages: Sequence[Passage],
    *,
    may_read: bool = True,
) -> tuple[RankedSpans | None, tuple[Artefact, ...]]:
    """As `answer_for_tenant`, with all the units that were scored. None for an unknown tenant."""
    models = reader.parts()
    index = indexes.index(tenant)
    if index is None:
        return None, models
    reading = reader.rank_spans(question.text, question.language, passages, index, may_read=may_read)
    documents = {Artefact("document", c.document_id, c.document_version): None for c in reading.answer.citations}
    return reading, (*models, *documents)


def _note_on(selection: Selection, language: str) -> str:
    """That the list goes on, in the asker's language; nothing where it is whole."""
    if not selection.is_cut:
        return ""
    title = selection.units[0].passage.title
    shown = load_prose(language).part_shown.replace("{shown}", str(selection.shown))
    return shown.replace("{total}", str(selection.total)).replace("{title}", title)


def _lead_of(selected: Sequence[Candidate], question: str, language: str) -> str:
    """Yes or no in the asker's language, where a single sentence says so; or that the document is in another."""
    quoted_in = selected[0].passage.language
    if quoted_in != language:
        return introduce_quote(quoted_in, language)
    if len(selected) != 1 or selected[0].unit.kind != "sentence":
        return ""
    polarity = find_polarity(question, language, selected[0].plain_text, quoted_in)
    words = load_prose(language)
    return {"yes": f"{words.yes}.", "no": f"{words.no}."}.get(polarity, "")


def run_checks(composed: ComposedAnswer, selected: Sequence[Candidate], evidence: AnswerEvidence) -> tuple[Check, ...]:
    """See `Reader.rank_spans`."""
    citations = composed.citations
    grounded = sum(_is_grounded(citation, selected) for citation in citations) / max(1, len(citations))
    language = selected[0].passage.language
    held = {word for citation in citations for word in find_terms(citation.quote, language)}
    stated = find_terms(composed.body, language)
    # A "No." holds only stop words; it is borne out where its quotes are verbatim.
    entailed = sum(word in held for word in stated) / len(stated) if stated else grounded
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
