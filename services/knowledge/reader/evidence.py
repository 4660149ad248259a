"""The features of an answer on which its confidence is calibrated. Next: calibration.py."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.candidates import Candidate, SpanScorer, weigh_coverage

NO_ANSWER = -4.0
"""The log odds of an answer where there is none."""


class AnswerEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Five numbers, in the order of the calibration's weights; all but the first in 0 … 1.

    `log_odds`: that the best unit answers, by the shipped weights (ranking.py); `similarity`: cosine of the question
    and the best unit; `coverage`: share of the question's terms, by rarity, that the answer and its headings state;
    `margin`: lead of the best unit over the best of another document; `out_of_vocabulary_rate`: share of the question
    that no document mentions.
    """

    log_odds: float = NO_ANSWER
    similarity: float = 0.0
    coverage: float = 0.0
    margin: float = 0.0
    out_of_vocabulary_rate: float = 0.0

    def row(self) -> tuple[float, ...]:
        return msgspec.structs.astuple(self)


FEATURES: tuple[str, ...] = tuple(field.name for field in msgspec.structs.fields(AnswerEvidence))


def measure_evidence(scorer: SpanScorer, ranked: Sequence[Candidate], selected: Sequence[Candidate]) -> AnswerEvidence:
    """The evidence for the answer that `selected` makes; all zero for no answer."""
    if not selected:
        return AnswerEvidence()
    best = max(selected, key=lambda each: each.score)
    passage, language = best.passage, best.passage.language
    texts = (passage.title, passage.heading, *(each.statement for each in selected))
    stated = frozenset(find_terms(" ".join(texts), language))
    rival = next((each.score for each in ranked if each.passage.document_id != passage.document_id), 0.0)
    return AnswerEvidence(
        log_odds=scorer.log_odds(ranked),
        similarity=min(1.0, max(0.0, best.signals.cosine)),
        coverage=weigh_coverage(scorer.weights(language), stated),
        margin=min(1.0, max(0.0, best.score - rival)),
        out_of_vocabulary_rate=scorer.out_of_vocabulary_rate(language),
    )
