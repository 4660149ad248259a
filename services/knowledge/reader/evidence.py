"""The features of an answer on which its confidence is calibrated. Next: calibration.py."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.services.knowledge.reader.candidates import Candidate, SpanScorer
from tidegate.services.knowledge.reader.coverage import find_stated
from tidegate.services.knowledge.reader.ranking import BEST_FEATURES

NO_ANSWER = -4.0
"""The log odds of an answer where there is none."""


class AnswerEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers in the order of the calibration's weights.

    `log_odds`: that the best unit answers, by the shipped weights (ranking.py); `similarity`: cosine of the question
    and the best unit; `coverage`: share of the question's terms, by rarity, that the answer and its headings state;
    `margin`: lead of the best unit over the best of another document; `out_of_vocabulary_rate`: share of the question
    that no document mentions. `best` are the `BEST_FEATURES` of the best unit.
    """

    log_odds: float = NO_ANSWER
    similarity: float = 0.0
    coverage: float = 0.0
    margin: float = 0.0
    out_of_vocabulary_rate: float = 0.0
    best: tuple[float, ...] = (0.0,) * len(BEST_FEATURES)

    def row(self) -> tuple[float, ...]:
        return (self.log_odds, self.similarity, self.coverage, self.margin, self.out_of_vocabulary_rate, *self.best)


FEATURES: tuple[str, ...] = (
    *(field.name for field in msgspec.structs.fields(AnswerEvidence) if field.name != "best"),
    *(f"best_{name}" for name in BEST_FEATURES),
)


def measure_evidence(scorer: SpanScorer, ranked: Sequence[Candidate], selected: Sequence[Candidate]) -> AnswerEvidence:
    """The evidence for the answer that `selected` makes, with the intros of its lists; all zero for no answer."""
    if not selected:
        return AnswerEvidence()
    led_by = {(each.passage.document_id, start) for each in selected for start, _, _ in each.context}
    intros = [each for each in ranked if each.span in led_by]
    best = max((*selected, *intros), key=lambda each: each.score)
    passage, language = best.passage, best.passage.language
    texts = (passage.title, passage.heading, *(each.statement for each in selected))
    asked = scorer.asked(language)
    rival = next((each.score for each in ranked if each.passage.document_id != passage.document_id), 0.0)
    judged = scorer.judge_best(ranked)
    return AnswerEvidence(
        log_odds=judged.log_odds,
        similarity=min(1.0, max(0.0, best.signals.cosine)),
        coverage=asked.share(asked.degrees(find_stated(" ".join(texts), language))),
        margin=min(1.0, max(0.0, best.score - rival)),
        out_of_vocabulary_rate=scorer.out_of_vocabulary_rate(language),
        best=judged.features,
    )
