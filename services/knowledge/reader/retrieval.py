"""What retrieval alone makes of a question, to be read from once or several times. Next: candidates.py, reader.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tidegate.schemas import Passage
from tidegate.services.knowledge.index.hybrid import DocumentUnits, HybridIndex
from tidegate.services.knowledge.reader.candidates import Candidate, SpanScorer
from tidegate.services.knowledge.reader.evidence import AnswerEvidence, measure_evidence
from tidegate.services.knowledge.reader.ranking import RankingModel


@dataclass(frozen=True)
class Retrieval:
    """What retrieval alone makes of a question: all units of the passages, best first."""

    question: str
    language: str
    passages: Sequence[Passage]
    index: HybridIndex
    scorer: SpanScorer
    ranked: list[Candidate]

    @cached_property
    def evidence(self) -> AnswerEvidence:
        """That for the best unit."""
        return measure_evidence(self.scorer, self.ranked, self.ranked[:1])

    def ranked_by(self, ranking: RankingModel) -> Retrieval:
        """The same units as other weights rank them."""
        if ranking is self.scorer.ranking:
            return self
        scorer = self.scorer.ranked_by(ranking)
        return replace(self, scorer=scorer, ranked=scorer.rank(self.ranked))

    def held_units(self) -> Iterator[tuple[DocumentUnits, int]]:
        """The units whose document the index still holds, each with its number there, best first."""
        for each in self.ranked:
            held = self.index.units(each.passage.document_id, each.passage.document_version)
            if held is not None and each.number >= 0:
                yield held, each.number
